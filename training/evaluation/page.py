"""Results as one HTML file that needs nothing else, and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite, nan
from pathlib import Path
from typing import Any

from training.data.example import Example, ReasoningTarget
from training.data.page import DrawnFilm, draw_films, page_environment
from training.evaluation.controls import Films
from training.evaluation.plots import bars, colour, radar
from training.evaluation.results import Case, Results
from training.evaluation.tables import grids_of, published_grids
from training.systems.prediction import Prediction


@dataclass(frozen=True)
class ShownCase:
    """A case as the page shows it: solid boxes are the truth, dashed ones the system's."""

    case: Case
    example: Example
    prediction: Prediction
    films: list[DrawnFilm]


def write_page(
    path: Path, results: Results, films: Path | None, *, about: Mapping[str, Any], worst: int = 6
) -> None:
    """Write the page.

    Parameters
    ----------
    films
        Folder that the examples' images are relative to; None draws no films.
    about
        What was run: data, split, systems.
    worst
        Cases shown of each system.
    """
    environment = page_environment(Path(__file__).parent)
    environment.globals["colour"] = colour
    page = environment.get_template("report.html").render(
        about=about,
        made=datetime.now(UTC).strftime("%Y-%m-%d"),
        contenders=[contender.label for contender in results.contenders],
        grids=grids_of(results),
        published=published_grids(),
        radars=_radars(results),
        bars=_bars(results),
        cases=_cases(results, films, worst),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _radars(results: Results) -> list[tuple[str, str]]:
    drawn = []
    for stratum in results.strata:
        rows = [r for r in results.rows if r.stratum == stratum and r.headline and r.better]
        axes = list(dict.fromkeys(row.score for row in rows))
        values = {
            contender.label: [
                next(
                    (r.value for r in rows if (r.contender, r.score) == (contender.label, axis)),
                    nan,
                )
                for axis in axes
            ]
            for contender in results.contenders
        }
        if figure := radar(axes, values):
            drawn.append((stratum, figure))
    return drawn


def _bars(results: Results) -> list[tuple[str, str, str]]:
    drawn = []
    for stratum in results.strata:
        rows = [row for row in results.rows if row.stratum == stratum and row.headline]
        for score in dict.fromkeys(row.score for row in rows):
            figures = [(r.contender, r.value, r.low, r.high) for r in rows if r.score == score]
            drawn.append((stratum, score, bars(f"{score}, {stratum}", figures)))
    return drawn


def _cases(results: Results, films: Path | None, worst: int) -> list[ShownCase]:
    shown = []
    for contender in results.contenders:
        if contender.shown is not Films.SHOWN:
            continue
        for case in results.worst(contender.label, worst):
            example = results.examples[case.number]
            prediction = contender.predictions[case.number]
            drawn = draw_films(as_said(example, prediction), films) if films else []
            shown.append(ShownCase(case, example, prediction, drawn))
    return shown


def as_said(example: Example, prediction: Prediction) -> Example:
    """The example with the system's steps in place of its own, structures left out.

    A box on a film that there is not cannot be drawn.
    """
    steps: Sequence[ReasoningTarget] = [
        ReasoningTarget(
            step.text,
            tuple(
                (image, (round(x0), round(y0), round(x1), round(y1)))
                for image, (x0, y0, x1, y1) in step.boxes
                if 0 <= image < len(example.images) and all(map(isfinite, (x0, y0, x1, y1)))
            ),
        )
        for step in prediction.steps
    ]
    return replace(example, steps=tuple(steps), structures=())
