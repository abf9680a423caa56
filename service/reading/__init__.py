"""The grounded text: how a checkpoint is asked, and how its text is read."""

from service.reading.conventions import (
    BoxSpace,
    ClinicalContext,
    Conventions,
    Decoding,
    Mode,
    Prompts,
    Task,
)
from service.reading.geometry import from_model_space, to_model_space
from service.reading.grammar import grounded_text_grammar
from service.reading.ground import GroundedBox, Reading, ReasoningStep, ground
from service.reading.prompt import MOST_IMAGES, build_prompt
from service.reading.special_tokens import SPECIAL_TOKENS, strip_special_tokens
from service.reading.stream import AnswerDelta, StepRead, StreamParser, parse_text
from service.reading.text import ParsedBox, ParsedStep, ParsedText
from service.reading.writing import write_grounded_text

__all__ = [
    "MOST_IMAGES",
    "SPECIAL_TOKENS",
    "AnswerDelta",
    "BoxSpace",
    "ClinicalContext",
    "Conventions",
    "Decoding",
    "GroundedBox",
    "Mode",
    "ParsedBox",
    "ParsedStep",
    "ParsedText",
    "Prompts",
    "Reading",
    "ReasoningStep",
    "StepRead",
    "StreamParser",
    "Task",
    "build_prompt",
    "from_model_space",
    "ground",
    "grounded_text_grammar",
    "parse_text",
    "strip_special_tokens",
    "to_model_space",
    "write_grounded_text",
]
