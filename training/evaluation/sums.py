"""Columns of many examples as one matrix, and figures of their sums with intervals and tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from training.evaluation.columns import Columns

Sums = Mapping[str, np.ndarray]
"""Of each column, its sums: one number for each resample."""
Figure = Callable[[Sums], np.ndarray]

_RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval.

    Attributes
    ----------
    low, high
        Percentiles over studies drawn with replacement.
    studies
        How many there are.
    """

    value: float
    low: float
    high: float
    studies: int


@dataclass(frozen=True)
class Difference:
    """What one system has over another in a figure, on the same studies.

    Attributes
    ----------
    low, high
        95% interval of the difference, the same studies drawn for both.
    p
        Of the paired randomisation test, two-sided: which system said what is swapped study by
        study.
    """

    value: float
    low: float
    high: float
    p: float


class Table:
    """Sums of columns by study.

    Parameters
    ----------
    studies
        Of each example, its study: what is resampled.
    rows
        Of each example, its columns.
    """

    def __init__(self, studies: Sequence[str], rows: Sequence[Columns]) -> None:
        names = sorted({name for row in rows for name in row})
        index = {name: n for n, name in enumerate(names)}
        self.studies = tuple(dict.fromkeys(studies))
        number = {study: n for n, study in enumerate(self.studies)}
        self._names = index
        self._sums = np.zeros((len(self.studies), len(names)))
        for study, row in zip(studies, rows, strict=True):
            for name, value in row.items():
                self._sums[number[study], index[name]] += value

    def __contains__(self, name: str) -> bool:
        return name in self._names

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns."""
        return tuple(self._names)

    def value(self, figure: Figure) -> float:
        """The figure over all studies; NaN where it is not defined."""
        return float(figure(self._under(np.ones((1, len(self.studies)))))[0])

    def estimate(self, figure: Figure) -> Estimate:
        """The figure with its interval; resamples on which it is not defined are left out."""
        low, high = percentiles(self.drawn(figure))
        return Estimate(self.value(figure), low, high, len(self.studies))

    def drawn(self, figure: Figure) -> np.ndarray:
        """The figure on each resample."""
        return figure(self._under(self._weights))

    def difference(self, other: Table, figure: Figure, *, rounds: int = 2000) -> Difference:
        """This table's figure less the other's.

        Raises
        ------
        ValueError
            When the two are not of the same studies.
        """
        if set(self.studies) != set(other.studies):
            raise ValueError("Only tables of the same studies can be compared.")
        theirs = other._in_order_of(self.studies)
        drawn = self.drawn(figure) - figure(theirs._under(self._weights))
        value = self.value(figure) - theirs.value(figure)
        rng = np.random.default_rng(1)
        kept = rng.integers(0, 2, size=(rounds, len(self.studies))).astype(float)
        names = dict.fromkeys((*self._names, *theirs._names))
        one, two = (
            {name: k @ self._column(name) + (1 - k) @ theirs._column(name) for name in names}
            for k in (kept, 1 - kept)
        )
        shuffled = np.abs(figure(_Zeros(one, rounds)) - figure(_Zeros(two, rounds)))
        extreme = int((shuffled >= abs(value) - 1e-12).sum())
        return Difference(value, *percentiles(drawn), (extreme + 1) / (rounds + 1))

    def _in_order_of(self, studies: Sequence[str]) -> Table:
        ordered = copy(self)
        number = {study: n for n, study in enumerate(self.studies)}
        ordered.studies = tuple(studies)
        ordered._sums = self._sums[[number[study] for study in studies]]
        return ordered

    def _column(self, name: str) -> np.ndarray:
        if name in self._names:
            return self._sums[:, self._names[name]]
        return np.zeros(len(self.studies))

    @cached_property
    def _weights(self) -> np.ndarray:
        """Of each resample, how often each study is drawn; the same for all of as many studies."""
        rng = np.random.default_rng(0)
        count = len(self.studies)
        drawn = [rng.integers(count, size=count) for _ in range(_RESAMPLES)]
        return np.array([np.bincount(each, minlength=count) for each in drawn], dtype=float)

    def _under(self, weights: np.ndarray) -> Sums:
        sums = weights @ self._sums
        return _Zeros({name: sums[:, n] for name, n in self._names.items()}, len(weights))


class _Zeros(dict[str, np.ndarray]):
    """Sums; a column that no example has is 0."""

    def __init__(self, sums: Mapping[str, np.ndarray], count: int) -> None:
        super().__init__(sums)
        self._count = count

    def __missing__(self, name: str) -> np.ndarray:
        return np.zeros(self._count)


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """95% interval of resampled values; NaN where none is defined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)
