"""The walk of one study through every room, for the HTTP interface and the command line alike."""

from service.interpretation.estimate import estimated_tokens
from service.interpretation.events import (
    AnswerRead,
    FilmsRead,
    RetryStarted,
    SectionEvent,
    SectionRead,
    Shortfall,
    StepRead,
    StudyEvent,
    StudyRead,
)
from service.interpretation.films import FilmDecoder
from service.interpretation.interpretation import (
    Interpretation,
    SectionReading,
    SectionTiming,
    StudyTiming,
)
from service.interpretation.request import MAX_FILMS, REPORT, StudyRequest, check_request
from service.interpretation.stages import StageObserver
from service.interpretation.walk import interpret, stream

__all__ = [
    "MAX_FILMS",
    "REPORT",
    "AnswerRead",
    "FilmDecoder",
    "FilmsRead",
    "Interpretation",
    "RetryStarted",
    "SectionEvent",
    "SectionRead",
    "SectionReading",
    "SectionTiming",
    "Shortfall",
    "StageObserver",
    "StepRead",
    "StudyEvent",
    "StudyRead",
    "StudyRequest",
    "StudyTiming",
    "check_request",
    "estimated_tokens",
    "interpret",
    "stream",
]
