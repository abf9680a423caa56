"""Which systems to compare next: those whose order is least sure, where a verdict tells most."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.special import ndtr

from training.arena.ratings import Fit

_UNMET = 4.0
"""Variance, in squared log-odds, of the strength of a system before its first match."""


def uniform_pairs(systems: Sequence[str], count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Every pair as often as any other, in random order; sides are drawn, too."""
    rng = np.random.default_rng(seed)
    pairs = list(combinations(systems, 2))
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count:
        chosen += [pairs[n] for n in rng.permutation(len(pairs))]
    return [_either_way(pair, rng) for pair in chosen[:count]]


def next_pairs(
    systems: Sequence[str], fit: Fit | None, count: int, *, seed: int = 0
) -> list[tuple[str, str]]:
    """The next matches, each chosen as if those before it had been judged.

    A pair's worth is the chance that its order is wrong, times what one more verdict is to be
    expected to tell of it (the gain in log-determinant of the strengths' covariance).

    Parameters
    ----------
    systems
        All that take part; one that has no match yet is as uncertain as can be.
    fit
        Of the matches so far; None at the start.
    """
    rng = np.random.default_rng(seed)
    strengths, covariance = np.zeros(len(systems)), _UNMET * np.eye(len(systems))
    if fit is not None:
        known = [n for n, system in enumerate(systems) if system in fit.systems]
        rows = [fit.systems.index(systems[n]) for n in known]
        strengths[known] = fit.strengths[rows]
        covariance[np.ix_(known, known)] = fit.covariance[np.ix_(rows, rows)]
    first, second = np.array(list(combinations(range(len(systems)), 2))).T
    gap = np.abs(strengths[first] - strengths[second])
    tie = fit.tie if fit is not None else 0.0
    chances = np.stack([np.exp(gap / 2), np.exp(-gap / 2), np.full_like(gap, tie)])
    win, lose, _ = chances / chances.sum(axis=0)
    told = (win + lose) / 4 - ((win - lose) / 2) ** 2
    chosen = []
    for _ in range(count):
        variance = (
            covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
        ).clip(1e-12)
        worth = ndtr(-gap / np.sqrt(variance)) * np.log1p(told * variance)
        best = int(rng.choice(np.flatnonzero(worth >= worth.max() * (1 - 1e-9))))
        a, b = first[best], second[best]
        chosen.append(_either_way((systems[a], systems[b]), rng))
        # Sherman-Morrison: the covariance once this match is judged.
        across = covariance[:, a] - covariance[:, b]
        covariance -= told[best] * np.outer(across, across) / (1 + told[best] * variance[best])
    return chosen


def _either_way(pair: tuple[str, str], rng: np.random.Generator) -> tuple[str, str]:
    return (pair[1], pair[0]) if rng.random() < 0.5 else pair
