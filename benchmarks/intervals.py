"""Ratios of measurements taken in turn, with 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t


@dataclass(frozen=True)
class Ratio:
    """A geometric mean of ratios, and the 95% interval of it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def beside(self, *, least: float = 0.0, most: float = math.inf) -> str:
        """Say whether a goal is met: told as met or missed where the whole interval says so."""
        if least <= self.low and self.high <= most:
            return "met"
        if self.high < least or self.low > most:
            return "missed"
        likely = "met" if least <= self.value <= most else "missed"
        return f"rather {likely}"


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Return ours divided by theirs, round by round, so that drift of the machine cancels.

    Student's interval of the mean of the logarithms.
    """
    logs = [math.log(mine / other) for mine, other in zip(ours, theirs, strict=True)]
    middle = fmean(logs)
    if len(logs) < 2:
        return Ratio(math.exp(middle), math.nan, math.nan)
    half = t.ppf(0.975, len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half))
