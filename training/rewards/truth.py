"""What the completions of one example are held against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
from training.rewards.agreement import elsewhere, kinds, settled
from training.rewards.disguise import disguised
from training.rewards.equivalence import asks_for_presence_alone, asks_more, is_closed, says_yes
from training.rewards.geometry import Box
from training.rewards.predicates import FILMS, film_called_normal
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
    stepped
        What the reference's steps affirm.
    one_film
        Whether there is no film but that in question.
    known
        Of a question on a film that is marked, the kinds of findings that its steps may affirm:
        those marked, those of the reference's steps, and the one asked about where it is there.
        None where nobody knows.
    elsewhere
        Labels on the side on which a finding is not that is known on the other.
    told_nothing
        Of a report, whether its reference says nothing of any finding, nor that all is normal.
    words, length
        The reference's words, and how many they are.
    clashes, step_clashes
        Labels that the reference's answer contradicts, itself or its steps; the same with those
        that its steps contradict between them.
    repeated, idle, disguised, normal
        How many sentences said twice and sentences or steps that name nothing the reference has
        itself, whether words of it are written in letters of other scripts, and whether it calls
        the film normal as a whole.
    reasons
        Whether the reference's steps name anything.
    question, asked
        The question, empty of a report, and the findings that it names.
    presence, presence_alone
        Whether a *yes* says that the one finding asked about is there, and a *no* that it is not.
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
    others
        Places of findings that a question is not about: a box there is neither paid nor held
        against anybody.
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
        self.one_film = len(example.images) == 1
        self.report = example.task is not Task.VQA
        marked = frozenset(name for label in example.labels for name in labels_of_source(label))
        self.told = told = read_findings(example.answer)
        self.told_nothing = self.report and not told.affirmed and not told.normal
        tells = self.report and not self.told_nothing
        self.labels = settled(told.affirmed if tells else marked or told.affirmed)
        self.words = count_words(example.answer)
        self.length = self.words.length
        steps = [words_of(step.text) for step in example.steps]
        self.stepped = frozenset[str]().union(*(words.affirmed for words in steps))
        current = [
            words
            for words, step in zip(steps, example.steps, strict=True)
            if self.one_film or self.of_current_film(image for image, _ in step.boxes)
        ]
        affirmed = frozenset[str]().union(*(words.affirmed for words in current))
        denied = frozenset[str]().union(*(words.denied for words in current))
        self.question = example.question or ""
        self.asked = finding_labels(self.question)
        self._read_what_is_asked()
        verdict = says_yes(example.answer, self.asked, self.question) if self.presence else None
        holds = told.affirmed | (self.asked if verdict else frozenset())
        lacks = told.denied | (self.asked if verdict is False else frozenset())
        self.clashes = clashes(holds | affirmed, lacks) | clashes(holds, denied)
        self.step_clashes = self.clashes | clashes(affirmed, denied)
        named_film = not FILMS.isdisjoint(self.words.words)
        self.normal = named_film and film_called_normal(example.answer)
        self.repeated = repeated(example.answer)
        named = [words.named for words in steps]
        self.reasons = any(named)
        idle = _idle_sentences(example.answer) if self.report else 0
        self.idle = max(named.count(frozenset()), idle)
        self.disguised = disguised(example.answer, ())
        self.known = None if self.report else self._known(marked)
        self._read_boxes(example)
        about = kinds(self.asked | told.affirmed)
        self.others = frozenset(
            place
            for place in self.boxes
            if not self.report and place not in self.due and place[1] not in about
        )
        self.unboxed = {kind_of(label) for label in self.labels} - {kind for _, kind in self.boxes}
        self.expected = self.unboxed | {kind for _, kind in self.due}
        sided = [
            f"{side} {kind}" if side else kind
            for (_, kind), boxes in self.boxes.items()
            for side, _ in boxes
        ]
        self.elsewhere = elsewhere(self.labels.union(self.stepped, sided))
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

    def _read_what_is_asked(self) -> None:
        question, asked = self.question, self.asked
        self.presence = self.presence_alone = False
        if len(asked) == 1 and is_closed(self.example.answer):
            self.presence = not asks_more(question, asked)
            self.presence_alone = self.presence and asks_for_presence_alone(question)

    def box_is_due(self, label: str) -> bool:
        """Whether a finding that is named must be shown, too."""
        return bool(self.boxes) and kind_of(label) not in self.unboxed

    @staticmethod
    def of_current_film(images: Iterable[int]) -> bool:
        """Whether a step with boxes on these of several images is about the film in question.

        One without boxes may be about any of them.
        """
        return set(images) == {0}

    def _known(self, marked: frozenset[str]) -> set[str] | None:
        example = self.example
        if not (marked or example.regions or example.regions_by_image or example.structures):
            return None
        known = kinds(marked | self.stepped)
        if says_yes(example.answer, self.asked, self.question) is not False:
            known |= kinds(self.asked | self.told.affirmed)
        return known

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
