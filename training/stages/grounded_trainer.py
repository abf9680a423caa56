"""TRL's SFTTrainer with one addition: a coordinate that is nearly right is nearly right."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone uses
from trl import SFTTrainer

from training.stages.model import keep_outputs_whole
from training.stages.muon import Muon
from training.stages.resume import ResumesWeights


class FilmSFTTrainer(ResumesWeights, SFTTrainer):
    """TRL's trainer, which resumes with the weights that it saved, and sums gradients whole."""

    def create_accelerator_and_postprocess(self) -> None:
        """See :func:`keep_outputs_whole`."""
        super().create_accelerator_and_postprocess()
        keep_outputs_whole(self.accelerator)

    def count_from(self, tokens: int) -> None:
        """Go on counting the tokens learnt from: TRL would begin at 0 again."""
        self._total_train_tokens = tokens


class GroundedSFTTrainer(FilmSFTTrainer):
    """Cross-entropy over the completion, where a box's coordinates are softened to neighbours.

    Parameters
    ----------
    coordinate_ids
        Token ids of the whole numbers in order.
    opening_ids
        Ids of the tokens after which a number is a coordinate ("[" and ", ").
    sigma
        Width in pixels of the normal distribution that replaces the one right token.
    """

    def __init__(
        self,
        *args: Any,
        coordinate_ids: torch.Tensor,
        opening_ids: torch.Tensor,
        sigma: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._coordinate_ids = coordinate_ids
        self._opening_ids = opening_ids
        self._sigma = sigma

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean loss over the labelled tokens of the batch."""
        labels = inputs.pop("labels")
        # Only positions that are learnt from need logits: most are prompt and image.
        targets, before = labels[:, 1:], inputs["input_ids"][:, :-1]
        learnt = targets != -100
        with self.accelerator.autocast():  # accelerate's own is around the whole model's forward
            outputs = model.model(**inputs, use_cache=False)
            logits = model.lm_head(outputs.last_hidden_state[:, :-1][learnt])
        targets, before = targets[learnt], before[learnt]
        log_probs = F.log_softmax(logits.float(), -1)
        loss = -log_probs.gather(1, targets[:, None])[:, 0]

        coordinates = self._coordinate_ids.to(logits.device)
        place = torch.full((logits.shape[1],), -1, device=logits.device)
        place[coordinates] = torch.arange(len(coordinates), device=logits.device)
        value = place[targets]
        soft = (value >= 0) & torch.isin(before, self._opening_ids.to(logits.device))
        if soft.any():
            steps = torch.arange(len(coordinates), device=value.device) - value[soft][:, None]
            weights = torch.softmax(-0.5 * (steps / self._sigma) ** 2, 1)
            loss = loss.masked_scatter(soft, -(weights * log_probs[soft][:, coordinates]).sum(1))
        result = loss.mean()
        self._metrics["train"]["mean_token_accuracy"].append(
            float((logits.argmax(-1) == targets).float().mean())
        )
        return (result, outputs) if return_outputs else result


def optimizers_for(
    model: torch.nn.Module, *, matrix_rate: float, other_rate: float, steps: int, warmup: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Muon for the matrices of the language model and AdamW for the rest, one schedule."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inner = parameter.ndim == 2 and "embed" not in name and "merger" not in name
            (matrices if inner and "lm_head" not in name else others).append(parameter)
    optimizer = PairedOptimizer(
        Muon(matrices, lr=matrix_rate, weight_decay=0.02),
        torch.optim.AdamW(others, lr=other_rate, weight_decay=0.01, betas=(0.9, 0.98)),
    )

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return max(0.02, 1 - (step - warmup) / max(steps - warmup, 1))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


class PairedOptimizer(torch.optim.Optimizer):
    """Two optimizers that look like one to the trainer; their groups keep their own settings."""

    def __init__(self, first: torch.optim.Optimizer, second: torch.optim.Optimizer) -> None:
        self._both = (first, second)
        super().__init__(first.param_groups + second.param_groups, {})
        # The groups are shared, not copied, so that a schedule reaches both.
        self.param_groups = first.param_groups + second.param_groups

    def step(self, closure: Any = None) -> None:
        """Update both."""
        for optimizer in self._both:
            optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear both."""
        for optimizer in self._both:
            optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """States of both."""
        return {"both": [optimizer.state_dict() for optimizer in self._both]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both, keeping the groups shared."""
        for optimizer, state in zip(self._both, state_dict["both"], strict=True):
            optimizer.load_state_dict(state)
        self.param_groups = self._both[0].param_groups + self._both[1].param_groups
