"""Bootstrap intervals, resampled by study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


def bootstrap_interval(
    studies: Sequence[T],
    statistic: Callable[[Sequence[T]], float],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """95% percentile interval of a statistic over studies drawn with replacement.

    Resamples on which the statistic is not defined (NaN) are left out; NaN where all are.
    """
    drawn = _drawn(len(studies), resamples, seed)
    return _percentiles([statistic([studies[i] for i in picked]) for picked in drawn])


def interval_of_sums(
    terms: npt.NDArray[np.float64],
    value: Callable[[Sequence[float]], float],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The same of a statistic that is worked out from sums over the studies; far faster.

    Parameters
    ----------
    terms
        What each study adds to each sum, shape (studies, sums).
    value
        The statistic, of the sums.
    """
    drawn = _drawn(len(terms), resamples, seed)
    return _percentiles([value(terms[picked].sum(0)) for picked in drawn])


def _drawn(studies: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return (rng.integers(studies, size=studies) for _ in range(resamples))


def _percentiles(drawn: Sequence[float]) -> tuple[float, float]:
    values = [value for value in drawn if not np.isnan(value)]
    if not values:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
