"""Muon in float32: torch's own orthogonalises in bfloat16, which a CPU without AMX emulates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic Newton-Schulz iteration of the Muon reference implementation (Jordan et al., 2024)."""


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz, for two-dimensional weights.

    Updates are scaled to AdamW's typical size (0.2 * sqrt(longer side), Moonlight, 2025), so that
    learning rates carry over.
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                moving = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
                direction = _orthogonal(weight.grad + group["momentum"] * moving)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-0.2 * group["lr"] * max(weight.shape) ** 0.5)


def _orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
