"""Figures over scored films, with 95% intervals resampled by film."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from service.engine import MeasuredResult
from training.evaluation.film_score import FilmScore
from training.evaluation.intervals import interval_of_sums
from training.evaluation.overlap import average_precision

Terms = Callable[[FilmScore], tuple[float, ...]]

_COMMAND = "deepmedix train evaluate"


def _ratio(sums: Sequence[float]) -> float:
    return float(sums[0] / sums[1]) if sums[1] else float("nan")


@dataclass(frozen=True)
class Figure:
    """A figure over films that is worked out from sums over them.

    Attributes
    ----------
    terms
        What a film adds to the sums.
    value
        What the sums come to, a share of the second by default; NaN where that is not defined.
    is_of
        Whether a film is among those that it is measured on; all are by default.
    """

    terms: Terms
    value: Callable[[Sequence[float]], float] = _ratio
    is_of: Callable[[FilmScore], bool] = lambda _: True

    def table(self, scores: Sequence[FilmScore]) -> npt.NDArray[np.float64]:
        """A row of terms for each film."""
        return np.array([self.terms(score) for score in scores], float)

    def __call__(self, scores: Sequence[FilmScore]) -> float:
        """The figure over all films; NaN over none."""
        return self.value(self.table(scores).sum(0)) if scores else float("nan")

    def interval(self, scores: Sequence[FilmScore]) -> tuple[float, float]:
        """Its 95% interval."""
        return interval_of_sums(self.table(scores), self.value)

    def films(self, scores: Sequence[FilmScore]) -> int:
        """How many films it is measured on."""
        return sum(self.is_of(score) for score in scores)


def difference(
    figure: Figure, scores: Sequence[FilmScore], others: Sequence[FilmScore]
) -> tuple[float, tuple[float, float]]:
    """What a figure is more over some scores than over others of the same films, and its interval.

    Resampled in pairs: what is hard in a film is hard for both.
    """
    own, other = figure.table(scores), figure.table(others)
    width = own.shape[1]

    def more(sums: Sequence[float]) -> float:
        return figure.value(sums[:width]) - figure.value(sums[width:])

    pairs = np.hstack([own, other])
    return more(pairs.sum(0)), interval_of_sums(pairs, more)


def _kind(label: str) -> str:
    return label.removeprefix("left ").removeprefix("right ")


def _micro_f1(kind: str | None = None) -> Figure:
    def terms(score: FilmScore) -> tuple[float, float]:
        said, truth = (
            {label for label in labels if kind in (None, _kind(label))}
            for labels in (score.said, score.truth)
        )
        return 2 * len(said & truth), len(said) + len(truth)

    return Figure(terms)


def _mean_of(values: Callable[[FilmScore], Iterable[float]]) -> Figure:
    """The mean of all values that the films have, over the films that have any."""

    def terms(score: FilmScore) -> tuple[float, float]:
        found = [*values(score)]
        return sum(found), len(found)

    return Figure(terms, is_of=lambda score: bool([*values(score)]))


def _overlap(kind: str | None = None) -> Figure:
    return _mean_of(
        lambda score: [
            value
            for label, values in score.overlaps
            if kind in (None, _kind(label))
            for value in values
        ]
    )


def _overlaps_of_every_finding(score: FilmScore) -> list[float]:
    """Findings that were missed or made up count with their boxes, as 0.

    Without them a model that names what is easy to place, and no more, seems to place well.
    """
    values: list[float] = []
    named = dict(score.overlaps)
    for label, _, given, true in score.detections:
        values += named.get(label, [0.0] * max(given, true))
    return values


_OVERLAP_OF_EVERY_FINDING = _mean_of(_overlaps_of_every_finding)
_TOUCHING_OVERLAP = _mean_of(lambda s: [v for _, values in s.overlaps for v in values if v > 0])
"""Of pairs of a true and a given box that overlap; those without a partner are not in it."""
_OVERLAP_BY_FINDING = _mean_of(lambda s: [float(np.mean(v)) for _, v in s.overlaps if v])
"""Each finding counts once, however many boxes it has."""


def _answered(kind: str | None = None) -> Figure:
    return _mean_of(lambda s: [float(ok) for name, ok, _ in s.answers if kind in (None, name)])


def _mean_average_precision(kinds: Sequence[str]) -> Figure:
    def terms(score: FilmScore) -> tuple[float, ...]:
        counts = dict.fromkeys(kinds, (0, 0, 0))
        for label, *found in score.detections:
            before = counts[_kind(label)]
            counts[_kind(label)] = tuple(a + b for a, b in zip(before, found, strict=True))
        return tuple(float(value) for found in counts.values() for value in found)

    def value(sums: Sequence[float]) -> float:
        found = [average_precision(*map(int, sums[n : n + 3])) for n in range(0, len(sums), 3)]
        known = [value for value in found if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")

    return Figure(terms, value)


def _of_view(figure: Figure, view: str) -> Figure:
    """A figure over the films of a view."""

    def terms(score: FilmScore) -> tuple[float, ...]:
        own = figure.terms(score)
        return own if score.view == view else (0.0,) * len(own)

    return replace(
        figure, terms=terms, is_of=lambda score: score.view == view and figure.is_of(score)
    )


def _with_lateral(figure: Figure) -> Figure:
    """A figure of what was said of films that were read together with their lateral."""

    def terms(score: FilmScore) -> tuple[float, ...]:
        if score.with_lateral is None:
            return (0.0,) * len(figure.terms(score))
        return figure.terms(score.with_lateral)

    def is_of(score: FilmScore) -> bool:
        return score.with_lateral is not None and figure.is_of(score.with_lateral)

    return replace(figure, terms=terms, is_of=is_of)


def _read_along(figure: Figure) -> Figure:
    """A figure over every film read alone, and again every one read together with its lateral."""
    with_lateral = _with_lateral(figure)

    def terms(score: FilmScore) -> tuple[float, ...]:
        return tuple(
            a + b for a, b in zip(figure.terms(score), with_lateral.terms(score), strict=True)
        )

    return replace(
        figure, terms=terms, is_of=lambda score: figure.is_of(score) or with_lateral.is_of(score)
    )


def _headlines(kinds: Sequence[str]) -> dict[str, Figure]:
    return {
        "finding micro-F1": _micro_f1(),
        "matched IoU": _overlap(),
        "IoU of every finding": _OVERLAP_OF_EVERY_FINDING,
        "finding micro-F1, laterals read along": _read_along(_micro_f1()),
        "matched IoU, laterals read along": _read_along(_overlap()),
        "IoU of every finding, laterals read along": _read_along(_OVERLAP_OF_EVERY_FINDING),
        "IoU of boxes that touch a true one": _TOUCHING_OVERLAP,
        "the same, each finding counted once": _OVERLAP_BY_FINDING,
        "box mAP at IoU 0.5": _mean_average_precision(kinds),
        "heart box IoU": _mean_of(lambda s: [] if s.heart is None else [s.heart]),
        "VQA accuracy": _answered(),
        "ROUGE-L": _mean_of(lambda s: [s.rouge_l]),
        "METEOR, exact and stems": _mean_of(lambda s: [s.meteor]),
        "parseable": _mean_of(lambda s: [float(s.parsed)]),
        "words": _mean_of(lambda s: [float(s.words)]),
    }


HEADLINES = tuple(_headlines(()))
"""Names of the figures that are not by view, finding or question type.

