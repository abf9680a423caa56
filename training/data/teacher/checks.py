"""Which replies of the teacher are kept: the first thing that is wrong with one rejects it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from service.reading import Mode, ParsedStep, ParsedText, Task, parse_text, write_grounded_text
from training.chat.client import Answer
from training.data.example import Example, ReasoningTarget
from training.data.teacher.agreement import answers_agree
from training.data.teacher.naming import named_in, phrases_of
from training.data.teacher.polarity import Polarity, affirmed_by_labels, polarity_of
from training.data.teacher.reasons import Reason
from training.data.teacher.request import Question, has_prior
from training.data.teacher.telltales import find_change, find_leak

_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Bounds:
    """What a reply may be.

    Attributes
    ----------
    fewest, most
        Steps.
    fewest_words, most_words
        Of all steps together.
    most_words_in_step
        Of one.
    copied, run
        Largest share of the steps' words that may stand in the report in runs of so many words;
        the name of a supplied region is nobody's to copy, its sentence is.
    fit
        Least IoU of a cited box with a supplied one, in pixels of the picture; the supplied one,
        in original pixels, is then taken in its place.
    """

    fewest: int = 1
    most: int = 12
    fewest_words: int = 5
    most_words: int = 400
    most_words_in_step: int = 60
    copied: float = 0.4
    run: int = 7
    fit: float = 0.9


@dataclass(frozen=True)
class Verdict:
    """A reply that is kept as an example, or why it is not.

    Attributes
    ----------
    detail
        What exactly was wrong, for who mends a prompt.
    """

    example: Example | None = None
    reason: Reason | None = None
    detail: str = ""


class Rejected(Exception):  # noqa: N818 - a verdict, not an error
    """Ends the checks of a reply."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def needs_prior(example: Example) -> bool:
    """Whether the known answer speaks of a change although there is no earlier film."""
    return not has_prior(example) and find_change(example.answer) is not None


def judge(question: Question, answer: Answer, bounds: Bounds) -> Verdict:
    """Check a reply; what is kept reasons in the teacher's words towards the known answer.

    Boxes of the example that is kept are the supplied ones, in original pixels.
    """
    try:
        return Verdict(example=_checked(question, answer, bounds))
    except Rejected as rejected:
        return Verdict(reason=rejected.reason, detail=rejected.detail)


def _checked(question: Question, answer: Answer, bounds: Bounds) -> Example:
    example = question.example
    parsed = parse_text(
        answer.text,
        mode=Mode.THINK,
        images=len(example.images),
        finish_reason=answer.finish_reason,
        extents=question.extents,
    )
    _check_form(parsed, answer)
    _check_length(parsed, bounds)
    _check_words(parsed, example)
    _check_own_words(parsed, question, bounds)
    steps = tuple(_target(step, question, bounds) for step in parsed.steps)
    if question.regions and not any(step.boxes for step in steps):
        raise Rejected(Reason.NO_BOX)
    if not answers_agree(example, parsed.answer):
        raise Rejected(Reason.ANSWER, parsed.answer[:200])
    _check_findings(parsed, example)
    _check_reads_back(steps, example)
    return replace(example, id=f"{example.id}/taught", mode=Mode.THINK, steps=steps)


def _check_form(parsed: ParsedText, answer: Answer) -> None:
    if answer.finish_reason == "length":
        raise Rejected(Reason.CUT_OFF)
    codes = [notice.code for notice in parsed.notices]
    unread = [code for code in codes if not code.startswith("box-") or code == "box-in-answer"]
    if unread or not parsed.complete or not parsed.steps:
        raise Rejected(Reason.NOT_PARSED, ", ".join(unread))
    broken = [code for code in codes if code.startswith("box-")]
    if broken:
        raise Rejected(Reason.BOX_MALFORMED, ", ".join(broken))


def _check_length(parsed: ParsedText, bounds: Bounds) -> None:
    counts = [len(_WORDS.findall(step.text)) for step in parsed.steps]
    if len(counts) < bounds.fewest:
        raise Rejected(Reason.TOO_FEW_STEPS, str(len(counts)))
    if len(counts) > bounds.most:
        raise Rejected(Reason.TOO_MANY_STEPS, str(len(counts)))
    if sum(counts) < bounds.fewest_words or not all(counts):
        raise Rejected(Reason.TOO_SHORT, f"{sum(counts)} words")
    if sum(counts) > bounds.most_words or max(counts) > bounds.most_words_in_step:
        raise Rejected(Reason.TOO_LONG, f"{sum(counts)} words, {max(counts)} in one step")


def _check_words(parsed: ParsedText, example: Example) -> None:
    said = [" ".join(_WORDS.findall(step.text.lower())) for step in parsed.steps]
    if len(set(said)) < len(said):
        raise Rejected(Reason.REPEATS)
    for text in (*(step.text for step in parsed.steps), parsed.answer):
        if leak := find_leak(text, history=bool(example.indication)):
            raise Rejected(Reason.LEAKS, leak)
        if not has_prior(example) and (change := find_change(text)):
            raise Rejected(Reason.PRIOR_WORDS, change)


