"""Whether the steps lead to the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from service.reading import ParsedText
from training.labels import Findings, clashes, kind_of, side_of
from training.rewards.agreement import affirm, count_beyond, kinds, share_led_to
from training.rewards.equivalence import is_closed, says_yes
from training.rewards.places import Places
from training.rewards.step_words import StepWords
from training.rewards.truth import Truth

_SIDE = re.compile(r"\b(left|right|both|bilateral)\b", re.I)
_BOTH = {"left", "right"}


def coherence(
    parsed: ParsedText,
    said: Sequence[StepWords],
    answered: Findings,
    affirmed: frozenset[str],
    found: Places,
    truth: Truth,
) -> float:
    """How far the answer follows from the steps, 0 to 1.

    F1 of the findings of the answer and those of the steps; a finding counts as supported by a
    step that affirms it, with a box that shows it where one is due. A report whose steps name as
    much of it as the reference's do has all of it. Halved for every finding that
    is affirmed in one place and denied in another.

    Parameters
    ----------
    said
        What each step names.
    answered
        What the answer says.
    affirmed
        What the steps affirm.
    found
        What the steps' boxes show.
    """
    unshown = [label for label in affirmed if label not in found.shown and truth.box_is_due(label)]
    supported = affirmed.difference(unshown) if unshown else affirmed
    if truth.report:
        value = share_led_to(affirmed, supported, answered.affirmed, bool(said))
        value = min(1.0, value / truth.led_to)
    else:
        value = _of_answer(parsed, affirmed, supported, answered, truth)
    if not value:
        return 0.0
    denied = answered.flatly_denied.union(*[words.denied for words in said])
    contradicted = clashes(affirmed | answered.affirmed, denied)
    return value * 0.5 ** count_beyond(contradicted, truth.step_clashes) if contradicted else value


def _of_answer(
    parsed: ParsedText,
    affirmed: frozenset[str],
    supported: frozenset[str],
    answered: Findings,
    truth: Truth,
) -> float:
    """Of a question: the steps affirm the finding asked about where it is answered for."""
    example = truth.example
    if not example.steps:
        return 1.0
    asked = kinds(truth.asked)
    if is_closed(example.answer) and asked:
        if says_yes(parsed.answer, truth.asked, truth.question):
            return float(affirm(truth.asked, supported))
        # Where the reference affirms it and says no, the question is not whether it is there.
        return float(not affirm(truth.asked, affirmed) or affirm(truth.asked, truth.stepped))
    sides = {word.lower() for word in _SIDE.findall(parsed.answer)}
    if asked and sides:
        shown = {side_of(label) for label in affirmed if kind_of(label) in asked} - {None}
        said = _BOTH if sides & {"both", "bilateral"} else sides
        if shown and shown != said:
            return 0.0
    return float(bool(parsed.steps) and kinds(answered.affirmed) <= kinds(affirmed))
