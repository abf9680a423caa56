"""Why a reply of the teacher is not kept; each is counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Refusal:
    """A request that got no answer, or was not sent."""

    reason: Reason
    words: str

    @property
    def was_sent(self) -> bool:
        """Whether the server was asked at all."""
        return self.reason is not Reason.FILM


class Reason(StrEnum):
    """A reason, and what it means."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Reason:
        """A member whose value is its name in tables and files."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    NEEDS_PRIOR = (
        "answer-needs-prior",
        "not asked: the known answer speaks of a change, and there is no earlier film",
    )
    SAME_QUESTION = "same-question", "not asked: the same films, question and answer again"
    FILM = "film-cannot-be-shown", "not asked: a film is missing, or cannot be decoded or shown"
    REFUSED = "refused-by-server", "the server refuses the request; another run asks again"
    GARBLED = "garbled-reply", "the reply is no chat completion; another run asks again"
    UNANSWERED = "no-answer", "no answer in all tries; another run asks again"
    CUT_OFF = "cut-off", "cut off at the length limit"
    NOT_PARSED = "does-not-parse", "not one closed think-block and one boxed answer"
    TOO_FEW_STEPS = "too-few-steps", "fewer steps than asked for"
    TOO_MANY_STEPS = "too-many-steps", "more steps than asked for"
    TOO_SHORT = "too-short", "too few words"
    TOO_LONG = "too-long", "too many words"
    REPEATS = "repeats-itself", "a step says what another said"
    LEAKS = "leaks-reference", "speaks of the report, the reference, the list or the known answer"
    COPIES = "copies-reference", "the steps are the report's own words, one after another"
    PRIOR_WORDS = "speaks-of-prior", "speaks of a change, and there is no earlier film"
    BOX_MALFORMED = "box-malformed", "a box that is none, is inverted, empty or off the film"
    BOX_UNKNOWN = "box-unknown", "a box that was not supplied"
    NO_BOX = "no-box", "regions were supplied, and none is cited"
    NOT_NAMED = "region-not-named", "a box whose region the step does not name"
    WRONG_REGION = "box-of-other-region", "the step names one region and cites the box of another"
    ANSWER = "answer-disagrees", "the answer is not the known one"
    CONTRADICTS = "contradicts", "a step denies what another, or the answer, affirms"
    NOT_KNOWN = "finding-not-known", "a step affirms a finding that is not known to be there"
    DUPLICATE = "duplicate", "the same words as another reply"
    NEAR_DUPLICATE = "near-duplicate", "almost the same words as another reply"