def _check_own_words(parsed: ParsedText, question: Question, bounds: Bounds) -> None:
    """Steps that are the report over again reason nothing."""
    example = question.example
    report = [*example.sections.values()]
    if example.task is not Task.VQA:
        report.append(example.answer)
    sentences = {sentence.text for sentence in example.grounded_sentences}
    names = [r.label for r in question.regions if not r.is_sentence and r.label not in sentences]
    supplied = _runs(names, bounds.run)
    known = _runs(report, bounds.run) - supplied
    said = copied = 0
    for step in parsed.steps:
        words = _WORDS.findall(step.text.lower())
        taken = set[int]()
        for n in range(len(words) - bounds.run + 1):
            if tuple(words[n : n + bounds.run]) in known:
                taken |= set(range(n, n + bounds.run))
        said += len(words)
        copied += len(taken)
    if copied > bounds.copied * said:
        raise Rejected(Reason.COPIES, f"{copied} of {said} words")


def _runs(texts: Iterable[str], length: int) -> set[tuple[str, ...]]:
    """Every so many words that follow each other in one of the texts."""
    found: set[tuple[str, ...]] = set()
    for text in texts:
        words = _WORDS.findall(text.lower())
        found |= {tuple(words[n : n + length]) for n in range(len(words) - length + 1)}
    return found


def _target(step: ParsedStep, question: Question, bounds: Bounds) -> ReasoningTarget:
    """The step with the supplied boxes in place of those that it cites."""
    boxes = []
    phrases = phrases_of(step.raw)
    for cited, (phrase, count) in zip(step.boxes, phrases, strict=True):
        near = question.by_overlap(cited.values, cited.image)
        fitting = [region for overlap, region in near if overlap >= bounds.fit]
        if not fitting:
            raise Rejected(Reason.BOX_UNKNOWN, f"best IoU {near[0][0]:.2f}" if near else "")
        here = [region for region in question.regions if region.image == cited.image]
        # Nothing before the box: *the right [..] and left [..] lungs are clear*.
        named = named_in(phrase, here, count) or named_in(step.text, here, len(here) + 1)
        # Boxes of two regions may all but coincide: the one that the step names is meant.
        supplied = next((region.box for region in fitting if region in named), None)
        if supplied is None:
            labels = " / ".join(dict.fromkeys(region.label for region in fitting))
            if not named:
                raise Rejected(Reason.NOT_NAMED, labels)
            raise Rejected(Reason.WRONG_REGION, f"{named[0].label} named, box of {labels}")
        boxes.append((cited.image, supplied))
    return ReasoningTarget(step.text, tuple(boxes))


def _check_findings(parsed: ParsedText, example: Example) -> None:
    said = Polarity()
    for step in parsed.steps:
        polarity = polarity_of(step.text)
        if clash := polarity.contradicts(said):
            raise Rejected(Reason.CONTRADICTS, ", ".join(sorted(clash)))
        said |= polarity
    for known in _known(example):
        if clash := said.contradicts(known):
            raise Rejected(Reason.CONTRADICTS, ", ".join(sorted(clash)))
    there = {kind for known in _known(example) for _, kind in known.affirmed}
    if _all_known(example) and (more := {kind for _, kind in said.affirmed} - there):
        raise Rejected(Reason.NOT_KNOWN, ", ".join(sorted(more)))


def _known(example: Example) -> Iterator[Polarity]:
    """What is known of the films: the answer, the report, the labels, the places."""
    if example.task is not Task.VQA:
        yield polarity_of(example.answer)
    elif example.answer.strip(" .").lower() in ("yes", "no"):
        asked = polarity_of(str(example.question)).affirmed
        yes = example.answer.strip(" .").lower() == "yes"
        yield Polarity(affirmed=asked) if yes else Polarity(denied=asked)
    else:
        yield polarity_of(example.answer)
    for section in example.sections.values():
        yield polarity_of(section)
    yield Polarity(affirmed=affirmed_by_labels(example.labels))
    marked = [
        label for image in range(len(example.images)) for label, _ in example.regions_of(image)
    ]
    yield Polarity(affirmed=affirmed_by_labels(marked))


def _all_known(example: Example) -> bool:
    """Whether the source says everything that is on the films."""
    return bool(example.labels or example.sections or example.task is not Task.VQA)


def _check_reads_back(steps: tuple[ReasoningTarget, ...], example: Example) -> None:
    try:
        write_grounded_text(
            [(step.text, [box for _, box in step.boxes]) for step in steps], example.answer
        )
    except ValueError as error:
        raise Rejected(Reason.NOT_PARSED, str(error)) from error
