"""Tournaments of systems whose skills are known: what the ratings and the pairing are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from training.arena.match import Match, Outcome
from training.arena.pairing import next_pairs, uniform_pairs
from training.arena.ratings import ELO, Arena

Pairing = Literal["adaptive", "uniform"]


@dataclass(frozen=True)
class World:
    """Systems, and a judge.

    Attributes
    ----------
    ratings
        True Elo-scaled rating of each system.
    tie
        Davidson's nu.
    position
        Log-odds that the judge gives to the first.
    length
        Log-odds that the judge gives for each unit of length more.
    lengths
        Mean length of each system's texts.
    """

    ratings: dict[str, float]
    tie: float = 0.5
    position: float = 0.0
    length: float = 0.0
    lengths: dict[str, float] | None = None

    def judge(
        self, pairs: Sequence[tuple[str, str]], rng: np.random.Generator, studies: int
    ) -> list[Match]:
        """A verdict on each pair, each on a study drawn at random."""
        rating = np.array([[self.ratings[one], self.ratings[other]] for one, other in pairs])
        contrast = rng.normal(size=len(pairs))
        if self.lengths is not None:
            contrast += [self.lengths[one] - self.lengths[other] for one, other in pairs]
        d = (rating[:, 0] - rating[:, 1]) / ELO + self.position + self.length * contrast
        weights = np.stack([np.exp(d / 2), np.exp(-d / 2), np.full_like(d, self.tie)])
        reached = (weights / weights.sum(axis=0)).cumsum(axis=0)
        drawn = (rng.random(len(pairs)) >= reached[:2]).sum(axis=0)
        outcomes = (Outcome.FIRST, Outcome.SECOND, Outcome.TIE)
        return [
            Match(f"study-{study}", *pair, outcomes[kind], contrasts={"length": told})
            for pair, kind, told, study in zip(
                pairs,
                drawn.tolist(),
                contrast.tolist(),
                rng.integers(studies, size=len(pairs)).tolist(),
                strict=True,
            )
        ]


def matches_to_rank(
    world: World, pairing: Pairing, *, budget: int, batch: int = 20, seed: int = 0
) -> int | None:
    """Matches after which the ranking is the true one and stays so; None beyond the budget."""
    rng = np.random.default_rng([seed, 31])
    systems = sorted(world.ratings)
    truth = sorted(systems, key=lambda system: -world.ratings[system])
    matches: list[Match] = []
    fit, since = None, None
    uniform = uniform_pairs(systems, budget, seed=seed)
    for begin in range(0, budget, batch):
        pairs = (
            next_pairs(systems, fit, batch, seed=seed * 100_003 + begin)
            if pairing == "adaptive"
            else uniform[begin : begin + batch]
        )
        matches += world.judge(pairs, rng, studies=500)
        fit = Arena(matches, position=False).fit
        right = sorted(fit.systems, key=lambda s: -fit.rating(s)) == truth
        since = (since or begin + batch) if right else None
    return since


@dataclass(frozen=True)
class Saving:
    """Matches to a stable true ranking by either pairing, over the same simulated worlds.

    Attributes
    ----------
    adaptive, uniform
        Median number of matches; a run that did not get there counts as the budget.
    share
        Part of uniform pairing's matches that adaptive pairing saves.
    interval
        95% of ``share``, bootstrapped by run.
    """

    runs: int
    adaptive: float
    uniform: float
    share: float
    interval: tuple[float, float]


def measure_saving(
    world: World,
    *,
    runs: int = 40,
    budget: int = 2000,
    batch: int = 20,
    seed: int = 0,
    finished: Callable[[], object] | None = None,
) -> Saving:
    """What adaptive pairing saves in one world.

    Parameters
    ----------
    finished
        Called after every run.
    """
    needed = np.full((2, runs), float(budget))
    for run in range(runs):
        for row, pairing in enumerate(get_args(Pairing)):
            played = matches_to_rank(world, pairing, budget=budget, batch=batch, seed=seed + run)
            needed[row, run] = played or budget
        if finished is not None:
            finished()
    rng = np.random.default_rng(seed)

    def saved(columns: np.ndarray) -> float:
        adaptive, uniform = np.median(needed[:, columns], axis=1)
        return float(1 - adaptive / uniform)

    everyone = np.arange(runs)
    low, high = np.percentile(
        [saved(rng.integers(runs, size=runs)) for _ in range(2000)], [2.5, 97.5]
    )
    adaptive, uniform = np.median(needed, axis=1)
    return Saving(runs, float(adaptive), float(uniform), saved(everyone), (float(low), float(high)))
