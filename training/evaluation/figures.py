"""Figures over scored films, with 95% intervals resampled by film."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from service.engine import MeasuredResult
from training.evaluation.film_score import FilmScore
from training.evaluation.intervals import bootstrap_interval
from training.evaluation.overlap import average_precision

Figure = Callable[[Sequence[FilmScore]], float]

_COMMAND = "deepmedix train evaluate"


def _kind(label: str) -> str:
    return label.removeprefix("left ").removeprefix("right ")


def _micro_f1(scores: Sequence[FilmScore], kind: str | None = None) -> float:
    hits, either = 0, 0
    for score in scores:
        said, truth = (
            {label for label in labels if kind in (None, _kind(label))}
            for labels in (score.said, score.truth)
        )
        hits += len(said & truth)
        either += len(said) + len(truth)
    return 2 * hits / either if either else float("nan")


def _two_views(scores: Sequence[FilmScore]) -> list[FilmScore]:
    """What was said of films that were read together with their lateral."""
    return [s.with_lateral for s in scores if s.with_lateral is not None]


def _every_study(scores: Sequence[FilmScore]) -> list[FilmScore]:
    """Every film read alone, and again every one that was read together with its lateral."""
    return [*scores, *_two_views(scores)]


def _overlap(scores: Sequence[FilmScore], kind: str | None = None) -> float:
    return _mean(
        [
            value
            for s in scores
            for label, values in s.overlaps
            if kind in (None, _kind(label))
            for value in values
        ]
    )


def _overlap_of_every_finding(scores: Sequence[FilmScore]) -> float:
    """Findings that were missed or made up count with their boxes, as 0.

    Without them a model that names what is easy to place, and no more, seems to place well.
    """
    values: list[float] = []
    for s in scores:
        named = dict(s.overlaps)
        for label, _, given, true in s.detections:
            values += named.get(label, [0.0] * max(given, true))
    return _mean(values)


def _touching_overlap(scores: Sequence[FilmScore]) -> float:
    """Of pairs of a true and a given box that overlap; those without a partner are not in it."""
    return _mean([v for s in scores for _, values in s.overlaps for v in values if v > 0])


def _overlap_by_finding(scores: Sequence[FilmScore]) -> float:
    """Each finding counts once, however many boxes it has."""
    return _mean([_mean(values) for s in scores for _, values in s.overlaps])


def _of_view(scores: Sequence[FilmScore], view: str) -> list[FilmScore]:
    return [score for score in scores if score.view == view]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _answered(scores: Sequence[FilmScore], kind: str | None = None) -> float:
    return _mean([float(ok) for s in scores for name, ok, _ in s.answers if kind in (None, name)])


def _mean_average_precision(scores: Sequence[FilmScore]) -> float:
    counts: dict[str, list[int]] = {}
    for score in scores:
        for label, *found in score.detections:
            total = counts.setdefault(_kind(label), [0, 0, 0])
            for index, value in enumerate(found):
                total[index] += value
    precisions = [average_precision(*found) for found in counts.values()]
    return _mean([value for value in precisions if not np.isnan(value)])


HEADLINES: dict[str, Figure] = {
    "finding micro-F1": _micro_f1,
    "matched IoU": _overlap,
    "IoU of every finding": _overlap_of_every_finding,
    "finding micro-F1, laterals read along": lambda some: _micro_f1(_every_study(some)),
    "matched IoU, laterals read along": lambda some: _overlap(_every_study(some)),
    "IoU of every finding, laterals read along": lambda some: _overlap_of_every_finding(
        _every_study(some)
    ),
    "IoU of boxes that touch a true one": _touching_overlap,
    "the same, each finding counted once": _overlap_by_finding,
    "box mAP at IoU 0.5": _mean_average_precision,
    "heart box IoU": lambda some: _mean([s.heart for s in some if s.heart is not None]),
    "VQA accuracy": _answered,
    "ROUGE-L": lambda some: _mean([s.rouge_l for s in some]),
    "METEOR, exact and stems": lambda some: _mean([s.meteor for s in some]),
    "parseable": lambda some: _mean([float(s.parsed) for s in some]),
    "words": lambda some: _mean([float(s.words) for s in some]),
}
"""Name and statistic of every figure that is not by view, finding or question type.

IoU is that of boxes of correctly named findings, matched one to one by finding; a box that is
missing and one too many count 0. Of every finding: those missed and made up count 0, too. With
laterals read along, every film counts alone and, where its study has a lateral, once more as it was
read together with that.
"""


def figures_of(scores: Sequence[FilmScore]) -> dict[str, Figure]:
    """The headlines, then F1 and box IoU by view and finding, and VQA accuracy by question type."""
    figures = dict(HEADLINES)
    for view in sorted({s.view for s in scores if s.view}):
        figures[f"F1, {view} films"] = lambda some, view=view: _micro_f1(_of_view(some, view))
        figures[f"box IoU, {view} films"] = lambda some, view=view: _overlap(_of_view(some, view))
    if _two_views(scores):
        figures["F1, frontal with its lateral"] = lambda some: _micro_f1(_two_views(some))
        figures["box IoU, frontal with its lateral"] = lambda some: _overlap(_two_views(some))
    for kind in sorted({_kind(label) for s in scores for label in s.truth}):
        figures[f"F1, {kind}"] = lambda some, kind=kind: _micro_f1(some, kind)
        figures[f"box IoU, {kind}"] = lambda some, kind=kind: _overlap(some, kind)
    for kind in sorted({name for s in scores for name, _, _ in s.answers}):
        figures[f"VQA accuracy, {kind}"] = lambda some, kind=kind: _answered(some, kind)
    return figures


def summarise(scores: Sequence[FilmScore]) -> list[MeasuredResult]:
    """Every figure with its 95% interval."""
    return [
        MeasuredResult(
            name=name,
            value=round(figure(scores), 4),
            interval=tuple(round(v, 4) for v in bootstrap_interval(scores, figure)),
            n=len(scores),
            data="CT-derived radiographs, test split; not clinical accuracy",
            command=_COMMAND,
        )
        for name, figure in figures_of(scores).items()
    ]
