"""Tournaments of systems whose skills are known: what the ratings and the pairing are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
        matches = []
        for first, second in pairs:
            contrast = rng.normal()
            if self.lengths is not None:
                contrast += self.lengths[first] - self.lengths[second]
            d = (self.ratings[first] - self.ratings[second]) / ELO + self.position
            d += self.length * contrast
            weights = np.array([np.exp(d / 2), np.exp(-d / 2), self.tie])
            drawn = rng.choice(3, p=weights / weights.sum())
            outcome = (Outcome.FIRST, Outcome.SECOND, Outcome.TIE)[drawn]
            study = f"study-{rng.integers(studies)}"
            matches.append(Match(study, first, second, outcome, contrasts={"length": contrast}))
        return matches


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
    world: World, *, runs: int = 40, budget: int = 2000, batch: int = 20, seed: int = 0
) -> Saving:
    """What adaptive pairing saves in one world."""
    needed = np.array(
        [
            [
                matches_to_rank(world, pairing, budget=budget, batch=batch, seed=seed + run)
                or budget
                for run in range(runs)
            ]
            for pairing in ("adaptive", "uniform")
        ],
        dtype=float,
    )
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
