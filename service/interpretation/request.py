"""``StudyRequest``: what one study is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from service.engine import Manifest, Sampling
from service.interpretation import problems
from service.notice import Notice
from service.reading import MOST_IMAGES, ClinicalContext, Decoding, Mode, Task

MAX_FILMS = MOST_IMAGES
REPORT = (Task.FINDINGS, Task.IMPRESSION)


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """One to four films of a study, and what is asked about them.

    Attributes
    ----------
    films
        Bytes of each film: DICOM, PNG or JPEG.
    tasks
        Sections of a report, each at most once, or ``(Task.VQA,)``.
    question
        The question, for ``Task.VQA`` and only there.
    mode
        Reason with boxes before the answer, or answer at once.
    decoding
        Free or held to the grammar; ``None`` leaves it to the checkpoint's manifest.
    context
        Clinical context that goes into the prompt.
    temperature
        In [0, 2]; 0 gives the same reading every time. ``None``: the manifest's.
    max_tokens
        Most tokens of one generated text; the manifest's is the default and the most.
    seed
        Seed of the sampling; ``None``: the manifest's, where it has one.
    frame
        Frame to read of multi-frame films, from 1.
    allow_other_anatomy
        Read films whose header says that they are not chest radiographs.
    id
        Names the interpretation in its reply; need not be unique among those running.
    trace_headers
        W3C trace context, handed on to the engine.

    Raises
    ------
    ValueError
        When the fields contradict each other or lie outside their bounds.
    """

    films: tuple[bytes, ...] = field(repr=False)
    tasks: tuple[Task, ...] = REPORT
    question: str | None = field(default=None, repr=False)
    mode: Mode = Mode.THINK
    decoding: Decoding | None = None
    context: ClinicalContext | None = field(default=None, repr=False)
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    frame: int | None = None
    allow_other_anatomy: bool = False
    id: str = field(default_factory=lambda: str(uuid4()))
    trace_headers: Mapping[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.films) <= MAX_FILMS:
            raise ValueError(f"films must number 1 to {MAX_FILMS}")
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError("tasks must name at least one section, each once")
        if Task.VQA in self.tasks and len(self.tasks) > 1:
            raise ValueError("a question is asked alone, without report sections")
        if (self.question is not None) != (Task.VQA in self.tasks):
            raise ValueError("question belongs to the task vqa, and to it alone")
        if self.temperature is not None and not (
            math.isfinite(self.temperature) and 0 <= self.temperature <= 2
        ):
            raise ValueError("temperature must lie in [0, 2]")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError("max_tokens must be at least 1")


def check_request(request: StudyRequest, manifest: Manifest) -> None:
    """Refuse what the checkpoint has not learnt: so many films at once, or reports in this mode.

    Raises
    ------
    Problem
        ``too-many-images`` or ``mode-not-trained``.
    """
    if Task.VQA not in request.tasks and request.mode not in manifest.report_modes:
        raise problems.mode_not_trained(manifest.report_modes)
    if len(request.films) > manifest.max_images:
        raise problems.too_many_images(manifest.max_images)


def sampling_for(request: StudyRequest, manifest: Manifest) -> tuple[Sampling, tuple[Notice, ...]]:
    """Return the manifest's sampling with the request's own values, and what had to give way."""
    defaults = manifest.sampling
    asked = request.max_tokens if request.max_tokens is not None else defaults.max_tokens
    notices: tuple[Notice, ...] = ()
    if asked > defaults.max_tokens:
        notices = (
            Notice(
                "max-tokens-capped",
                f"max_tokens was lowered to {defaults.max_tokens}, the most for this checkpoint.",
            ),
        )
    sampling = Sampling(
        temperature=(
            request.temperature if request.temperature is not None else defaults.temperature
        ),
        top_p=defaults.top_p,
        max_tokens=min(asked, defaults.max_tokens),
        seed=request.seed if request.seed is not None else defaults.seed,
    )
    return sampling, notices
