"""How a checkpoint is asked and what space its boxes are in; part of its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Task(StrEnum):
    """What is asked of a film."""

    FINDINGS = "findings"
    IMPRESSION = "impression"
    VQA = "vqa"


class Mode(StrEnum):
    """Whether the model reasons before it answers."""

    THINK = "think"
    ANSWER = "answer"


class Decoding(StrEnum):
    """Whether the text is held to the grammar."""

    FREE = "free"
    CONSTRAINED = "constrained"


class BoxSpace(StrEnum):
    """The space that a checkpoint writes boxes in."""

    PROCESSOR = "processor"
    SQUARE_512 = "square_512"
    NORMALIZED_1000 = "normalized_1000"


def _holds_its_text(template: str) -> str:
    if template.count("{text}") != 1:
        raise ValueError("must hold {text} once, where the caller's text goes")
    return template


def _asks_something(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _names_prompts(names: tuple[str, ...]) -> tuple[str, ...]:
    if not set(names) <= set(Prompts.model_fields):
        raise ValueError("must name prompts")
    return names


Question = Annotated[str, AfterValidator(_asks_something)]
Template = Annotated[str, AfterValidator(_holds_its_text)]


class Prompts(BaseModel):
    """The texts that a checkpoint is asked with; defaults are DeepMedix-R1's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    findings: Question = (
        'Please act as an experienced radiologist and generate the "FINDINGS" section of an X-ray '
        "report based on the provided image(s). Carefully examine the image(s) and describe all "
        "observed anatomical structures and abnormalities in a systematic and objective manner."
    )
    impression: Question = (
        'Please act as an experienced radiologist and generate the "IMPRESSION" section of an '
        "X-ray report based on the provided image(s). Carefully examine the image(s) and describe "
        "all observed anatomical structures and abnormalities in a systematic and objective manner."
    )
    think_instruction: Question = (
        "You FIRST think about the reasoning process as an internal monologue and then provide the "
        "final answer. The reasoning process MUST BE enclosed within <think> </think> tags. During "
        "this reasoning process, prioritize analyzing the local regions of the image by leveraging "
        "the bounding box coordinates in the format [x_min, y_min, x_max, y_max]. The final answer "
        "MUST BE put in \\boxed{}. An example is like: <think> reasoning process 1 with [x_min1, "
        "y_min1, x_max1, y_max1]; reasoning process 2 with [x_min2, y_min2, x_max2, y_max2] "
        "</think>. The answer is: \\boxed{answer}."
    )
    indication: Template = "Indication: {text}"
    technique: Template = "Technique: {text}"
    comparison: Template = "Comparison: {text}"
    prior_report: Template = "Prior report: {text}"


class Conventions(BaseModel):
    """Prompts and box space of a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    box_space: BoxSpace
    prompts: Prompts = Field(default_factory=Prompts)
    guessed: Annotated[tuple[str, ...], AfterValidator(_names_prompts)] = ()


@dataclass(frozen=True, slots=True)
class ClinicalContext:
    """What the request says of the patient's situation."""

    indication: str | None = None
    technique: str | None = None
    comparison: str | None = None
    prior_report: str | None = None
