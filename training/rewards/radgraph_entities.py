"""The grounded reward with RadGraph as judge of what a report finds.

RadGraph-XL (Delbrouck et al., 2024) reads entities and relations; it is taken from the package
``radgraph``, which is installed by who wants it and loads its weights itself. Agreement is the
``partial`` reward of Delbrouck et al. (2022): F1 of entities with whether they have a relation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from radgraph import F1RadGraph  # not with this project: see docs/rewards.md

from training.rewards.grounded import score_rollouts
from training.rewards.protocol import Rollout


def grounded_by_radgraph(
    rollouts: Sequence[Rollout],
    *,
    findings: float = 0.4,
    words: float = 0.15,
    places: float = 0.35,
    coherence: float = 0.1,
) -> list[Mapping[str, float]]:
    """:func:`~training.rewards.grounded.grounded`, findings of reports read by RadGraph.

    Parameters and errors are those of that function.
    """
    weights = {"findings": findings, "words": words, "places": places, "coherence": coherence}
    return score_rollouts(rollouts, weights, radgraph_agreement)


def radgraph_agreement(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """RadGraph F1 of each report and its reference."""
    said, references = (list(texts) for texts in zip(*pairs, strict=True))
    _, values, _, _ = _reader()(hyps=said, refs=references)
    return [float(value) for value in values]


@cache
def _reader() -> Any:
    return F1RadGraph(reward_level="partial", model_type="radgraph-xl")
