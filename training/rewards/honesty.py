"""How many tricks a completion tries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from service.reading import ParsedText
from training.labels import Findings, clashes, kind_of, questions_in, side_of
from training.rewards.agreement import count_beyond, kindred, kinds
from training.rewards.equivalence import says_yes
from training.rewards.padding import idle_steps_in, padding
from training.rewards.places import Places
from training.rewards.predicates import FILMS, film_called_normal
from training.rewards.retraction import unsays_itself
from training.rewards.step_words import StepWords
from training.rewards.truth import Truth
from training.rewards.wording import count_words

_NOTHING = frozenset[str]()
_SIDE = re.compile(r"\b(left|right)\b", re.I)
_CONTRADICTION = 3
_IDLE_STEPS = 2
"""Steps that may name nothing beyond those of the reference."""
_SAID_TWICE = 2
"""Tricks that a sentence of a report counts each further time."""
_MADE_UP = 2
"""Kinds of findings of a report that nobody knows of and that cost what F1 takes, and no more."""
_NOTHING_NEW = 0.5
"""Of such a step, what one counts that only names again what one before it named."""


def honesty(
    completion: str,
    parsed: ParsedText,
    said: Sequence[StepWords],
    answered: Findings,
    stepped: frozenset[str],
    found: Places,
    truth: Truth,
) -> float:
    """1 halved for every trick; for what is a matter of degree, by that degree.

    Stray boxes, sentences said twice, questions left open, what is only supposed and is there, an
    answer that contradicts itself or its steps, a report that is taken back or calls the film
    normal beside its findings, steps that contradict each other, many more of them than the
    reference takes, padding (:mod:`training.rewards.padding`), steps that name nothing, and
    findings that steps affirm and nobody knows of, or not on that side (a report's answer may).
    What the reference does itself costs nothing.

    Parameters
    ----------
    said
        What each step names.
    answered
        What the answer says.
    stepped
        What the steps affirm: :func:`affirmed_in`.
    """
    most_steps = 2 * truth.steps_expected + 2
    told: list[str] = []
    for words in said:
        told += words.sentences
    repeated = max(0, count_words(parsed.answer).repeated - truth.repeated)
    tricks = found.stray + _SAID_TWICE * repeated
    tricks += len(told) - len(set(told))
    tricks += _contradictions(parsed, said, answered, stepped, truth)
    if len(parsed.steps) > most_steps:
        tricks += (len(parsed.steps) - most_steps) / 2
    tricks += max(0.0, _idle(parsed, said) - _IDLE_STEPS - truth.idle)
    tricks += padding(completion, parsed, [words.bulk for words in said], truth.bulk_allowed)
    if truth.report:
        words_said = count_words(parsed.answer).words
        for instruction in truth.instructions:
            tricks += _CONTRADICTION * (instruction <= words_said)
        if "?" in parsed.answer:
            tricks += max(0, questions_in(parsed.answer) - truth.questions)
        if answered.asked or answered.supposed:
            not_told = answered.asked | answered.supposed
            there = kinds(stepped | truth.labels) - kinds(answered.affirmed)
            own = truth.told.asked | truth.told.supposed
            tricks += len(there & kinds(not_told) - kinds(own))
        if len(answered.affirmed) > _MADE_UP and not truth.told_nothing:
            tricks += max(0, len(kinds(answered.affirmed) - truth.kin) - _MADE_UP) / 2
        if not stepped <= answered.affirmed:  # else the answer says what they do
            known = kindred(answered.affirmed | truth.labels)
            tricks += len(kinds(stepped) - known)
            tricks += len(stepped & truth.elsewhere - answered.affirmed)
    else:
        told_of = stepped | answered.affirmed if truth.presence else stepped
        if truth.known is not None and not told_of <= truth.labels:
            tricks += len(kinds(told_of) - truth.known) + len(told_of & truth.elsewhere)
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
            tricks += _CONTRADICTION * _on_another_side(parsed.answer, truth)
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
        if unsays_itself(parsed.answer, wording, bool(answered.affirmed)):
            own = unsays_itself(truth.example.answer, truth.words, findings=True)
            tricks += _CONTRADICTION * (not own)
    return tricks


def _on_another_side(answer: str, truth: Truth) -> bool:
    """Whether a *yes* says that it is on one side, and it is on the other alone."""
    said = {side.lower() for side in _SIDE.findall(answer)}
    if len(said) != 1:
        return False
    asked = kinds(truth.asked)
    known = {side_of(label) for label in truth.labels if kind_of(label) in asked}
    return bool(known) and known <= {"left", "right"} and said.isdisjoint(known)


def _idle(parsed: ParsedText, said: Sequence[StepWords]) -> float:
    """Steps without a box that name no finding and no structure, or none that is new."""
    idle = 0.0
    seen: set[str] = set()
    for step, words in zip(parsed.steps, said, strict=True):
        named = words.named
        if not step.boxes and named <= seen:
            idle += _NOTHING_NEW if named else idle_steps_in(words.bulk.size)
        seen |= named
    return idle
