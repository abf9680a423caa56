"""What the completions of one example are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial

from service.reading import Prompts, Task, to_model_space
from training.data.example import Example
from training.labels import (
    clashes,
    finding_labels,
    kind_of,
    labels_of_source,
    questions_in,
    read_findings,
)
from training.rewards.agreement import elsewhere, kindred, kinds, settled, share_led_to
from training.rewards.change import changes_told, tells_of_change
from training.rewards.disguise import disguised
from training.rewards.equivalence import asks_for_presence_alone, asks_more, is_closed, says_yes
from training.rewards.geometry import Box
from training.rewards.padding import bulk_allowed, idle_steps_in
from training.rewards.predicates import FILMS, film_called_normal
from training.rewards.protocol import Rollout
from training.rewards.step_words import StepWords, structures_named, words_about, words_of
from training.rewards.wording import count_words, sentences
from training.unlisted import affirms, listed_kinds, own_name, places_of_region

_STEPS_WITHOUT_REFERENCE = 8
_LED_TO_AT_LEAST = 0.5
_WORDS_OF_AN_INSTRUCTION = 5
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
    words_of
        What a step about these films names.
    stepped
        What the reference's steps affirm.
    led_to
        How far the reference's report follows from them, half at least; 1 where they
        affirm nothing.
    one_film
        Whether there is no film but that in question.
    known
        Of a question on a film that is marked, the kinds of findings that its steps may affirm:
        those marked, those of the reference's steps, and the one asked about where it is there,
        with other words for their shadows.
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
    instructions
        Words of each sentence of the prompt, case folded: no report holds them all.
    kin
        Kinds of its labels, with other words for their shadows.
    changes
        How the reference's report tells its findings to have changed, by their kinds.
    questions
        How many the reference's report asks itself.
    steps_expected, bulk_allowed
        How many steps a completion may well have, and how long it may be.
    repeated, idle, disguised, normal
        How many sentences said twice and sentences or steps that name nothing the reference has
        itself (a long one counts as several), whether words of it are written in letters of other
        scripts, and whether it calls the film normal as a whole.
    reasons
        Whether the reference's steps name anything.
    question, asked
        The question, empty of a report, and the findings that it names.
    presence, presence_alone
        Whether a *yes* says that the one finding asked about is there, and a *no* that it is not.
    unlisted
        Names of findings whose regions are marked and that the vocabulary has no kind for.
    alternatives
        Of the kinds that one region's label names with a slash, those that the first stands for.
    boxes
        Boxes by place, each with its side, in original pixels.
    due
        How many boxes are asked for by place; what the reference leaves unboxed is not.
    unboxed
        Kinds of findings that are there, but nobody knows where.
    places_known
        Whether boxes can be judged at all.
    expected
        Kinds that are due or unboxed, and alternatives of those.
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

    __slots__ = (  # more than Python's fast dictionaries of attributes hold
        *("example", "one_film", "report", "told", "told_nothing", "labels", "words", "length"),
        *("unlisted", "alternatives", "words_of", "stepped", "question", "asked", "presence"),
        *(
            "steps_expected",
            "bulk_allowed",
            "questions",
            "changes",
            "kin",
            "instructions",
            "led_to",
            "presence_alone",
            "clashes",
            "step_clashes",
            "normal",
            "repeated",
            "reasons",
            "idle",
        ),
        *("disguised", "known", "boxes", "structures", "due", "others", "unboxed"),
        *("expected", "elsewhere", "places_known", "extents", "scales"),
    )

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
        self._name_regions()
        steps = [self.words_of(step.text) for step in example.steps]
        self.stepped = frozenset[str]().union(*(words.affirmed for words in steps))
        self.led_to = 1.0
        if self.report and self.stepped and self.stepped != told.affirmed:
            led_to = share_led_to(self.stepped, self.stepped, told.affirmed, True)
            self.led_to = max(_LED_TO_AT_LEAST, led_to)
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
        self.repeated = self.words.repeated
        self.reasons = any(words.named for words in steps)
        own_idle = sum(idle_steps_in(words.bulk.size) for words in steps if not words.named)
        idle = _idle_sentences(example.answer) if self.report else 0
        self.idle = max(own_idle, idle)
        texts = [step.text for step in example.steps]
        self.steps_expected = len(texts) or _STEPS_WITHOUT_REFERENCE
        self.bulk_allowed = bulk_allowed(example.answer, texts, self.steps_expected, self.report)
        self.kin = kindred(self.labels)
        self.instructions = _instructions(rollout.conventions.prompts) if self.report else ()
        may_tell = self.report and tells_of_change(self.words.words)
        self.changes = changes_told(example.answer) if may_tell else {}
        self.questions = questions_in(example.answer)
        self.disguised = disguised(example.answer, ())
        self.known = None if self.report else self._known(marked)
        self._read_boxes(example)
        self.others = frozenset[Place]() if self.report else self._not_asked_for()
        self.unboxed = {kind_of(label) for label in self.labels} - {kind for _, kind in self.boxes}
        self.expected = self.unboxed | {kind for _, kind in self.due}
        self.expected |= {kind for kind, of in self.alternatives.items() if of in self.expected}
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

    def _not_asked_for(self) -> frozenset[Place]:
        answer, question = self.example.answer, self.question
        about = kinds(self.asked | self.told.affirmed).union(
            name for name in self.unlisted if affirms(question, name) or affirms(answer, name)
        )
        return frozenset(
            place for place in self.boxes if place not in self.due and place[1] not in about
        )

    def _name_regions(self) -> None:
        labels = {
            label
            for image in range(len(self.example.images))
            for label, _ in self.example.regions_of(image)
        }
        unlisted = {own_name(label) for label in labels if not listed_kinds(label)}
        self.unlisted = tuple(sorted(unlisted))
        first: dict[str, str] = {}
        for label in sorted([label for label in labels if "/" in label]):
            either = {first.get(kind, kind) for kind in listed_kinds(label)}
            first = {kind: min(either) if of in either else of for kind, of in first.items()}
            first |= {kind: min(either) for kind in either}
        self.alternatives = {kind: of for kind, of in first.items() if kind != of}
        self.words_of: Callable[[str], StepWords] = words_of
        if self.unlisted or self.alternatives:
            alternatives = tuple(self.alternatives.items())
            self.words_of = partial(words_about, unlisted=self.unlisted, alternatives=alternatives)

    def _read_what_is_asked(self) -> None:
        question, asked = self.question, self.asked
        self.presence = self.presence_alone = False
        if len(asked) == 1 and is_closed(self.example.answer):
            self.presence = not asks_more(question, asked)
            self.presence_alone = self.presence and asks_for_presence_alone(question)

    def box_is_due(self, label: str) -> bool:
        """Whether a finding that is named must be shown, too."""
        return bool(self.boxes) and kind_of(label) not in self.unboxed

    def regions_on(self, image: int) -> Iterator[tuple[str | None, Box]]:
        """All boxes of the source and of the reference's steps on an image, with the name of those
        of :attr:`unlisted`.
        """
        for label, (x0, y0, x1, y1) in self.example.regions_of(image):
            yield None if listed_kinds(label) else own_name(label), (x0, y0, x1, y1)
        for index, _, box in _step_boxes(self.example):
            if index == image:
                yield None, box

    @staticmethod
    def of_current_film(images: Iterable[int]) -> bool:
        """Whether a step with boxes on these of several images is about the film in question.

        One without boxes may be about any of them.
        """
        return set(images) == {0}

    def _known(self, marked: frozenset[str]) -> frozenset[str] | None:
        example = self.example
        if not (marked or example.regions or example.regions_by_image or example.structures):
            return None
        known = marked | self.stepped
        if says_yes(example.answer, self.asked, self.question) is not False:
            known |= self.asked | self.told.affirmed
        return kindred(known)

    def _either(
        self, places: Iterable[tuple[str, str | None]]
    ) -> tuple[tuple[str, str | None], ...]:
        """Kinds and sides, with one kind in place of its alternatives."""
        return tuple(dict.fromkeys((self.alternatives.get(of, of), side) for of, side in places))

    def _read_boxes(self, example: Example) -> None:
        self.boxes: dict[Place, list[tuple[str | None, Box]]] = {}
        self.structures: dict[Place, list[Box]] = {}
        told = {name for name in self.unlisted if affirms(example.answer, name)}
        for image in range(len(example.images)):
            for label, (x0, y0, x1, y1) in example.regions_of(image):
                places = places_of_region(label)
                if self.alternatives:
                    places = self._either(places)
                for kind, side in places:
                    self.boxes.setdefault((image, kind), []).append((side, (x0, y0, x1, y1)))
        stepped: dict[Place, list[tuple[str | None, Box]]] = {}
        for image, text, box in _step_boxes(example):
            words = self.words_of(text)
            for kind, side in words.findings:
                stepped.setdefault((image, kind), []).append((side, box))
                told.add(kind)
            for name in words.shown:
                self.structures.setdefault((image, name), []).append(box)
        self.due = {  # each box of a step that names two findings is of one of them
            place: min(len(boxes), len(self.boxes.get(place, boxes)))
            for place, boxes in stepped.items()
        }
        if self.report:
            untold = {*self.unlisted} - told  # what nobody tells of is asked of nobody
            marked = {
                place: len(boxes)
                for place, boxes in self.boxes.items()
                if place[0] == 0 and place[1] not in untold
            }
            self.due = marked | self.due
        self.boxes = stepped | self.boxes  # where no region is marked, the reference's step tells
        for label, (x0, y0, x1, y1) in example.structures:
            for name in structures_named(label):
                self.structures.setdefault((0, name), []).append((x0, y0, x1, y1))


@lru_cache(maxsize=64)
def _instructions(prompts: Prompts) -> tuple[frozenset[str], ...]:
    """Words of each sentence that a report is asked for with, long enough to be known by them."""
    told = (prompts.findings, prompts.impression, prompts.think_instruction)
    words = [
        frozenset(word for word in count_words(said).words if isinstance(word, str))
        for text in told
        for said in sentences(text)
    ]
    return tuple(sentence for sentence in words if len(sentence) >= _WORDS_OF_AN_INSTRUCTION)


def _idle_sentences(text: str) -> int:
    return sum(not words_of(sentence).named for sentence in sentences(text))


def _step_boxes(example: Example) -> Iterator[tuple[int, str, Box]]:
    for step in example.steps:
        for image, (x0, y0, x1, y1) in step.boxes:
            yield image, step.text, (x0, y0, x1, y1)
