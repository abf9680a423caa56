"""The form that readers fill in: one HTML file that needs nothing else, and no network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.arena.lines import sound
from training.data.example import Example
from training.data.page import DrawnFilm, draw_films, page_environment
from training.evaluation.page import as_said
from training.review.cases import PREFERRED, RATED, Case
from training.systems.prediction import Prediction

TOLD = ("indication", "technique", "comparison", "prior_report")
"""What a case tells beside its films, where the source has it."""


@dataclass(frozen=True)
class ShownText:
    """One side of a case: the text, and the films with its boxes."""

    side: str
    said: Prediction
    films: list[DrawnFilm]


@dataclass(frozen=True)
class ShownCase:
    """A case as the form shows it; the reference is not shown."""

    case: Case
    example: Example
    texts: tuple[ShownText, ShownText]


def write_form(path: Path, cases: Sequence[Case], examples: Sequence[Example], films: Path) -> None:
    """Write the form.

    Parameters
    ----------
    examples
        Of the evaluation; cases name them by number.
    films
        Folder that their images are relative to.
    """
    shown = []
    for case in cases:
        example = examples[case.example]
        # No marks but the system's own: the reader is the one to judge where things are.
        bare = replace(example, regions=(), regions_by_image=(), structures=())
        left, right = (
            ShownText(side, said, draw_films(as_said(bare, said), films))
            for side, said in (("left", case.left), ("right", case.right))
        )
        shown.append(ShownCase(case, example, (left, right)))
    name = hashlib.sha256(repr(cases).encode()).hexdigest()[:12]
    template = page_environment(Path(__file__).parent).get_template("form.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    page = template.render(cases=shown, rated=RATED, preferred=PREFERRED, told=TOLD, name=name)
    path.write_text(sound(page), "utf-8")
