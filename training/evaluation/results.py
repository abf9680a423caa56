"""What a run of several systems comes to: figures, differences, sub-groups, worst cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan

import numpy as np

from service.reading import Task
from training.data.example import Example
from training.evaluation.columns import Columns, Habits, columns_of, points
from training.evaluation.controls import Films
from training.evaluation.grounding import wanted_regions
from training.evaluation.scores import Score, scores_of
from training.evaluation.subgroups import subgroups_of
from training.evaluation.sums import Difference, Paired, Table, percentiles
from training.systems.prediction import Prediction

WEIGHTED = "all, sample-weighted"
"""Mean over data sets and tasks, each by its number of examples, as in the paper."""
_LEAST = 10
"""Studies of a sub-group below which its figures are not told."""


@dataclass(frozen=True)
class Contender:
    """A system under one condition, with its predictions in the examples' order."""

    system: str
    shown: Films
    predictions: tuple[Prediction, ...]

    @property
    def label(self) -> str:
        """As tables name it."""
        return self.system if self.shown is Films.SHOWN else f"{self.system}, {self.shown} films"


@dataclass(frozen=True)
class Row:
    """One figure of one contender on one stratum.

    Attributes
    ----------
    stratum
        Data set and task, or :data:`WEIGHTED`.
    subgroup
        Such as ``view: AP``; empty for all.
    """

    contender: str
    system: str
    shown: str
    stratum: str
    subgroup: str
    score: str
    group: str
    headline: bool
    better: bool | None
    value: float
    low: float
    high: float
    studies: int


@dataclass(frozen=True)
class Compared:
    """Two contenders' difference in one figure on one stratum."""

    one: str
    other: str
    stratum: str
    score: str
    difference: Difference


@dataclass(frozen=True)
class Case:
    """An example that a system did badly on, and how badly."""

    number: int
    contender: str
    score: str
    value: float


