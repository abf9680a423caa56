"""What a system is shown in place of the film, and what can be said without any system."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path

from PIL import Image

from service.radiograph import load_radiograph
from training.data.example import Example
from training.systems.prediction import Prediction

MAJORITY = "majority answer"
"""Name of what can be said without any system."""
_BLANK = 128


class Films(StrEnum):
    """What the model is shown: the film itself, or one of two controls."""

    SHOWN = "shown"
    BLANK = "blank"
    """A uniform grey of the film's size: what can be said without looking."""
    SHUFFLED = "shuffled"
    """Another patient's film: what is said whatever is seen."""


class FilmViewer:
    """Bytes of a film, or of what the control shows in its place, by the film's path.

    Parameters
    ----------
    folder
        What the paths are relative to.
    paths
        All films, those of one patient side by side.
    other
        Of each film the one that the shuffled control shows; where not given, half the list on.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[str],
        shown: Films,
        *,
        other: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._shown = shown
        half = len(paths) // 2
        self._other = other or dict(zip(paths, (*paths[half:], *paths[:half]), strict=True))

    def __call__(self, path: str) -> bytes:
        """What is shown for the film at ``path``."""
        if self._shown is Films.SHUFFLED:
            return (self._folder / self._other[path]).read_bytes()
        film = (self._folder / path).read_bytes()
        if self._shown is Films.SHOWN:
            return film
        decoded = load_radiograph(film, allow_other_anatomy=True)
        blank = Image.new("L", (decoded.width, decoded.height), _BLANK)
        written = io.BytesIO()
        blank.save(written, "PNG")
        return written.getvalue()


def films_by_patient(examples: Iterable[Example]) -> dict[str, tuple[str, str]]:
    """Patient and view of every film, those of one patient side by side."""
    films: dict[str, tuple[str, str]] = {}
    for example in sorted(examples, key=lambda example: (example.source, example.subject)):
        for image, role in zip_longest(example.images, example.roles[: len(example.images)]):
            view = "LATERAL" if role == "lateral" else example.view
            films.setdefault(image, (f"{example.source}:{example.subject}", view))
    return films


def exchanged(films: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Of each film another patient's, of the same view where there is one; no chance in it.

    Parameters
    ----------
    films
        Patient and view of each.

    Raises
    ------
    ValueError
        When all are of one patient.
    """
    every = list(films)
    by_view: dict[str, list[str]] = defaultdict(list)
    for path, (_, view) in films.items():
        by_view[view].append(path)

    def another(group: Sequence[str], number: int, path: str) -> str | None:
        begin = number + len(group) // 2
        circle = (group[(begin + n) % len(group)] for n in range(len(group)))
        return next((other for other in circle if films[other][0] != films[path][0]), None)

    found: dict[str, str] = {}
    for group in by_view.values():
        for number, path in enumerate(group):
            if (other := another(group, number, path)) is not None:
                found[path] = other
    for number, path in enumerate(every):
        if path not in found:
            if (other := another(every, number, path)) is None:
                raise ValueError(
                    "The shuffled control needs films of two patients, and here all are of one: "
                    "leave the controls out (--no-controls), or ask about more."
                )
            found[path] = other
    return found


def majority(known: Iterable[Example], asked: Sequence[Example], name: str) -> list[Prediction]:
    """The commonest answer to each question's type, the commonest report; nothing is looked at.

    Parameters
    ----------
    known
        Where the answers are counted: the training split, where there is one.
    asked
        What is to be predicted.
    """
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for example in known:
        kind = example.question_type or ""
        for key in {(str(example.task), kind), (str(example.task), "")}:
            counts[key][example.answer] += 1

    def answer(example: Example) -> str:
        task = str(example.task)
        found = counts.get((task, example.question_type or "")) or counts.get((task, ""))
        return found.most_common(1)[0][0] if found else ""

    return [
        Prediction(
            example.id, name, text=(said := answer(example)), answer=said, complete=bool(said)
        )
        for example in asked
    ]