IoU is that of boxes of correctly named findings, matched one to one by finding; a box that is
missing and one too many count 0. Of every finding: those missed and made up count 0, too. With
laterals read along, every film counts alone and, where its study has a lateral, once more as it was
read together with that.
"""


def figures_of(*scored: Sequence[FilmScore]) -> dict[str, Figure]:
    """The headlines, then F1 and box IoU by view and finding, and VQA accuracy by question type.

    Parameters
    ----------
    scored
        All scores that the figures will be asked of.
    """
    scores = [score for some in scored for score in some]
    boxed = sorted({_kind(label) for s in scores for label, *_ in s.detections})
    figures = _headlines(boxed)
    for view in sorted({s.view for s in scores if s.view}):
        figures[f"F1, {view} films"] = _of_view(_micro_f1(), view)
        figures[f"box IoU, {view} films"] = _of_view(_overlap(), view)
    if any(s.with_lateral is not None for s in scores):
        figures["F1, frontal with its lateral"] = _with_lateral(_micro_f1())
        figures["box IoU, frontal with its lateral"] = _with_lateral(_overlap())
    for kind in sorted({_kind(label) for s in scores for label in s.truth}):
        figures[f"F1, {kind}"] = _micro_f1(kind)
        figures[f"box IoU, {kind}"] = _overlap(kind)
    for kind in sorted({name for s in scores for name, _, _ in s.answers}):
        figures[f"VQA accuracy, {kind}"] = _answered(kind)
    return figures


def summarise(scores: Sequence[FilmScore]) -> list[MeasuredResult]:
    """Every figure with its 95% interval and the number of films that it is measured on.

    Left out are those that these films do not define: an F1 where there is nothing to find, say.
    """
    return [
        _result(name, figure, scores)
        for name, figure in figures_of(scores).items()
        if not np.isnan(figure(scores))
    ]


def _result(name: str, figure: Figure, scores: Sequence[FilmScore]) -> MeasuredResult:
    value = round(figure(scores), 4)
    low, high = (round(bound, 4) for bound in figure.interval(scores))
    return MeasuredResult(
        name=name,
        value=value,
        # A few films drawn again can all lie on one side of a figure that is no mean.
        interval=(min(low, value), max(high, value)),
        n=figure.films(scores),
        data="CT-derived radiographs, test split; not clinical accuracy",
        command=f"{_COMMAND} --films {len(scores)}",
    )
