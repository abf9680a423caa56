"""How many tricks a completion tries."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from service.reading import ParsedText
from training.labels import Findings, clashes, kind_of
from training.rewards.agreement import count_beyond, kindred, kinds
from training.rewards.equivalence import says_yes
from training.rewards.places import Places
from training.rewards.predicates import FILMS, film_called_normal
from training.rewards.step_words import StepWords
from training.rewards.truth import Truth
from training.rewards.wording import count_words, sentences

_NOTHING = frozenset[str]()
_CONTRADICTION = 3
_STEPS_WITHOUT_REFERENCE = 8
_WORDS_OF_A_STEP = 24
_WORDS_OF_AN_ANSWER = 16
"""Words that an answer to a question may have beyond twice the reference's."""
_IDLE_STEPS = 2
"""Steps that may name nothing beyond those of the reference."""
_WRONG = frozenset(
    (
        *("incorrect", "wrong", "false", "untrue", "mistaken", "disregard", "ignore", "opposite"),
        *("contrary", "reverse", "invented", "fictitious", "retracted", "withdrawn"),
        *("true", "correct", "real", "really", "accurate", "valid", "case"),
    )
)
_OF_ALL = frozenset(("none", "nothing", "all", "each", "everything", "any"))
_WHAT = frozenset(
    (
        *("this", "that", "these", "those", "them", "it", "above", "foregoing", "preceding"),
        *("previous", "rest", "findings", "statements", "sentences"),
    )
)
"""Words of the first set, or of both others, stand in every text that :data:`_TAKEN_BACK` finds."""
_IS_WRONG = r"(?:incorrect|wrong|false|untrue|mistaken|invented|fictitious|retracted|withdrawn)"
_IS_RIGHT = r"(?:true|correct|real|accurate|valid|the case)"
_IS_THERE = r"(?:present|there|seen|found|visible|identified|noted)"
_WHAT_WAS_SAID = (
    r"(?:(?:the |these |those )?(?:(?:above|foregoing|preceding|previous) )?(?:findings|statements"
    r"|sentences)|(?:the )?(?:above|foregoing|preceding|rest)|this|that|these|those|them|it)"
)
_BE = r"(?:is|are|was|were|being)"
_ENDS = r"(?=\s*\)?\s*(?:[.;!\n]|\Z))"
_TAKEN_BACK = re.compile(
    r"\b(?:above|foregoing|preceding|previous|this|that|report|findings?|it)\b[^.;]{0,20}?"
    rf"\b{_BE}(?: all| entirely| completely)? {_IS_WRONG}\b|\b(?:disregard|ignore)\b"
    rf"|\b{_WHAT_WAS_SAID} {_BE} (?:not|never) (?:\w+ly )?{_IS_RIGHT}{_ENDS}"
    rf"|\b(?:none|nothing|not any) of {_WHAT_WAS_SAID}"
    rf"(?: {_BE} (?:\w+ly )?(?:{_IS_RIGHT}|{_IS_THERE}))?{_ENDS}"
    rf"|\b(?:all|each|everything)(?: of)? {_WHAT_WAS_SAID}(?: {_BE}|:)?"
    rf" (?:{_IS_WRONG}|absent|denied|gone|not (?:{_IS_THERE}|{_IS_RIGHT}))\b"
    r"|\bthe (?:opposite|contrary|reverse) (?:is|was|holds)\b"
    rf"|(?:[:,(\u2013\u2014]|\s-)\s*(?:(?:that|this|which) is )?(?:{_IS_WRONG}"
    rf"|not (?:{_IS_RIGHT}|really)){_ENDS}",
    re.I,
)
"""Where a report takes back what it said."""
_NOW = r"(?:(?:but|and|or|actually|in fact|well|now|today|currently),? )*"
_ALL_BACK = re.compile(
    rf"{_NOW}(?:not(?: really| at all| so)?|not {_IS_RIGHT}|no|nope|never|(?:that (?:is|was) )?"
    rf"{_IS_WRONG})"
)
"""A sentence that says no more than that the one before is wrong."""
_ALL_NORMAL = re.compile(
    rf"{_NOW}(?:all|everything)(?: of)?(?: {_WHAT_WAS_SAID})?(?: {_BE})?(?: now)?"
    r" (?:normal|clear|unremarkable|negative|absent)(?: now| today)?"
)
"""A sentence that is no end of a report with findings; *otherwise all normal* is one."""
_BACK = _WRONG | {"not", "no", "nope", "never"}
_ALL = frozenset(("all", "everything"))
"""Words that stand in what the two find."""
_TAKING_BACK = (_BACK - {"no"}) | _OF_ALL
_NO_AT_AN_END = ("no", ".")
"""As :func:`count_words` pairs words."""
_BACK_ENDS = _BACK | {"so", "all", "really"}
_NORMAL_ENDS = frozenset(("normal", "clear", "unremarkable", "negative", "absent", "now", "today"))
"""And with which they end."""
_LONGEST = 48
"""Signs that such a sentence has at most."""
_NOTHING_NEW = 0.5
"""Of such a step, what one counts that only names again what one before it named."""


