"""What a stream of a study tells, event by event."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.interpretation import (
    AnswerRead,
    FilmsRead,
    RetryStarted,
    SectionRead,
    StepRead,
    StudyEvent,
)
from service.results.reply import (
    BoxReply,
    ImageReply,
    ReplyPart,
    ReportReply,
    SectionName,
    VqaReply,
    WarningReply,
    example_of,
)
from service.results.to_reply import (
    image_replies,
    section_name,
    step_reply,
    to_reply,
    warning_replies,
)


class ImagesEvent(ReplyPart):
    """`images`: the films are open and the model is being asked."""

    images: tuple[ImageReply, ...] = Field(
        description="The films, in the order given.", examples=[[example_of(ImageReply)]]
    )


class StepEvent(ReplyPart):
    """`step`: a reasoning step is complete."""

    section: SectionName = Field(
        description="What the step was written for.", examples=["findings"]
    )
    position: int = Field(
        ge=1,
        description="Place of the step within its section, from 1. The `reply` event gives every "
        "step its number.",
        examples=[1],
    )
    text: str = Field(
        description="The step's text, without its boxes.", examples=["The heart is enlarged."]
    )
    boxes: tuple[BoxReply, ...] = Field(
        description="Regions that the step points at.", examples=[[example_of(BoxReply)]]
    )
    flags: tuple[str, ...] = Field(
        description="Codes of warnings about boxes of the step that are not among these.",
        examples=[["box-outside-film"]],
    )


class AnswerEvent(ReplyPart):
    """`answer`: the next piece of a section's text, or of the answer."""

    section: SectionName = Field(description="What it belongs to.", examples=["findings"])
    text: str = Field(description="Text to append.", examples=[" is enlarged."])


class RetryEvent(ReplyPart):
    """`retry`: a section is asked for again; discard its steps and answer so far."""

    section: SectionName = Field(description="The section.", examples=["findings"])
    reason: Literal["length", "incomplete"] = Field(
        description="`length`: the length limit was reached. `incomplete`: the text had no end "
        "of its reasoning, or no answer.",
        examples=["length"],
    )


class SectionEvent(ReplyPart):
    """`section`: a section is finished; this is what counts of it."""

    section: SectionName = Field(description="The section.", examples=["findings"])
    answer: str = Field(
        description="Its whole text.", examples=["The heart is enlarged. No pleural effusion."]
    )
    steps: tuple[StepEvent, ...] = Field(
        description="All its reasoning steps.", examples=[[example_of(StepEvent)]]
    )
    warnings: tuple[WarningReply, ...] = Field(
        description="What the reader must know of it.", examples=[[example_of(WarningReply)]]
    )


EventReply = (
    ImagesEvent | StepEvent | AnswerEvent | RetryEvent | SectionEvent | ReportReply | VqaReply
)

EVENT_NAMES: dict[str, str] = {
    "images": "the films are open and the model is being asked",
    "step": "a reasoning step is complete",
    "answer": "the next piece of a section's text, or of the answer",
    "retry": "a section is asked for again; discard its steps and answer so far",
    "section": "a section is finished; this is what counts of it",
    "reply": "the whole reply, as in JSON; the last event",
}
"""Names of the events, in the order in which they first come, and what they say."""


def to_event(
    event: StudyEvent, *, raw_text: bool = False, timings: bool = False
) -> tuple[str, EventReply]:
    """Return an event's name and its data.

    Parameters
    ----------
    event
        What happened.
    raw_text, timings
        What the last event, the whole reply, is to include.
    """
    if isinstance(event, FilmsRead):
        return "images", ImagesEvent(images=image_replies(event.radiographs, event.model_images))
    if isinstance(event, StepRead):
        return "step", _step(event)
    if isinstance(event, AnswerRead):
        return "answer", AnswerEvent(section=section_name(event.task), text=event.text)
    if isinstance(event, RetryStarted):
        return "retry", RetryEvent(section=section_name(event.task), reason=event.shortfall.value)
    if isinstance(event, SectionRead):
        section = event.section
        return "section", SectionEvent(
            section=section_name(section.task),
            answer=section.reading.answer,
            steps=tuple(_step(StepRead(section.task, step)) for step in section.reading.steps),
            warnings=warning_replies(section.notices),
        )
    return "reply", to_reply(event.interpretation, raw_text=raw_text, timings=timings)


def _step(event: StepRead) -> StepEvent:
    reply = step_reply(event.step, event.task, event.step.index)
    return StepEvent(
        section=reply.section,
        position=reply.step,
        text=reply.text,
        boxes=reply.boxes,
        flags=reply.flags,
    )
