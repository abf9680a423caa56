"""Cases of a blinded review: drawn from an evaluation, sides in random order, a key kept apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from training.arena.lines import lines_of, sound, sound_json
from training.arena.match import Match, Outcome
from training.evaluation.controls import Films
from training.evaluation.results import Results
from training.systems.prediction import Prediction

CASES, KEY, ANSWERS, PAGE = "cases.jsonl", "key.jsonl", "answers", "review.html"
RATED = ("relevance", "correctness", "completeness")
"""Of each text, 0 (no), 0.5 (partly) or 1 (yes), as in the paper's protocol."""
PREFERRED = ("grounded preference", "overall preference")
"""Which text a reader would rather have: for its steps with their boxes, and on the whole."""


@dataclass(frozen=True)
class Case:
    """A pair of texts as a reader sees it.

    Attributes
    ----------
    id
        Tells nothing of example or systems.
    example
        Number of the example in the evaluation.
    left, right
        The two predictions; what names the system is taken out.
    training
        A case to learn the form on: its answers do not count.
    """

    id: str
    example: int
    left: Prediction
    right: Prediction
    training: bool = False


@dataclass(frozen=True)
class Sides:
    """The key: which example a case is of, and which system stands on which side.

    Attributes
    ----------
    subject
        The patient: intervals resample by it, or by case where it is empty.
    """

    id: str
    example: str
    left: str
    right: str
    subject: str = ""

    @property
    def cluster(self) -> str:
        """What intervals resample by."""
        return self.subject or self.id


def sample(
    results: Results,
    systems: tuple[str, str],
    count: int,
    *,
    training: int = 2,
    seed: int = 0,
) -> tuple[list[Case], list[Sides]]:
    """Draw cases, as many of each data set and task as can be, and the side of each system.

    Raises
    ------
    ValueError
        When the evaluation has no such system, or too few examples.
    """
    by_name = {c.system: c for c in results.contenders if c.shown is Films.SHOWN}
    unknown = [name for name in systems if name not in by_name]
    if unknown or systems[0] == systems[1]:
        there = ", ".join(by_name)
        raise ValueError(f"--systems names two of: {there}.")
    if count + training > len(results.examples):
        raise ValueError(
            f"{count} cases and {training} to train on are more than the "
            f"{len(results.examples)} examples there are."
        )
    rng = np.random.default_rng([seed, 41])
    piles = [list(rng.permutation(numbers)) for numbers in results.strata.values()]
    drawn: list[int] = []
    while len(drawn) < count + training:
        for pile in piles:
            if pile and len(drawn) < count + training:
                drawn.append(int(pile.pop()))
    order = rng.permutation(len(drawn))
    cases, key = [], []
    for place, n in enumerate(order):
        number = drawn[int(n)]
        sides = systems if rng.random() < 0.5 else systems[::-1]
        left, right = (_blinded(by_name[name].predictions[number]) for name in sides)
        name = f"case-{place + 1:03d}"
        cases.append(Case(name, number, left, right, place < training))
        example = results.examples[number]
        key.append(Sides(name, example.id, *sides, subject=example.subject))
    return cases, key


def _blinded(said: Prediction) -> Prediction:
    return Prediction(
        "",
        "",
        answer=sound(said.answer),
        steps=tuple(replace(step, text=sound(step.text)) for step in said.steps),
        complete=said.complete,
        failure=said.failure,
    )


@dataclass(frozen=True)
class ReaderAnswer:
    """What a reader said of one case.

    Attributes
    ----------
    left, right
        Of each text :data:`RATED`, 0 to 1.
    preferred
        For each of :data:`PREFERRED`, ``left``, ``right`` or ``neither``.
    seconds
        Spent on the case.
    saved
        When it was downloaded, in seconds since 1970; 0 where not told.
    place
        Of the case in the order in which this reader met the cases, from 1; 0 where not told.
    """

    reader: str
    case: str
    left: dict[str, float]
    right: dict[str, float]
    preferred: dict[str, str]
    seconds: float = 0.0
    comment: str = ""
    place: int = 0
    saved: float = 0.0


_ANSWER = TypeAdapter(ReaderAnswer)
_SIDES = TypeAdapter(Sides)


def read_answers(paths: Iterable[Path]) -> list[ReaderAnswer]:
    """Readers' answers from JSON-lines files; of a reader's on a case the last saved counts.

    Of those saved at the same time, or not told when, the last in the files.

    Raises
    ------
    ValueError
        When a line is no answer.
    """
    found: dict[tuple[str, str], ReaderAnswer] = {}
    for path in paths:
        for number, line in lines_of(path):
            try:
                answer = _ANSWER.validate_json(sound_json(line))
            except ValueError as error:
                raise ValueError(f"{path}:{number} is no reader's answer: {error}") from error
            for rating in (*answer.left.items(), *answer.right.items()):
                if rating[0] not in RATED or not 0 <= rating[1] <= 1:
                    raise ValueError(f"{path}:{number}: {rating[0]} is no rating from 0 to 1.")
            for name, side in answer.preferred.items():
                if name not in PREFERRED or side not in ("left", "right", "neither"):
                    raise ValueError(f"{path}:{number}: {name} prefers left, right or neither.")
            before = found.get((answer.reader, answer.case))
            if before is None or answer.saved >= before.saved:
                found[answer.reader, answer.case] = answer
    return list(found.values())


def matches_of(answers: Iterable[ReaderAnswer], key: Mapping[str, Sides]) -> list[Match]:
    """Overall preferences as matches of the arena, each reader a judge."""
    outcomes = {"left": Outcome.FIRST, "right": Outcome.SECOND, "neither": Outcome.TIE}
    return [
        Match(
            key[answer.case].example,
            key[answer.case].left,
            key[answer.case].right,
            outcomes[answer.preferred[PREFERRED[-1]]],
            f"reader {answer.reader}",
            subject=key[answer.case].subject,
        )
        for answer in answers
        if PREFERRED[-1] in answer.preferred
    ]


def write_lines(path: Path, items: Sequence[object]) -> None:
    """Dataclasses as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in items)  # type: ignore[call-overload]
    path.write_text("".join(lines), "utf-8")


def read_key(path: Path) -> dict[str, Sides]:
    """The key by case.

    Raises
    ------
    OSError, ValueError
        When it cannot be read.
    """
    sides = [_SIDES.validate_json(sound_json(line)) for _, line in lines_of(path)]
    return {item.id: item for item in sides}
