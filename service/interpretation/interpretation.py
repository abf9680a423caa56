"""``Interpretation``: all that is known of a study once it has been read."""

from __future__ import annotations

from dataclasses import dataclass

from service.engine import Manifest, Usage
from service.notice import Notice
from service.radiograph import ModelImage, Radiograph
from service.reading import Decoding, Mode, Reading, Task


@dataclass(frozen=True, slots=True)
class SectionTiming:
    """Seconds that one section took; a retry's are added to those of the first attempt.

    Attributes
    ----------
    first_token
        From handing the request to the engine to its first text: queue, image encoding, prompt.
    generate
        From the first text to the last.
    parse
        Reading the text and mapping its boxes.
    """

    first_token: float = 0.0
    generate: float = 0.0
    parse: float = 0.0

    def __add__(self, other: SectionTiming) -> SectionTiming:
        return SectionTiming(
            self.first_token + other.first_token,
            self.generate + other.generate,
            self.parse + other.parse,
        )


@dataclass(frozen=True, slots=True)
class StudyTiming:
    """Seconds that the whole took.

    Attributes
    ----------
    decode
        Opening, rendering and resizing the films, waiting for a worker included.
    total
        From the request to the finished interpretation; sections run side by side.
    """

    decode: float
    total: float


@dataclass(frozen=True, slots=True, eq=False)
class SectionReading:
    """One section of a report, or the answer to the question.

    Attributes
    ----------
    task
        What was asked.
    reading
        What the model said, parsed, with boxes in the films' stored pixels.
    notices
        The reading's own, and what the walk adds: a retry, a cut-off.
    decoding
        How the text that is returned was decoded.
    attempts
        1, or 2 where it was asked again.
    usage
        Tokens of all attempts.
    timing
        Seconds of all attempts.
    """

    task: Task
    reading: Reading
    notices: tuple[Notice, ...]
    decoding: Decoding
    attempts: int
    usage: Usage
    timing: SectionTiming


@dataclass(frozen=True, slots=True, eq=False)
class Interpretation:
    """A study, read.

    Attributes
    ----------
    id
        As the request names it.
    mode
        Whether it was asked to reason first.
    manifest, manifest_sha256
        The checkpoint that read it.
    radiographs, model_images
        The films in the order given, as decoded and as the model saw them.
    sections
        In the order asked.
    notices
        What the caller must know, of the films, the request and the sections, each once.
    timing
        Seconds of the whole.
    """

    id: str
    mode: Mode
    manifest: Manifest
    manifest_sha256: str
    radiographs: tuple[Radiograph, ...]
    model_images: tuple[ModelImage, ...]
    sections: tuple[SectionReading, ...]
    notices: tuple[Notice, ...]
    timing: StudyTiming

    @property
    def usage(self) -> Usage:
        """Tokens of all sections and attempts."""
        return Usage(
            sum(section.usage.prompt_tokens for section in self.sections),
            sum(section.usage.completion_tokens for section in self.sections),
        )

    def section(self, task: Task) -> SectionReading | None:
        """Return the section that answers a task, where it was asked."""
        return next((section for section in self.sections if section.task is task), None)
