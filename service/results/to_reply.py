"""From an ``Interpretation`` to the reply."""

from __future__ import annotations

from collections.abc import Iterator

from service.interpretation import Interpretation, SectionReading
from service.notice import Notice
from service.radiograph import ModelImage, Radiograph
from service.reading import GroundedBox, ReasoningStep, Task
from service.results.disclaimer import DISCLAIMER
from service.results.reply import (
    BoxReply,
    ImageReply,
    ModelReply,
    ReportReply,
    ReportSections,
    SectionName,
    SectionTimingReply,
    StepReply,
    TimingReply,
    UsageReply,
    VqaReply,
    WarningReply,
)

_SECTIONS: dict[Task, SectionName] = {
    Task.FINDINGS: "findings",
    Task.IMPRESSION: "impression",
    Task.VQA: "answer",
}


def section_name(task: Task) -> SectionName:
    """Return the name that a task's section has in replies and events."""
    return _SECTIONS[task]


def to_reply(
    interpretation: Interpretation, *, raw_text: bool = False, timings: bool = False
) -> ReportReply | VqaReply:
    """Return the reply that the JSON, the Markdown and the last event are made of.

    Parameters
    ----------
    interpretation
        A study, read.
    raw_text
        Whether to include the model's text as it came.
    timings
        Whether to include the timing of every section.
    """
    manifest = interpretation.manifest
    usage = interpretation.usage
    shared = {
        "id": interpretation.id,
        "reasoning": tuple(
            step_reply(step, section.task, number)
            for number, section, step in numbered_steps(interpretation)
        ),
        "images": image_replies(interpretation.radiographs, interpretation.model_images),
        "warnings": warning_replies(interpretation.notices),
        "model": ModelReply(
            name=manifest.name,
            revision=manifest.revision,
            stage=manifest.stage,
            manifest_sha256=interpretation.manifest_sha256,
        ),
        "usage": UsageReply(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
        ),
        "timing": _timing(interpretation, timings),
        "disclaimer": DISCLAIMER,
        "raw_text": _raw_text(interpretation) if raw_text else None,
    }
    answer = interpretation.section(Task.VQA)
    if answer is not None:
        return VqaReply.model_validate({**shared, "answer": answer.reading.answer})
    report = ReportSections(
        findings=_answer(interpretation, Task.FINDINGS),
        impression=_answer(interpretation, Task.IMPRESSION),
    )
    return ReportReply.model_validate({**shared, "report": report})


def numbered_steps(
    interpretation: Interpretation,
) -> Iterator[tuple[int, SectionReading, ReasoningStep]]:
    """Yield every reasoning step with the number that all results give it.

    Numbers run on from one section to the next, so that one on a picture names one step.
    """
    number = 0
    for section in interpretation.sections:
        for step in section.reading.steps:
            number += 1
            yield number, section, step


def step_reply(step: ReasoningStep, task: Task, number: int) -> StepReply:
    """Return one reasoning step under the given number."""
    return StepReply(
        step=number,
        section=section_name(task),
        text=step.text,
        boxes=tuple(_box(box) for box in step.boxes),
        flags=step.flags,
    )


def image_replies(
    radiographs: tuple[Radiograph, ...], model_images: tuple[ModelImage, ...]
) -> tuple[ImageReply, ...]:
    """Return what the reply says of the films."""
    return tuple(
        ImageReply(
            index=index,
            width=radiograph.width,
            height=radiograph.height,
            media_type=radiograph.media_type,
            view_position=radiograph.view_position,
            rendering=radiograph.rendering,
            model_width=image.width,
            model_height=image.height,
        )
        for index, (radiograph, image) in enumerate(zip(radiographs, model_images, strict=True))
    )


def warning_replies(notices: tuple[Notice, ...]) -> tuple[WarningReply, ...]:
    """Return notices as warnings."""
    return tuple(WarningReply(code=notice.code, detail=notice.detail) for notice in notices)


def _box(box: GroundedBox) -> BoxReply:
    x_min, y_min, x_max, y_max = (round(value, 6) for value in box.normalized)
    return BoxReply(
        image=box.image,
        x_min=round(box.x_min, 2),
        y_min=round(box.y_min, 2),
        x_max=round(box.x_max, 2),
        y_max=round(box.y_max, 2),
        normalized=(x_min, y_min, x_max, y_max),
        model=box.model,
        flags=box.flags,
    )


def _answer(interpretation: Interpretation, task: Task) -> str | None:
    section = interpretation.section(task)
    return None if section is None else section.reading.answer


def _raw_text(interpretation: Interpretation) -> dict[SectionName, str]:
    return {
        section_name(section.task): section.reading.raw_text for section in interpretation.sections
    }


def _timing(interpretation: Interpretation, per_section: bool) -> TimingReply:
    sections = tuple(
        SectionTimingReply(
            section=section_name(section.task),
            attempts=section.attempts,
            first_token_seconds=_seconds(section.timing.first_token),
            generate_seconds=_seconds(section.timing.generate),
            parse_seconds=_seconds(section.timing.parse),
        )
        for section in interpretation.sections
    )
    return TimingReply(
        total_seconds=_seconds(interpretation.timing.total),
        decode_seconds=_seconds(interpretation.timing.decode),
        sections=sections if per_section else None,
    )


def _seconds(value: float) -> float:
    return round(value, 6)
