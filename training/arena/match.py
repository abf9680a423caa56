"""A verdict on two systems' texts for one study."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter

from training.arena.lines import lines_of, sound_json


class Outcome(StrEnum):
    """Who won."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    BOTH_BAD = "both-bad"
    """Rated as a tie, and counted apart."""


@dataclass(frozen=True)
class Match:
    """Two systems on one study, as one judge saw them.

    Attributes
    ----------
    study
        Identifier of the example: verdicts on the same texts share it.
    first, second
        Systems, in the order shown.
    judge
        Who judged.
    contrasts
        How the first text differs from the second in what should not count, such as its length:
        the first's value less the second's.
    reason
        The judge's, in a sentence.
    decided_by
        The rubric's criterion that decided; empty where the judge did not say.
    consistent
        Whether both orders were judged alike; where not, the outcome is a tie.
    favoured
        ``first`` or ``second`` where both orders gave to the same side, whoever stood there.
    subject
        The patient. Intervals resample by it: an :class:`~training.data.example.Example` tells
        which patient it is of and not which study, and all of one patient hangs together. Where
        it is empty they resample by ``study``.
    """

    study: str
    first: str
    second: str
    outcome: Outcome
    judge: str = ""
    contrasts: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    decided_by: str = ""
    consistent: bool = True
    favoured: str = ""
    subject: str = ""

    @property
    def cluster(self) -> str:
        """What intervals resample by."""
        return self.subject or self.study


_READER = TypeAdapter(Match)


def read_matches(path: Path) -> list[Match]:
    """Matches of a JSON-lines file; blank lines are passed over.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When a line is no match.
    """
    matches = []
    for number, line in lines_of(path):
        try:
            matches.append(_READER.validate_json(sound_json(line)))
        except ValueError as error:
            raise ValueError(f"{path}:{number} is no match: {error}") from error
    return matches


def write_matches(path: Path, matches: Iterable[Match]) -> None:
    """Write matches as JSON lines."""
    path.write_text("".join(json.dumps(asdict(match)) + "\n" for match in matches), "utf-8")
