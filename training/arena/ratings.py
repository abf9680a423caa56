"""Bradley-Terry ratings with ties, position bias and covariates, by maximum likelihood.

Ties follow Davidson (1970): with d the first system's strength less the second's, plus what the
judge gives for position and for the covariates' contrasts, the first wins with a chance in
proportion to exp(d/2), the second to exp(-d/2), and they tie to nu. Strengths are told on Elo's
scale, 400 points for odds of ten to one, around 1000.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any

import numpy as np

from training.arena.match import Match, Outcome

ELO = 400 / log(10)
"""Points for each unit of log-odds."""
_MEAN = 1000.0
_PRIOR = 1e-4
"""Precision of the normal prior of every parameter: keeps who never lost from infinity."""
_CLOSE = 1e-10
"""Part of the loss that a last step may still gain."""
_STEPS = 100
"""At most; a handful are taken."""


@dataclass(frozen=True)
class Fit:
    """Parameters at their likeliest.

    Attributes
    ----------
    systems
        In the order of ``strengths``.
    strengths
        Log-odds, summing to zero.
    position
        Log-odds given to the system shown first.
    slopes
        Log-odds for each standard deviation of each covariate's contrast.
    tie
        nu; 0 where no match was tied.
    covariance
        Of the strengths, from the curvature at the maximum.
    """

    systems: tuple[str, ...]
    strengths: np.ndarray
    position: float
    slopes: dict[str, float]
    tie: float
    covariance: np.ndarray

    def rating(self, system: str) -> float:
        """Elo-scaled strength."""
        return _MEAN + ELO * float(self.strengths[self.systems.index(system)])

    def chances(self, first: str, second: str) -> tuple[float, float, float]:
        """Chances that the first wins, the second wins, and that they tie, position aside."""
        d = self.rating(first) - self.rating(second)
        weights = np.array([np.exp(d / ELO / 2), np.exp(-d / ELO / 2), self.tie])
        win, lose, tie = weights / weights.sum()
        return float(win), float(lose), float(tie)


class Arena:
    """Matches made ready to be rated, once or on many resamples.

    Parameters
    ----------
    matches
        All of them; order does not matter.
    covariates
        Names of the contrasts to control for; a match without one counts as 0.
    position
        Whether to estimate what being shown first is worth. Without it, it is worth nothing.

    Matches that tell the same (pair, order, contrasts, outcome) are one row with a weight, so that
    without covariates a fit takes as long for thousands of matches as for hundreds.

    Raises
    ------
    ValueError
        When there are no matches, one is of a system with itself, a contrast is not finite, or no
        match tells a covariate.
    """

    def __init__(
        self, matches: Sequence[Match], *, covariates: Sequence[str] = (), position: bool = True
    ) -> None:
        if not matches:
            raise ValueError("There are no matches to rate.")
        if any(match.first == match.second for match in matches):
            raise ValueError("A match is of a system with itself.")
        self.systems = tuple(sorted({m.first for m in matches} | {m.second for m in matches}))
        self.covariates = tuple(covariates)
        told_of = {name for match in matches for name in match.contrasts}
        for name in covariates:
            if name not in told_of:
                known = ", ".join(sorted(told_of)) or "none at all"
                raise ValueError(f"No match tells the contrast {name!r} to control for: {known}.")
        won = {Outcome.FIRST: 1.0, Outcome.SECOND: -1.0}
        rows: dict[tuple[Any, ...], int] = {}
        told = (
            (
                m.first,
                m.second,
                won.get(m.outcome, 0.0),
                *[m.contrasts.get(c, 0.0) for c in covariates],
            )
            for m in matches
        )
        self._row = np.array([rows.setdefault(row, len(rows)) for row in told])
        index = {system: n for n, system in enumerate(self.systems)}
        count = len(self.systems)
        self._won = np.array([row[2] for row in rows])
        self._design = np.zeros((len(rows), count + len(self.covariates) + 1))
        for n, (first, second, _, *contrasts) in enumerate(rows):
            self._design[n, index[first]] = 1
            self._design[n, index[second]] = -1
            self._design[n, count:-1] = contrasts
        spread = self._design[self._row, count:-1].std(axis=0)
        self._design[:, count:-1] /= np.where(spread > 0, spread, 1)
        self._design[:, -1] = float(position)
        if not np.isfinite(self._design).all():
            raise ValueError("A contrast is no finite number: correct the matches.")
        self._clusters = [match.cluster for match in matches]

    @cached_property
    def fit(self) -> Fit:
        """The likeliest parameters."""
        return self._fit(np.ones(len(self._row)))

    def intervals(self, *, resamples: int = 200, seed: int = 0) -> dict[str, tuple[float, float]]:
        """95% percentile intervals of the ratings over patients drawn with replacement.

        A resample in which a system has no match tells nothing of it, and is left out of its
        interval; not a number where no resample has one.
        """
        rng = np.random.default_rng(seed)
        number = {cluster: n for n, cluster in enumerate(dict.fromkeys(self._clusters))}
        of_match = np.array([number[cluster] for cluster in self._clusters])
        plays = self._design[:, : len(self.systems)] != 0
        drawn = []
        for _ in range(resamples):
            times = np.bincount(rng.integers(len(number), size=len(number)), minlength=len(number))
            weights = times[of_match].astype(float)
            if weights.any():
                there = plays[np.unique(self._row[weights > 0])].any(axis=0)
                drawn.append(np.where(there, self._fit(weights).strengths, np.nan))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            low, high = np.nanpercentile(_MEAN + ELO * np.array(drawn), [2.5, 97.5], axis=0)
        return {system: (float(low[n]), float(high[n])) for n, system in enumerate(self.systems)}

    def _fit(self, times: np.ndarray) -> Fit:
        """With every match as often as ``times`` says."""
        weights = np.bincount(self._row, weights=times, minlength=len(self._won))
        used = weights > 0
        design, won, weights = self._design[used], self._won[used], weights[used]
        parameters, curvature = _likeliest(design, won, weights)
        slopes, tie = parameters[:-1], parameters[-1]
        count = len(self.systems)
        centre = np.eye(count) - 1 / count
        return Fit(
            systems=self.systems,
            strengths=slopes[:count] - slopes[:count].mean(),
            position=float(slopes[-1]),
            slopes=dict(zip(self.covariates, slopes[count:-1].tolist(), strict=True)),
            tie=float(np.exp(tie)) if (won == 0).any() else 0.0,
            covariance=centre @ np.linalg.inv(curvature)[:count, :count] @ centre,
        )


def _likeliest(
    design: np.ndarray, won: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and log nu at their likeliest, and the curvature of the loss there.

    By Newton's method with halved steps: the loss is convex, and a few small systems of equations
    are all it takes.
    """
    ties = (won == 0).any()

    def shares_at(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        d, tie = design @ parameters[:-1], parameters[-1]
        parts = np.stack([d / 2, -d / 2, np.full_like(d, tie if ties else -np.inf)])
        total = np.logaddexp.reduce(parts)
        chosen = np.where(won == 0, parts[2], won * d / 2)
        loss = weights @ (total - chosen) + _PRIOR / 2 * (parameters @ parameters)
        return float(loss), np.exp(parts - total)

    parameters = np.zeros(design.shape[1] + 1)
    loss, (first, second, tied) = shares_at(parameters)
    for _ in range(_STEPS):
        lead = (first - second) / 2
        told = (first + second) / 4 - lead**2
        gradient = _PRIOR * parameters
        gradient[:-1] += design.T @ (weights * (lead - won / 2))
        gradient[-1] += weights @ (tied - (won == 0))
        across = -design.T @ (weights * lead * tied)
        curvature = _PRIOR * np.eye(len(parameters))
        curvature[:-1, :-1] += design.T @ (design * (weights * told)[:, None])
        curvature[:-1, -1] += across
        curvature[-1, :-1] += across
        curvature[-1, -1] += weights @ (tied * (1 - tied))
        step = np.linalg.solve(curvature, gradient)
        gain = float(gradient @ step)
        if gain <= _CLOSE * (1 + loss):
            parameters = parameters - step
            break
        while (found := shares_at(parameters - step))[0] > loss - gain / 4:
            step, gain = step / 2, gain / 2
        parameters = parameters - step
        loss, (first, second, tied) = found
    return parameters, curvature
