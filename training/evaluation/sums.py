"""Columns of many examples as one matrix, and figures of their sums with intervals and tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

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

    @property
    def turned(self) -> Difference:
        """The second's over the first."""
        return Difference(-self.value, -self.high, -self.low, self.p)


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

    def drawn(self, figure: Figure, *, seed: int = 0) -> np.ndarray:
        """The figure on each resample; other resamples for another seed."""
        if seed:
            return figure(self._under(_resamples(len(self.studies), seed)))
        return figure(self._resampled)

    def difference(self, other: Table, figure: Figure) -> Difference:
        """This table's figure less the other's; of several figures, ask :class:`Paired`.

        Raises
        ------
        ValueError
            When the two are not of the same studies.
        """
        return Paired(self, other).difference(figure)

    def in_order_of(self, studies: Sequence[str]) -> Table:
        """The same table, its studies in another order."""
        if self.studies == tuple(studies):
            return self
        number = {study: n for n, study in enumerate(self.studies)}
        ordered = Table((), ())
        ordered.studies = tuple(studies)
        ordered._names = self._names
        ordered._sums = self._sums[[number[study] for study in studies]]
        return ordered

    def matrix(self, names: Sequence[str]) -> np.ndarray:
        """Sums by study and column; 0 of a column that there is not."""
        zeros = np.zeros(len(self.studies))
        found = [self._sums[:, self._names[n]] if n in self._names else zeros for n in names]
        return np.array(found).T

    @cached_property
    def _resampled(self) -> Sums:
        return self._under(_resamples(len(self.studies)))

    def _under(self, weights: np.ndarray) -> Sums:
        sums = weights @ self._sums
        return _Zeros({name: sums[:, n] for name, n in self._names.items()}, len(weights))


class Paired:
    """Two tables of the same studies, made ready to be compared in any number of figures.

    Raises
    ------
    ValueError
        When the two are not of the same studies.
    """

    def __init__(self, one: Table, other: Table, *, rounds: int = 2000) -> None:
        if set(one.studies) != set(other.studies):
            raise ValueError("Only tables of the same studies can be compared.")
        self._one, self._other = one, other.in_order_of(one.studies)
        self._rounds = rounds

    @cached_property
    def _swapped(self) -> tuple[Sums, Sums]:
        """Of each round the sums of either side, its studies swapped at random."""
        names = tuple(dict.fromkeys((*self._one.names, *self._other.names)))
        mine, theirs = self._one.matrix(names), self._other.matrix(names)
        rng = np.random.default_rng(1)
        kept = rng.integers(0, 2, size=(self._rounds, len(mine))).astype(float)
        # What is kept less what is taken: one product for both sides.
        gain = kept @ (mine - theirs)
        sides = theirs.sum(axis=0) + gain, mine.sum(axis=0) - gain
        one, two = (
            _Zeros({name: side[:, n] for n, name in enumerate(names)}, self._rounds)
            for side in sides
        )
        return one, two

    def difference(self, figure: Figure) -> Difference:
        """The first table's figure less the second's."""
        drawn = self._one.drawn(figure) - self._other.drawn(figure)
        value = self._one.value(figure) - self._other.value(figure)
        one, two = self._swapped
        shuffled = np.abs(figure(one) - figure(two))
        extreme = int((shuffled >= abs(value) - 1e-12).sum())
        return Difference(value, *percentiles(drawn), (extreme + 1) / (self._rounds + 1))


@lru_cache(maxsize=8)
def _resamples(count: int, seed: int = 0) -> np.ndarray:
    """Of each resample, how often each study is drawn; the same for all of as many studies."""
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(count, size=count) for _ in range(_RESAMPLES)]
    return np.array([np.bincount(each, minlength=count) for each in drawn], dtype=float)


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
