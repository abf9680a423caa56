"""The reply as JSON: every field described, with an example."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SectionName = Literal["findings", "impression", "answer"]

_BOX = [612.0, 901.5, 1402.0, 1575.0]
_NORMALIZED = [0.3324, 0.4611, 0.7615, 0.8056]
_MODEL = [75.0, 103.0, 171.0, 180.0]


class ReplyPart(BaseModel):
    """A part of a reply: frozen, with no field but those declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def example_of(part: type[BaseModel]) -> dict[str, Any]:
    """Return an example of a whole part, made of those of its fields."""
    return {name: (field.examples or [None])[0] for name, field in part.model_fields.items()}


class BoxReply(ReplyPart):
    """A region of one film."""

    image: int = Field(ge=0, description="Index of the image, from 0, in `images`.", examples=[0])
    x_min: float = Field(
        description="Left edge, in columns of the film's stored pixels; pixel *i* spans *i* to "
        "*i* + 1.",
        examples=[_BOX[0]],
    )
    y_min: float = Field(
        description="Upper edge, in rows of the film's stored pixels.", examples=[_BOX[1]]
    )
    x_max: float = Field(
        description="Right edge, in columns of the film's stored pixels.", examples=[_BOX[2]]
    )
    y_max: float = Field(
        description="Lower edge, in rows of the film's stored pixels.", examples=[_BOX[3]]
    )
    normalized: tuple[float, float, float, float] = Field(
        description="The same box as fractions of the stored width and height, 0 to 1: "
        "[x_min, y_min, x_max, y_max].",
        examples=[_NORMALIZED],
    )
    model: tuple[float, float, float, float] = Field(
        description="The numbers that the model wrote, in its own space.", examples=[_MODEL]
    )
    flags: tuple[str, ...] = Field(
        description="Codes of the warnings that are about this box: what was mended or assumed.",
        examples=[[]],
    )


class StepReply(ReplyPart):
    """One step of the reasoning."""

    step: int = Field(
        ge=1, description="Number of the step, from 1, unique in the reply.", examples=[1]
    )
    section: SectionName = Field(
        description="What the step was written for.", examples=["findings"]
    )
    text: str = Field(
        description="The step's text, without its boxes.",
        examples=["The heart is enlarged."],
    )
    boxes: tuple[BoxReply, ...] = Field(
        description="Regions that the step points at; none where it names none.",
        examples=[[example_of(BoxReply)]],
    )
    flags: tuple[str, ...] = Field(
        description="Codes of warnings about boxes of the step that are not among these.",
        examples=[["box-outside-film"]],
    )


class ReportSections(ReplyPart):
    """The sections of the report."""

    findings: str | None = Field(
        description="The findings; null where they were not asked for.",
        examples=["The heart is enlarged. The lungs are clear. No pleural effusion."],
    )
    impression: str | None = Field(
        description="The impression; null where it was not asked for.",
        examples=["Cardiomegaly."],
    )


class ImageReply(ReplyPart):
    """One film, and what the model saw of it."""

    index: int = Field(ge=0, description="Index of the image, from 0.", examples=[0])
    width: int = Field(description="Columns of the stored image.", examples=[1841])
    height: int = Field(description="Rows of the stored image.", examples=[1955])
    media_type: str = Field(
        description="What the bytes were found to be.", examples=["application/dicom"]
    )
    view_position: str | None = Field(
        description="View position, where the header names one.", examples=["PA"]
    )
    rendering: str = Field(
        description="Name and version of the rule that turned stored values into grey levels.",
        examples=["dicom-voi/1"],
    )
    model_width: int = Field(
        description="Width of the image that the model saw, in pixels.", examples=[224]
    )
    model_height: int = Field(
        description="Height of the image that the model saw, in pixels.", examples=[224]
    )


