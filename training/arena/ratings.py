"""Bradley-Terry ratings with ties, position bias and covariates, by maximum likelihood.

Ties follow Davidson (1970): with d the first system's strength less the second's, plus what the
judge gives for position and for the covariates' contrasts, the first wins with a chance in
proportion to exp(d/2), the second to exp(-d/2), and they tie to nu. Strengths are told on Elo's
scale, 400 points for odds of ten to one, around 1000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np
from scipy.optimize import minimize

from training.arena.match import Match, Outcome

ELO = 400 / log(10)
"""Points for each unit of log-odds."""
_MEAN = 1000.0
_PRIOR = 1e-4
"""Precision of the normal prior of every parameter: keeps who never lost from infinity."""


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

    Raises
    ------
    ValueError
        When there are no matches, or one is of a system with itself.
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
        index = {system: n for n, system in enumerate(self.systems)}
        count = len(self.systems)
        self._design = np.zeros((len(matches), count + len(self.covariates) + 1))
        for row, match in enumerate(matches):
            self._design[row, index[match.first]] = 1
            self._design[row, index[match.second]] = -1
            for n, name in enumerate(self.covariates):
                self._design[row, count + n] = match.contrasts.get(name, 0.0)
        contrasts = self._design[:, count:-1]
        spread = contrasts.std(axis=0)
        self._design[:, count:-1] = contrasts / np.where(spread > 0, spread, 1)
        self._design[:, -1] = float(position)
        won = {Outcome.FIRST: 1.0, Outcome.SECOND: -1.0}
        self._won = np.array([won.get(match.outcome, 0.0) for match in matches])
        studies = {match.study: n for n, match in enumerate(reversed(matches))}
        number = {study: n for n, study in enumerate(studies)}
        self._study = np.array([number[match.study] for match in matches])

    @cached_property
    def fit(self) -> Fit:
        """The likeliest parameters."""
        return self._fit(np.ones(len(self._won)))

    def intervals(self, *, resamples: int = 200, seed: int = 0) -> dict[str, tuple[float, float]]:
        """95% percentile intervals of the ratings over studies drawn with replacement."""
        rng = np.random.default_rng(seed)
        studies = int(self._study.max()) + 1
        drawn = []
        for _ in range(resamples):
            times = np.bincount(rng.integers(studies, size=studies), minlength=studies)
            weights = times[self._study].astype(float)
            if weights.any():
                drawn.append(self._fit(weights).strengths)
        low, high = np.percentile(_MEAN + ELO * np.array(drawn), [2.5, 97.5], axis=0)
        return {system: (float(low[n]), float(high[n])) for n, system in enumerate(self.systems)}

    def _fit(self, weights: np.ndarray) -> Fit:
        used = weights > 0
        design, won, weights = self._design[used], self._won[used], weights[used]
        ties = bool((won == 0).any())
        count = len(self.systems)

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            slopes, tie = parameters[:-1], parameters[-1]
            d = design @ slopes
            parts = np.stack([d / 2, -d / 2, np.full_like(d, tie if ties else -np.inf)])
            top = parts.max(axis=0)
            total = top + np.log(np.exp(parts - top).sum(axis=0))
            chosen = np.where(won == 0, tie if ties else 0.0, won * d / 2)
            shares = np.exp(parts - total)
            slope = weights * ((shares[0] - shares[1]) / 2 - won / 2)
            gradient = np.append(
                design.T @ slope, (weights * (shares[2] - (won == 0))).sum() if ties else 0.0
            )
            value = (weights * (total - chosen)).sum() + _PRIOR / 2 * (parameters**2).sum()
            return float(value), gradient + _PRIOR * parameters

        start = np.zeros(design.shape[1] + 1)
        done = minimize(
            loss, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9}
        )
        slopes, tie = done.x[:-1], done.x[-1]
        strengths = slopes[:count] - slopes[:count].mean()
        return Fit(
            systems=self.systems,
            strengths=strengths,
            position=float(slopes[-1]),
            slopes=dict(zip(self.covariates, slopes[count:-1].tolist(), strict=True)),
            tie=float(np.exp(tie)) if ties else 0.0,
            covariance=self._covariance(design, weights, slopes, tie if ties else -np.inf, count),
        )

    def _covariance(
        self, design: np.ndarray, weights: np.ndarray, slopes: np.ndarray, tie: float, count: int
    ) -> np.ndarray:
        parts = np.stack([design @ slopes / 2, -design @ slopes / 2])
        odds = np.append(np.exp(parts), np.full((1, len(weights)), np.exp(tie)), axis=0)
        shares = odds / odds.sum(axis=0)
        # Of the outcome (+1/2, -1/2, 0): what a match tells of the difference.
        told = (shares[0] + shares[1]) / 4 - ((shares[0] - shares[1]) / 2) ** 2
        information = design.T @ (design * (weights * told)[:, None])
        information += _PRIOR * np.eye(len(information))
        centre = np.eye(count) - 1 / count
        return centre @ np.linalg.inv(information)[:count, :count] @ centre
