"""Fields of the requests, validated; every one described, with an example."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from service.reading import ClinicalContext, Decoding, Mode, Task

_MAX_TEXT = 8_000
_MAX_QUESTION = 2_000

Text = Annotated[str, Field(max_length=_MAX_TEXT)]


class Section(StrEnum):
    """A section of the report that can be asked for."""

    FINDINGS = "findings"
    IMPRESSION = "impression"

    @property
    def task(self) -> Task:
        """The task that writes this section."""
        return Task(self.value)


class Include(StrEnum):
    """Something that is left out of the reply unless asked for."""

    RAW_TEXT = "raw_text"
    TIMINGS = "timings"


class FilmFields(BaseModel):
    """Fields that say how to open the films."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    LISTS: ClassVar[tuple[str, ...]] = ()
    """Fields that may be repeated, or separated by commas, in a form or a query."""

    frame: int | None = Field(
        None,
        ge=1,
        description="Which frame of a multi-frame DICOM to read, from 1.",
        examples=[1],
    )
    allow_other_anatomy: bool = Field(
        False,
        description="Read the film even where its header says that it is not a chest radiograph.",
        examples=[False],
    )

    @field_validator("allow_other_anatomy", mode="before")
    @classmethod
    def _true_or_false(cls, value: object, info: ValidationInfo) -> object:
        """Of the texts, only these two: the description promises no yes, on or 1."""
        if info.mode == "json" or not isinstance(value, str):
            return value
        if value.lower() not in ("true", "false"):
            raise PydanticCustomError("bool_parsing", "must be true or false")
        return value.lower() == "true"


class StudyFields(FilmFields):
    """Fields that both `/report` and `/vqa` take."""

    LISTS: ClassVar[tuple[str, ...]] = ("include",)

    mode: Mode = Field(
        Mode.THINK,
        description="`think`: reason step by step, with boxes, before the answer. `answer`: "
        "answer at once (a report: where the checkpoint has learnt it, else `mode-not-trained`).",
        examples=["think"],
    )
    decoding: Decoding | None = Field(
        None,
        description="`constrained` holds the model to the grammar of the grounded text, `free` "
        "does not. Default: as the checkpoint's manifest says.",
        examples=["constrained"],
    )
    indication: Text | None = Field(
        None,
        description="Why the film was taken.",
        examples=["Cough and fever for three days."],
    )
    technique: Text | None = Field(
        None, description="How the film was taken.", examples=["PA and lateral views."]
    )
    comparison: Text | None = Field(
        None, description="What it is compared with.", examples=["Film of last year."]
    )
    prior_report: Text | None = Field(
        None,
        description="Report of an earlier film.",
        examples=["No acute cardiopulmonary abnormality."],
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="Sampling temperature; 0 gives the same reading every time. Default: the "
        "manifest's.",
        examples=[0.0],
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Most tokens of each generated text; the manifest's is the default and the "
        "most.",
        examples=[1024],
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=2**63 - 1,
        description="Seed of the sampling, for a repeatable reading at a temperature above 0.",
        examples=[42],
    )
    include: tuple[Include, ...] = Field(
        (),
        description="What to add to the reply: the model's `raw_text`, the `timings` of each "
        "stage.",
        examples=[["raw_text"]],
    )

    @property
    def raw_text(self) -> bool:
        """Whether the reply is to hold the model's text as it came."""
        return Include.RAW_TEXT in self.include

    @property
    def timings(self) -> bool:
        """Whether the reply is to hold the timing of every section."""
        return Include.TIMINGS in self.include

    @property
    def context(self) -> ClinicalContext:
        """The clinical context among the fields."""
        return ClinicalContext(
            indication=self.indication,
            technique=self.technique,
            comparison=self.comparison,
            prior_report=self.prior_report,
        )


class ReportFields(StudyFields):
    """Fields of `/report`."""

    LISTS: ClassVar[tuple[str, ...]] = ("include", "sections")

    sections: tuple[Section, ...] = Field(
        (Section.FINDINGS, Section.IMPRESSION),
        min_length=1,
        max_length=2,
        description="Sections to write. They are generated concurrently.",
        examples=[["findings", "impression"]],
        json_schema_extra={"uniqueItems": True},
    )

    @field_validator("sections")
    @classmethod
    def _each_once(cls, sections: tuple[Section, ...]) -> tuple[Section, ...]:
        if len(set(sections)) != len(sections):
            raise PydanticCustomError("repeated", "each section may be named once")
        return sections


class VqaFields(StudyFields):
    """Fields of `/vqa`."""

    question: str = Field(
        min_length=1,
        max_length=_MAX_QUESTION,
        pattern=r"\S",
        description="The question about the films.",
        examples=["Is there a pleural effusion?"],
    )


class RenderFields(FilmFields):
    """Fields of `/render`."""