def honesty(
    parsed: ParsedText,
    said: Sequence[StepWords],
    answered: Findings,
    stepped: frozenset[str],
    found: Places,
    truth: Truth,
) -> float:
    """1 halved for every trick; for what is a matter of degree, by that degree.

    Stray boxes, sentences said twice, an answer that contradicts itself or its steps, a report
    that is taken back or calls the film normal beside its findings, steps that contradict each
    other, many more of them than the reference takes, steps of many words, steps that name
    nothing, findings that steps affirm and nobody knows of, or not on that side (a report's answer
    may), and a short
    answer padded out. What the reference does itself costs nothing.

    Parameters
    ----------
    said
        What each step names.
    answered
        What the answer says.
    stepped
        What the steps affirm: :func:`affirmed_in`.
    """
    expected = len(truth.example.steps) or _STEPS_WITHOUT_REFERENCE
    most_steps = 2 * expected + 2
    told: list[str] = []
    spaces = max(0, len(said) - 1)
    for words in said:
        told += words.sentences
        spaces += words.spaces
    tricks = found.stray + max(0, count_words(parsed.answer).repeated - truth.repeated)
    tricks += len(told) - len(set(told))
    tricks += _contradictions(parsed, said, answered, stepped, truth)
    if len(parsed.steps) > most_steps:
        tricks += (len(parsed.steps) - most_steps) / 2
    tricks += max(0.0, _idle(parsed, said) - _IDLE_STEPS - truth.idle)
    tricks += _excess(spaces, _WORDS_OF_A_STEP * most_steps)
    if truth.report:
        if not stepped <= answered.affirmed:  # else the answer says what they do
            known = kindred(answered.affirmed | truth.labels)
            tricks += len(kinds(stepped) - known)
            tricks += len(stepped & truth.elsewhere - answered.affirmed)
    else:
        if truth.known is not None and not stepped <= truth.labels:
            tricks += len(kinds(stepped) - truth.known) + len(stepped & truth.elsewhere)
        tricks += _excess(len(parsed.answer.split()), _WORDS_OF_AN_ANSWER + 2 * truth.length)
    return 0.5**tricks if tricks else 1.0


def affirmed_in(said: Sequence[StepWords]) -> frozenset[str]:
    """Labels that steps affirm."""
    return _NOTHING.union(*[words.affirmed for words in said])


def _contradictions(
    parsed: ParsedText,
    said: Sequence[StepWords],
    answered: Findings,
    stepped: frozenset[str],
    truth: Truth,
) -> float:
    affirmed = stepped
    if not truth.one_film:
        said = [
            words
            for step, words in zip(parsed.steps, said, strict=True)
            if truth.of_current_film(box.image for box in step.boxes)
        ]
        affirmed = affirmed_in(said)
    tricks = 0
    holds, lacks = answered.affirmed, answered.flatly_denied
    if truth.presence:
        verdict = says_yes(parsed.answer, truth.asked, truth.question)
        if verdict:
            holds |= truth.asked
        elif verdict is False and truth.presence_alone:
            lacks |= truth.asked
    against = clashes(holds | affirmed, lacks) if lacks else _NOTHING
    if denied := [words.denied for words in said if words.denied]:
        denied_in_steps = _NOTHING.union(*denied)
        between = clashes(affirmed, denied_in_steps)
        tricks += count_beyond(between, truth.step_clashes)
        # What the steps affirm, too, is a contradiction of theirs.
        disowned = clashes(holds, denied_in_steps)
        if between and disowned:
            both = kinds(between)
            disowned = frozenset(label for label in disowned if kind_of(label) not in both)
        against |= disowned
    if against:
        tricks += _CONTRADICTION * count_beyond(against, truth.clashes)
    if truth.report:
        wording = count_words(parsed.answer)
        words = wording.words
        if answered.affirmed and not truth.normal and not words.isdisjoint(FILMS):
            tricks += _CONTRADICTION * film_called_normal(parsed.answer)
        # Of the words that may take a report back, most have none but a "no" within a sentence.
        told = _NO_AT_AN_END in wording.pairs or not words.isdisjoint(_TAKING_BACK)
        if told and (
            _taken_back(parsed.answer, words)
            or (answered.affirmed and _calls_all_normal(parsed.answer, words))
        ):
            own, own_words = truth.example.answer, truth.words.words
            own_back = _taken_back(own, own_words) or _calls_all_normal(own, own_words)
            tricks += _CONTRADICTION * (not own_back)
    return tricks


def _taken_back(report: str, words: Set[str]) -> bool:
    told = not (words.isdisjoint(_WRONG) and (words.isdisjoint(_OF_ALL) or words.isdisjoint(_WHAT)))
    if told and _TAKEN_BACK.search(report):
        return True
    return not words.isdisjoint(_BACK) and _says_all_is(_ALL_BACK, _BACK_ENDS, report)


def _calls_all_normal(report: str, words: Set[str]) -> bool:
    return not words.isdisjoint(_ALL) and _says_all_is(_ALL_NORMAL, _NORMAL_ENDS, report)


def _says_all_is(pattern: re.Pattern[str], ends: Set[str], report: str) -> bool:
    """Whether a sentence says that and nothing else, and answers no question."""
    for said in sentences(report.casefold().replace("?", " ")):
        if said.rpartition(" ")[2] in ends and len(said) < _LONGEST and pattern.fullmatch(said):
            return True
    return False


def _idle(parsed: ParsedText, said: Sequence[StepWords]) -> float:
    """Steps without a box that name no finding and no structure, or none that is new."""
    idle = 0.0
    seen: set[str] = set()
    for step, words in zip(parsed.steps, said, strict=True):
        named = words.named
        if not step.boxes and named <= seen:
            idle += _NOTHING_NEW if named else 1
        seen |= named
    return idle


def _excess(value: int, limit: int) -> float:
    return value / limit - 1 if value > limit else 0.0
