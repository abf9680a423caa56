"""What each step of a completion is worth by itself, for credit step by step.

The reward of a whole completion says little of which of its boxes was the good one. Where a stage
asks for it (``objective.step_credit``), a step's words and a step's boxes are held against the
truth, and against the same of the other completions of the group: process supervision as in
DeepSeekMath (arXiv 2402.03300, section 4.1.3), with rules in place of a learnt judge.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from service.reading import Mode, ParsedStep, parse_text
from training.labels import kind_of, side_of
from training.rewards.agreement import same_side
from training.rewards.geometry import Box, iou
from training.rewards.grounded import TOLERATED
from training.rewards.places import Sided, matched_closeness
from training.rewards.protocol import Rollout
from training.rewards.step_words import StepWords, words_of
from training.rewards.truth import Truth

_SIDE = re.compile(r"\b(left|right)\b")
_NUMBER = re.compile(r" ?\d+(?:\.\d+)?")
_SENTENCE = re.compile(r"[^.]+\.?")
Subject = tuple[str, ...]
"""What a part is about, its sort first; parts with equal ones are compared."""


@dataclass(frozen=True, slots=True)
class StepWorth:
    """A part of a completion and what it is worth.

    Attributes
    ----------
    begin, end
        Characters of the completion.
    subject
        What it is about.
    value
        0 to 1.
    stake
        Of a number of a box, in the box space: the edge opposite, and how far from it the true edge
        lies, with its sign; :func:`worth_of_number` tells what any number there is worth.
    """

    begin: int
    end: int
    subject: Subject
    value: float
    stake: tuple[float, float] | None = None


def worth_of_number(number: float, opposite: float, length: float) -> float:
    """IoU of a box whose other three edges are right; 0 where it is inverted.

    Parameters
    ----------
    number
        The edge in question.
    opposite
        The edge opposite, which is right.
    length
        From there to the true edge, with its sign.
    """
    ratio = (number - opposite) / length
    return min(ratio, 1 / ratio) if ratio > 0 else 0.0


def step_worths(rollouts: Sequence[Rollout]) -> list[list[StepWorth]]:
    """For every rollout the worth of its steps' words and boxes; none where nothing is known.

    A completion that does not parse to its end without a flag has none, and boxes for what an
    earlier step has boxed are worth nothing.

    A number of a box is worth how well the box would fit what its step names if the other three
    were right, and what stands between boxes how well all of them fit; what is named in vain is
    left to the reward of the whole. The words of a report's steps on one side, or on a further
    film, are worth the F1 of the kinds of findings they affirm there, and so are the sentences of
    its answer; a sentence that only denies is worth whether nothing it denies is there.
    """
    truths: dict[int, Truth] = {}
    worths = []
    for rollout in rollouts:
        truth = truths.get(id(rollout.example))
        if truth is None:
            truth = truths[id(rollout.example)] = Truth(rollout)
        worths.append(list(_worths(rollout, truth)))
    return worths


def _worths(rollout: Rollout, truth: Truth) -> Iterator[StepWorth]:
    example = rollout.example
    if example.mode is not Mode.THINK:
        return
    parsed = parse_text(
        rollout.completion, mode=example.mode, images=len(example.images), extents=truth.extents
    )
    if not parsed.complete or any(notice.code not in TOLERATED for notice in parsed.notices):
        return
    if truth.report:
        yield from _worths_of_sentences(rollout.completion, parsed.answer, truth)
    read = [words_of(step.text) for step in parsed.steps]
    images = [step.boxes[0].image if step.boxes else 0 for step in parsed.steps]
    by_place = _kinds_by_place(zip(images, read, strict=True))
    cursor, boxed = 0, set[Subject]()
    for step, image, words in zip(parsed.steps, images, read, strict=True):
        begin = rollout.completion.find(step.raw, cursor)
        if begin < 0:
            return  # not as written: what follows cannot be placed either
        cursor = begin + len(step.raw)
        bracket = rollout.completion.find("[", begin, cursor)
        middle = cursor if bracket < 0 else bracket
        side = _side_of_step(step, words)
        if truth.report:
            place = _place(image, side)
            there = _kinds_on(truth, image) if image else _true_kinds(truth, side)
            yield StepWorth(begin, middle, ("words", str(place)), _f1(by_place[place], there))
        if step.boxes and (known := _true_boxes(step, truth.words_of(step.text), side, truth)):
            name, true = known
            if name in boxed:
                yield StepWorth(middle, cursor, name, 0.0)
            else:
                boxed.add(name)
                said = rollout.completion[:cursor]
                yield from _worths_of_boxes(said, middle, step, name, true, truth)


def _worths_of_sentences(completion: str, answer: str, truth: Truth) -> Iterator[StepWorth]:
    begin = completion.rfind(answer)
    if begin < 0:
        return
    sentences = list(_SENTENCE.finditer(answer))
    read = [words_of(sentence[0]) for sentence in sentences]
    by_side = _kinds_by_place((0, words) for words in read)
    there = {kind_of(label) for label in truth.labels}
    for sentence, words in zip(sentences, read, strict=True):
        denied = {kind_of(label) for label in words.denied}
        side = words.findings[0][1] if words.findings else _side_named(sentence[0])
        name: Subject
        if words.findings or side:
            name, value = ("answer", str(side)), _f1(by_side[side], _true_kinds(truth, side))
        elif denied:
            name, value = ("denied", *sorted(denied)), float(not denied & there)
        else:
            continue
        yield StepWorth(begin + sentence.start(), begin + sentence.end(), name, value)


def _true_boxes(
    step: ParsedStep, words: StepWords, side: str | None, truth: Truth
) -> tuple[Subject, list[Sided]] | None:
    """What a step's boxes are about, and where that is; None where nobody knows."""
    image = step.boxes[0].image
    if any(box.image != image for box in step.boxes):
        return None
    name: Subject
    if len(words.findings) == 1:
        kind = words.findings[0][0]
        name = ("finding", kind)
        marked = truth.boxes.get((image, kind), ())
        true = [(side, box) for where, box in marked if same_side(side, where)]
    elif not words.findings and len(words.structures) == 1:
        name = ("structure", words.structures[0])
        true = [(side, box) for box in _structure_boxes(words.structures, side, image, truth)]
    else:
        return None
    return ((*name, str(side), str(image)), true) if true else None