class Results:
    """Figures of several contenders on the same examples.

    Parameters
    ----------
    examples
        What was asked.
    contenders
        Systems and controls, predictions in the examples' order.
    groups
        Of each example's identifier or subject, names and values of sub-groups; they count
        before those that the example tells itself (view, sex, age, device, site).
    more
        Columns that were measured elsewhere.

    Raises
    ------
    ValueError
        When a contender has another number of predictions than there are examples, or there are
        none.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        contenders: Sequence[Contender],
        groups: Mapping[str, Mapping[str, str]] | None = None,
        more: Callable[[Example, Prediction], Columns] = lambda example, prediction: {},
    ) -> None:
        if not examples or not contenders:
            raise ValueError("There is nothing to score.")
        for contender in contenders:
            if len(contender.predictions) != len(examples):
                raise ValueError(
                    f"{contender.label} has {len(contender.predictions)} predictions of "
                    f"{len(examples)} examples."
                )
        self.examples = tuple(examples)
        self.contenders = tuple(contenders)
        self._groups = groups or {}
        self._columns = {
            contender.label: [
                columns_of(example, prediction, habits) | more(example, prediction)
                for example, prediction, habits in zip(
                    examples, contender.predictions, self._habits(contender.system), strict=True
                )
            ]
            for contender in contenders
        }
        self._tables: dict[tuple[str, tuple[int, ...]], Table] = {}
        self._pairs: dict[tuple[str, str, str], Paired] = {}

    @cached_property
    def pointing(self) -> dict[str, dict[str, bool]]:
        """Of each stratum of questions about places: which systems were asked to point, or did.

        Only those are scored on the boxes of questions, on all of them and on all controls; to
        answer in words alone is no fault where nobody asked for more.
        """
        found: dict[str, dict[str, bool]] = {}
        for stratum, some in self.strata.items():
            if any(self._located[n] for n in some) and self.examples[some[0]].task is Task.VQA:
                told = found[stratum] = {contender.system: False for contender in self.contenders}
                for contender in self.contenders:
                    told[contender.system] |= any(points(contender.predictions[n]) for n in some)
        return found

    @cached_property
    def _located(self) -> list[bool]:
        """Of each example whether it is asked where something is, or what there is, on a film."""
        own = [any(wanted_regions(example)) for example in self.examples]
        about = {
            (example.source, example.question)
            for example, located in zip(self.examples, own, strict=True)
            if located
        }
        return [(example.source, example.question) in about for example in self.examples]

    def _habits(self, system: str) -> list[Habits]:
        """Of each example what the system's other predictions of the stratum say of it."""
        said = [c.predictions for c in self.contenders if c.system == system]
        found = [Habits(points=False, reasons=False)] * len(self.examples)
        for stratum, some in self.strata.items():
            pointing = self.pointing.get(stratum, {}).get(system, False)
            reasons = any(predictions[n].steps for predictions in said for n in some)
            for n in some:
                found[n] = Habits(pointing, reasons, self._located[n])
        return found

    @cached_property
    def strata(self) -> dict[str, list[int]]:
        """Numbers of the examples of each data set and task."""
        found: dict[str, list[int]] = {}
        for number, example in enumerate(self.examples):
            found.setdefault(f"{example.source}, {example.task}", []).append(number)
        return found

    @cached_property
    def rows(self) -> list[Row]:
        """Every figure of every contender on every stratum, and weighted over them."""
        rows = []
        for contender in self.contenders:
            label = contender.label
            tables = {name: self.table(label, some) for name, some in self.strata.items()}
            known: dict[str, list[tuple[Score, Table, int]]] = {}
            for stratum, table in tables.items():
                for score in scores_of(table):
                    estimate = table.estimate(score.figure)
                    span = (estimate.value, estimate.low, estimate.high)
                    rows.append(_row(contender, stratum, "", score, *span, estimate.studies))
                    some = (score, table, len(self.strata[stratum]))
                    known.setdefault(score.name, []).append(some)
            if len(tables) > 1:
                rows += [_weighted(contender, some) for some in known.values()]
        return [row for row in rows if not isnan(row.value)]

    @cached_property
    def question_types(self) -> list[Row]:
        """Answers to questions, by data set and the source's type of question."""
        return self._split(
            lambda example: _named("question", example.question_type),
            lambda score: score.headline or score.group == "answer",
        )

    @cached_property
    def subgroups(self) -> list[Row]:
        """Headlines by view, sex, age, device and site, and by what the caller knows besides."""
        return self._split(self._subgroups_of, lambda score: score.headline)

    def kinds_of_subgroup(self) -> list[tuple[str, str, dict[str, list[int]]]]:
        """Stratum, kind (view, sex, ...), and the examples of each sub-group large enough."""
        found = []
        for stratum, some in self.strata.items():
            kinds: dict[str, dict[str, list[int]]] = {}
            for name, numbers in self._parts(some, self._subgroups_of).items():
                if len({study_of(self.examples[n]) for n in numbers}) >= _LEAST:
                    kinds.setdefault(name.partition(": ")[0], {})[name] = numbers
            found += [(stratum, kind, parts) for kind, parts in kinds.items() if len(parts) > 1]
        return found

    @cached_property
    def compared(self) -> list[Compared]:
        """Headlines: every two systems, and every system with its own controls, paired."""
        compared = []
        for n, one in enumerate(self.contenders):
            for other in self.contenders[n + 1 :]:
                both_shown = one.shown is other.shown is Films.SHOWN
                if not both_shown and one.system != other.system:
                    continue
                labels = (one.label, other.label)
                for stratum in self.strata:
                    for score in self.scores(one.label, stratum):
                        if score.headline:
                            told = self.difference(*labels, stratum, score)
                            if not isnan(told.value):
                                compared.append(Compared(*labels, stratum, score.name, told))
        return compared

    def scores(self, label: str, stratum: str) -> list[Score]:
        """Figures that a contender's examples of a stratum allow."""
        return scores_of(self.table(label, self.strata[stratum]))

    def difference(self, one: str, other: str, stratum: str, score: Score) -> Difference:
        """What one contender has over another in a figure, by label."""
        key = (one, other, stratum)
        if key not in self._pairs:
            some = self.strata[stratum]
            self._pairs[key] = Paired(self.table(one, some), self.table(other, some))
        return self._pairs[key].difference(score.figure)

    def worst(self, system: str, count: int = 8) -> list[Case]:
        """Cases with the lowest overlap of boxes, then of findings, of one system; failures first.

        One case an example; those that nothing is wrong with are left out.
        """
        cases = []
        for number, columns in enumerate(self._columns[system]):
            score, value = _badness(columns)
            if value < 1:
                cases.append(Case(number, system, score, value))
        return sorted(cases, key=lambda case: (case.value, case.number))[:count]

    def table(self, label: str, numbers: Sequence[int]) -> Table:
        """A contender's columns of some examples, summed by study."""
        key = (label, tuple(numbers))
        if key not in self._tables:
            columns = self._columns[label]
            studies = [study_of(self.examples[number]) for number in numbers]
            self._tables[key] = Table(studies, [columns[number] for number in numbers])
        return self._tables[key]

    def _subgroups_of(self, example: Example) -> Iterable[str]:
        given = {**self._groups.get(example.subject, {}), **self._groups.get(example.id, {})}
        for name, value in subgroups_of(example, given).items():
            yield from _named(name, value)

    def _parts(
        self, some: Sequence[int], of: Callable[[Example], Iterable[str]]
    ) -> dict[str, list[int]]:
        parts: dict[str, list[int]] = {}
        for number in some:
            for name in of(self.examples[number]):
                parts.setdefault(name, []).append(number)
        return dict(sorted(parts.items()))

    def _split(
        self, of: Callable[[Example], Iterable[str]], wanted: Callable[[Score], bool]
    ) -> list[Row]:
        rows = []
        for stratum, some in self.strata.items():
            for name, numbers in self._parts(some, of).items():
                for contender in self.contenders:
                    table = self.table(contender.label, numbers)
                    if len(table.studies) < _LEAST:
                        continue
                    for score in filter(wanted, scores_of(table)):
                        told = table.estimate(score.figure)
                        span = (told.value, told.low, told.high)
                        rows.append(_row(contender, stratum, name, score, *span, told.studies))
        return [row for row in rows if not isnan(row.value)]


