"""The grounded reward with CheXbert as judge of what a report finds.

CheXbert (Smit et al., 2020) labels 14 observations; it is taken from the package ``f1chexbert``,
which is installed by who wants it and loads its weights itself. Where boxes belong and whether the
steps agree with the answer stays with the rule-based labeler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from f1chexbert import F1CheXbert  # not with this project: see docs/rewards.md

from training.rewards.grounded import score_rollouts
from training.rewards.protocol import Rollout


def grounded_by_chexbert(
    rollouts: Sequence[Rollout],
    *,
    findings: float = 0.4,
    words: float = 0.15,
    places: float = 0.35,
    coherence: float = 0.1,
) -> list[Mapping[str, float]]:
    """:func:`~training.rewards.grounded.grounded`, findings of reports read by CheXbert.

    Parameters and errors are those of that function.
    """
    weights = {"findings": findings, "words": words, "places": places, "coherence": coherence}
    return score_rollouts(rollouts, weights, chexbert_agreement)


def chexbert_agreement(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """F1 of the observations present or uncertain in each report and its reference."""
    return [_f1(_labels(said), _labels(reference)) for said, reference in pairs]


def _f1(said: tuple[int, ...], true: tuple[int, ...]) -> float:
    named = sum(said) + sum(true)
    return 2 * sum(a and b for a, b in zip(said, true, strict=True)) / named if named else 1.0


@lru_cache(maxsize=65_536)
def _labels(report: str) -> tuple[int, ...]:
    return tuple(_labeler().get_label(report.strip()))


@cache
def _labeler() -> Any:
    return F1CheXbert()
