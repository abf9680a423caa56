"""What the completions of one example are held against."""

from __future__ import annotations

from collections.abc import Iterator

from service.reading import Task, to_model_space
from training.data.example import Example
from training.labels import (
    clashes,
    finding_labels,
    kind_of,
    labels_of_source,
    read_findings,
    side_of,
)
from training.rewards.agreement import settled
from training.rewards.disguise import disguised
from training.rewards.geometry import Box
from training.rewards.protocol import Rollout
from training.rewards.step_words import structures_named, words_of
from training.rewards.wording import count_words, repeated, sentences

Place = tuple[int, str]
"""Index of an image, and a finding's kind or a structure's name."""


class Truth:
    """An example as the grounded reward reads it.

    Attributes
    ----------
    report
        Whether a report's section is asked for, not an answer.
    labels
        Findings that are there: of a report those that the reference affirms (those that the
        source marks where it says nothing of any), of a question those that the source marks.
    told
        What the reference itself says.
    told_nothing
        Of a report, whether its reference says nothing of any finding, nor that all is normal.
    words, length
        The reference's words, and how many they are.
    clashes, repeated, idle, disguised
        How many contradictions, sentences said twice and sentences or steps that name nothing the
        reference has itself, and whether words of it are written in letters of other scripts.
    reasons
        Whether the reference's steps name anything.
    question, asked
        The question, empty of a report, and the findings that it names.
    boxes
        Boxes by place, each with its side, in original pixels.
    due
        How many boxes are asked for by place; what the reference leaves unboxed is not.
    unboxed
        Kinds of findings that are there, but nobody knows where.
    places_known
        Whether boxes can be judged at all.
    expected
        Kinds that are due or unboxed.
    structures
        Boxes of structures, and of findings that the reference's steps deny, by place, as far as
        they are known.
    extents, scales
        For each image the box space's width and height, and what a column and a row of it are in
        original pixels with the film's area in that space.
    """

    def __init__(self, rollout: Rollout) -> None:
        example = rollout.example
        self.example = example
        self.report = example.task is not Task.VQA
        marked = frozenset(name for label in example.labels for name in labels_of_source(label))
        self.told = told = read_findings(example.answer)
        self.told_nothing = self.report and not told.affirmed and not told.normal
        tells = self.report and not self.told_nothing
        self.labels = settled(told.affirmed if tells else marked or told.affirmed)
        self.words = count_words(example.answer)
        self.length = self.words.length
        self.clashes = len(clashes(told.affirmed, told.denied))
        self.repeated = repeated(example.answer)
        named = [words_of(step.text).named for step in example.steps]
        self.reasons = any(named)
        idle = _idle_sentences(example.answer) if self.report else 0
        self.idle = max(named.count(frozenset()), idle)
        self.disguised = disguised(example.answer, ())
        self.question = example.question or ""
        self.asked = finding_labels(self.question)
        self._read_boxes(example)
        self.unboxed = {kind_of(label) for label in self.labels} - {kind for _, kind in self.boxes}
        self.expected = self.unboxed | {kind for _, kind in self.due}
        self.places_known = bool(self.boxes) or not self.unboxed
        self.extents: list[tuple[float, float]] = []
        self.scales: list[tuple[float, float, float]] = []
        for width, height in example.sizes:
            columns, rows = rollout.grid.size_for(width, height)
            _, _, across, down = to_model_space(
                (0, 0, columns, rows), columns, rows, rollout.conventions.box_space
            )
            self.extents.append((across, down))
            self.scales.append((width / across, height / down, across * down))

    def box_is_due(self, label: str) -> bool:
        """Whether a finding that is named must be shown, too."""
        return bool(self.boxes) and kind_of(label) not in self.unboxed

    def _read_boxes(self, example: Example) -> None:
        self.boxes: dict[Place, list[tuple[str | None, Box]]] = {}
        self.structures: dict[Place, list[Box]] = {}
        for image in range(len(example.images)):
            for label, (x0, y0, x1, y1) in example.regions_of(image):
                for name in labels_of_source(label):  # what no reader knows is asked of none
                    place = (image, kind_of(name))
                    self.boxes.setdefault(place, []).append((side_of(name), (x0, y0, x1, y1)))
        stepped: dict[Place, list[tuple[str | None, Box]]] = {}
        for image, text, box in _step_boxes(example):
            words = words_of(text)
            for label in words.affirmed:
                stepped.setdefault((image, kind_of(label)), []).append((side_of(label), box))
            for name in words.shown:
                self.structures.setdefault((image, name), []).append(box)
        self.due = {place: len(boxes) for place, boxes in stepped.items()}
        if self.report:
            marked = {place: len(boxes) for place, boxes in self.boxes.items() if place[0] == 0}
            self.due = marked | self.due
        self.boxes = stepped | self.boxes  # where no region is marked, the reference's step tells
        for label, (x0, y0, x1, y1) in example.structures:
            for name in structures_named(label):
                self.structures.setdefault((0, name), []).append((x0, y0, x1, y1))


def _idle_sentences(text: str) -> int:
    return sum(not words_of(sentence).named for sentence in sentences(text))


def _step_boxes(example: Example) -> Iterator[tuple[int, str, Box]]:
    for step in example.steps:
        for image, (x0, y0, x1, y1) in step.boxes:
            yield image, step.text, (x0, y0, x1, y1)