class WarningReply(ReplyPart):
    """Something that the reader must know."""

    code: str = Field(
        description="Stable identifier, listed in docs/errors.md.", examples=["lateral-view"]
    )
    detail: str = Field(
        description="One sentence; never holds text of the request or the film.",
        examples=["The film is a lateral view; results are less reliable."],
    )


class ModelReply(ReplyPart):
    """A checkpoint, by name and by digest."""

    name: str = Field(description="Name of the checkpoint.", examples=["deepmedix-embedded"])
    revision: str = Field(description="Revision of the checkpoint.", examples=["1"])
    stage: str = Field(description="Last stage of its training.", examples=["cold_start"])
    manifest_sha256: str = Field(
        description="SHA-256 of its manifest.",
        examples=["5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"],
    )


class UsageReply(ReplyPart):
    """Tokens of the whole request, repeats included."""

    prompt_tokens: int = Field(
        description="Tokens read: text and images, once per section.", examples=[412]
    )
    completion_tokens: int = Field(description="Tokens written.", examples=[186])
    total_tokens: int = Field(description="Both together.", examples=[598])


class SectionTimingReply(ReplyPart):
    """Where the time of one section went."""

    section: SectionName = Field(description="The section.", examples=["findings"])
    attempts: int = Field(description="How often it was asked for; 2 after a retry.", examples=[1])
    first_token_seconds: float = Field(
        description="Queue, image encoding and prompt, to the first text.", examples=[0.213]
    )
    generate_seconds: float = Field(
        description="From the first text to the last.", examples=[1.874]
    )
    parse_seconds: float = Field(
        description="Reading the text and mapping its boxes.", examples=[0.002]
    )


class TimingReply(ReplyPart):
    """Where the time went."""

    total_seconds: float = Field(description="The whole.", examples=[2.301])
    decode_seconds: float = Field(
        description="Opening, rendering and resizing the films.", examples=[0.208]
    )
    sections: tuple[SectionTimingReply, ...] | None = Field(
        None,
        description="Per section; sections run side by side. Null unless `include` asks for "
        "`timings`.",
        examples=[None],
    )


class _Identified(ReplyPart):
    id: str = Field(
        description="Identifier of this reply.",
        examples=["0b9e7c1e-5c1a-4f7e-9f5e-4a7d5b0c9b1e"],
    )


class _Reported(_Identified):
    report: ReportSections = Field(description="The report.", examples=[example_of(ReportSections)])


class _Answered(_Identified):
    answer: str = Field(description="The answer to the question.", examples=["Yes"])


class StudyReply(_Identified):
    """What the replies of all endpoints share."""

    reasoning: tuple[StepReply, ...] = Field(
        description="The reasoning, step by step, section after section; empty in mode `answer`.",
        examples=[[example_of(StepReply)]],
    )
    images: tuple[ImageReply, ...] = Field(
        description="The films, in the order given.", examples=[[example_of(ImageReply)]]
    )
    warnings: tuple[WarningReply, ...] = Field(
        description="What the reader must know of the films and of the text; empty if nothing.",
        examples=[[example_of(WarningReply)]],
    )
    model: ModelReply = Field(
        description="The checkpoint that read the study.", examples=[example_of(ModelReply)]
    )
    usage: UsageReply = Field(
        description="Tokens of the whole request.", examples=[example_of(UsageReply)]
    )
    timing: TimingReply = Field(
        description="Seconds that it took.", examples=[example_of(TimingReply)]
    )
    disclaimer: str = Field(
        description="To be shown with the result.",
        examples=[
            "Generated by a model and not verified by a radiologist. For research use only; not "
            "for clinical decisions."
        ],
    )
    raw_text: dict[SectionName, str] | None = Field(
        None,
        description="The model's text as it came, by section. Null unless `include` asks for "
        "`raw_text`.",
        examples=[None],
    )


# The order of the bases is the order of the fields: what was asked for comes right after the id.
class ReportReply(StudyReply, _Reported):
    """A grounded report."""


class VqaReply(StudyReply, _Answered):
    """A grounded answer."""
