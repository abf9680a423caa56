"""How many tricks a completion tries."""

from __future__ import annotations

from service.reading import ParsedText
from training.labels import Findings, clashes
from training.rewards.agreement import kinds
from training.rewards.places import Places
from training.rewards.step_words import words_of
from training.rewards.truth import Truth
from training.rewards.wording import repeated

_CONTRADICTION = 3
_STEPS_WITHOUT_REFERENCE = 8
_WORDS_OF_A_STEP = 24
_WORDS_OF_AN_ANSWER = 16
"""Words that an answer to a question may have beyond twice the reference's."""
_IDLE_STEPS = 2
"""Steps that may name nothing beyond those of the reference."""
_NOTHING_NEW = 0.5
"""Of such a step, what one counts that only names again what one before it named."""


def honesty(
    parsed: ParsedText,
    answered: Findings,
    stepped: frozenset[str],
    found: Places,
    truth: Truth,
) -> float:
    """1 halved for every trick; for what is a matter of degree, by that degree.

    Stray boxes, sentences said twice, an answer that contradicts itself, many more steps than the
    reference takes, steps of many words, steps that name nothing, findings that a report's steps
    affirm and neither its answer nor the truth knows, and a short answer padded out. What the
    reference does itself costs nothing.

    Parameters
    ----------
    answered
        What the answer says.
    stepped
        What the steps affirm: :func:`affirmed_in_steps`.
    """
    expected = len(truth.example.steps) or _STEPS_WITHOUT_REFERENCE
    most_steps = 2 * expected + 2
    steps = "; ".join([step.text for step in parsed.steps])
    tricks = found.stray + max(0, repeated(parsed.answer) - truth.repeated) + repeated(steps)
    if answered.denied:
        contradictory = len(clashes(answered.affirmed, answered.denied))
        tricks += _CONTRADICTION * max(0, contradictory - truth.clashes)
    if len(parsed.steps) > most_steps:
        tricks += (len(parsed.steps) - most_steps) / 2
    tricks += max(0.0, _idle(parsed) - _IDLE_STEPS - truth.idle)
    tricks += _excess(steps.count(" "), _WORDS_OF_A_STEP * most_steps)
    if truth.report:
        known = kinds(answered.affirmed | truth.labels)
        tricks += len(kinds(stepped) - known)
    else:
        tricks += _excess(len(parsed.answer.split()), _WORDS_OF_AN_ANSWER + 2 * truth.length)
    return 0.5**tricks if tricks else 1.0


def affirmed_in_steps(parsed: ParsedText) -> frozenset[str]:
    """Labels that the steps affirm."""
    return frozenset[str]().union(*(words_of(step.text).affirmed for step in parsed.steps))


def _idle(parsed: ParsedText) -> float:
    """Steps without a box that name no finding and no structure, or none that is new."""
    idle = 0.0
    seen: set[str] = set()
    for step in parsed.steps:
        named = words_of(step.text).named
        if not step.boxes and named <= seen:
            idle += _NOTHING_NEW if named else 1
        seen |= named
    return idle


def _excess(value: int, limit: int) -> float:
    return value / limit - 1 if value > limit else 0.0