def _worths_of_boxes(
    text: str, begin: int, step: ParsedStep, name: Subject, true: list[Sided], truth: Truth
) -> Iterator[StepWorth]:
    """Each number by how well the box would fit if its other three were right; what is between
    boxes by how well all of them fit."""
    image = step.boxes[0].image
    across, down, _ = truth.scales[image]
    boxes: list[Box] = [
        (x0 * across, y0 * down, x1 * across, y1 * down)
        for x0, y0, x1, y1 in (box.values for box in step.boxes)
    ]
    side = true[0][0]
    all_fit = matched_closeness([(side, box) for box in boxes], true, len(true))
    numbers = list(_NUMBER.finditer(text, begin))
    if len(numbers) != 4 * len(boxes):
        yield StepWorth(begin, len(text), name, all_fit)
        return
    for n, box in enumerate(boxes):
        yield StepWorth(begin, numbers[4 * n].start(), name, all_fit)
        begin = numbers[4 * n + 3].end()
        nearest = max(range(len(true)), key=lambda index: _nearness(box, true[index][1]))
        for edge, number in enumerate(numbers[4 * n : 4 * n + 4]):
            scale = down if edge % 2 else across
            right, opposite = (true[nearest][1][e] / scale for e in (edge, (edge + 2) % 4))
            if right != opposite:
                stake = (opposite, right - opposite)
                value = worth_of_number(step.boxes[n].values[edge], *stake)
                subject = ("number", *name, str(nearest), str(edge))
                yield StepWorth(number.start(), number.end(), subject, value, stake)
    yield StepWorth(begin, len(text), name, all_fit)


def _nearness(box: Box, true: Box) -> tuple[float, float]:
    """IoU, then how near the middles are."""
    apart = abs(box[0] + box[2] - true[0] - true[2]) + abs(box[1] + box[3] - true[1] - true[3])
    return iou(box, true), -apart


def _structure_boxes(
    names: tuple[str, ...], side: str | None, image: int, truth: Truth
) -> Iterator[Box]:
    """Where the reference's steps show a structure."""
    for step in truth.example.steps:
        words = words_of(step.text)
        if words.structures == names and _side_named(step.text) == side:
            yield from ((x0, y0, x1, y1) for n, (x0, y0, x1, y1) in step.boxes if n == image)


def _kinds_by_place(read: Iterable[tuple[int, StepWords]]) -> dict[str | None, set[str]]:
    """Kinds affirmed on each side of the first film, and on every other film."""
    kinds: dict[str | None, set[str]] = defaultdict(set)
    for image, words in read:
        for kind, side in words.findings:
            kinds[_place(image, side)].add(kind)
    return kinds


def _place(image: int, side: str | None) -> str | None:
    return f"image {image}" if image else side


def _side_of_step(step: ParsedStep, words: StepWords) -> str | None:
    if words.findings:
        return words.findings[0][1]
    return _side_named(step.text)


def _side_named(text: str) -> str | None:
    sides = set(_SIDE.findall(text.lower()))
    return sides.pop() if len(sides) == 1 else None


def _true_kinds(truth: Truth, side: str | None) -> set[str]:
    return {kind_of(label) for label in truth.labels if side_of(label) == side}


def _kinds_on(truth: Truth, image: int) -> set[str]:
    """Kinds of the study's findings that a further film of it shows."""
    return {kind_of(label) for label in truth.labels} & {k for n, k in truth.boxes if n == image}


def _f1(said: set[str], true: set[str]) -> float:
    return 2 * len(said & true) / (len(said) + len(true)) if said or true else 1.0
