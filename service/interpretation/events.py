"""What happens on the walk of a study, in the order in which it is known.

One ``FilmsRead`` comes first and one ``StudyRead`` last. Between them every section has its own
run of ``StepRead`` and ``AnswerRead``, closed by one ``SectionRead``; the runs of several sections
interleave. ``RetryStarted`` voids what its section has said so far. ``SectionRead`` holds what
counts, whichever attempt it came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.interpretation.interpretation import Interpretation, SectionReading
from service.radiograph import ModelImage, Radiograph
from service.reading import ReasoningStep, Task


@dataclass(frozen=True, slots=True, eq=False)
class FilmsRead:
    """The films are decoded and on the model's grid."""

    radiographs: tuple[Radiograph, ...]
    model_images: tuple[ModelImage, ...]


@dataclass(frozen=True, slots=True)
class StepRead:
    """A reasoning step is complete; its index counts within its section, from 1."""

    task: Task
    step: ReasoningStep


@dataclass(frozen=True, slots=True)
class AnswerRead:
    """The next piece of a section's answer."""

    task: Task
    text: str


class Shortfall(StrEnum):
    """Why a freely decoded text is asked for again."""

    LENGTH = "length"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class RetryStarted:
    """The section is asked again, held to the grammar; forget its steps and answer so far."""

    task: Task
    shortfall: Shortfall


@dataclass(frozen=True, slots=True, eq=False)
class SectionRead:
    """A section is finished."""

    section: SectionReading


@dataclass(frozen=True, slots=True, eq=False)
class StudyRead:
    """Everything is finished."""

    interpretation: Interpretation


SectionEvent = StepRead | AnswerRead | RetryStarted | SectionRead
StudyEvent = FilmsRead | SectionEvent | StudyRead