def study_of(example: Example) -> str:
    """What intervals resample by: the study, else its first film, else the example alone."""
    return example.study or (example.images[0] if example.images else example.id)


def _named(name: str, value: str | None) -> list[str]:
    return [f"{name}: {value}"] if value else []


def _row(
    contender: Contender,
    stratum: str,
    subgroup: str,
    score: Score,
    value: float,
    low: float,
    high: float,
    studies: int,
) -> Row:
    return Row(
        contender.label,
        contender.system,
        str(contender.shown),
        stratum,
        subgroup,
        score.name,
        score.group,
        score.headline,
        score.better,
        value,
        low,
        high,
        studies,
    )


def _weighted(contender: Contender, some: Sequence[tuple[Score, Table, int]]) -> Row:
    weights = np.array([count for *_, count in some], dtype=float)
    weights /= weights.sum()
    value = sum(
        weight * table.value(score.figure)
        for weight, (score, table, _) in zip(weights, some, strict=True)
    )
    drawn = [table.drawn(score.figure) for score, table, _ in some]
    low, high = percentiles(weights @ np.array(drawn))
    studies = sum(len(table.studies) for _, table, _ in some)
    return _row(contender, WEIGHTED, "", some[0][0], float(value), low, high, studies)


def _badness(columns: Columns) -> tuple[str, float]:
    """The figure that tells most of one example, and its value; 1 where nothing is wrong."""
    if columns["failed"]:
        return "failed", -1.0
    if not columns["parsed"]:
        return "not parsed", -0.5
    if "questions" in columns:
        return "answer", columns["normalised"]
    overlap = columns["iou"] / columns["boxes"] if columns.get("boxes") else 1.0
    hits = sum(value for name, value in columns.items() if name.endswith(" tp"))
    wrong = sum(value for name, value in columns.items() if name.endswith((" fp", " fn")))
    found = 2 * hits / (2 * hits + wrong) if hits or wrong else 1.0
    return ("matched IoU", overlap) if overlap <= found else ("CheXpert F1", found)
