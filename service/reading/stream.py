"""Read a grounded text as it comes; reading the whole is feeding it in one piece."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from service.reading.answer import (
    after_reasoning,
    before_announcement,
    find_answer,
    has_boxed,
    only_announces,
)
from service.reading.answer_stream import AnswerStream
from service.reading.boxes import image_after, read_step
from service.reading.canonical import read_canonical
from service.reading.conventions import Mode
from service.reading.notices import describe
from service.reading.step_splitter import StepSplitter
from service.reading.text import ParsedStep, ParsedText

_OPEN = re.compile(r"<\s{0,3}think\s{0,3}>", re.IGNORECASE)
_CLOSE = re.compile(r"<\s{0,3}/\s{0,3}think\s{0,3}>", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s{0,3}\{")
_TAIL = 24
"""A tag that is still coming is looked for in so many last characters."""
_PARTIAL_TAG = re.compile(r"<\s{0,3}/?\s{0,3}(?:t(?:h(?:i(?:nk?)?)?)?)?\s{0,3}$", re.IGNORECASE)
_PARTIAL_BOXED = re.compile(r"\\(?:b(?:o(?:x(?:e(?:d\s{0,3})?)?)?)?)?$")
_UNFINISHED = frozenset(("answer-unbalanced", "answer-empty", "cut-off"))


@dataclass(frozen=True, slots=True)
class StepRead:
    """A step of reasoning is certain."""

    step: ParsedStep


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """More of the answer, for showing while it comes; the answer of the whole reading counts."""

    text: str


class _State(Enum):
    SEEK = auto()  # think mode, nothing certain yet
    THINK = auto()
    HELD = auto()  # think-block in which \boxed{ came before </think>
    REST = auto()  # after the think-block
    PLAIN = auto()  # answer mode


class StreamParser:
    """Reads deltas; the result does not depend on how the text was cut.

    Parameters
    ----------
    mode
        Whether reasoning is expected.
    images
        How many images were shown.
    extents
        Width and height of each image in the checkpoint's box space, to flag what lies outside.
    shown
        Whether the answer is wanted as it comes; without, no :class:`AnswerDelta` is given.
    """

    def __init__(
        self,
        *,
        mode: Mode,
        images: int = 1,
        extents: Sequence[tuple[float, float]] | None = None,
        shown: bool = True,
    ) -> None:
        self._images = images
        self._extents = extents
        self._image = 0  # that the text is at
        self._state = _State.SEEK if mode is Mode.THINK else _State.PLAIN
        self._splitter = StepSplitter()
        self._steps: list[ParsedStep] = []
        self._pending: list[str] = []  # of the present state, not yet read
        self._window = ""
        self._codes: list[str] = []
        self._thought = ""  # of a closed think-block, what began with \boxed{ at the latest
        self._shown = AnswerStream(plain=mode is Mode.ANSWER) if shown else None

    def feed(self, delta: str) -> list[StepRead | AnswerDelta]:
        """Take more text and return what is certain because of it."""
        events: list[StepRead | AnswerDelta] = []
        while delta:
            delta = self._advance(delta, events)
        return events

    def shown_last(self) -> list[AnswerDelta]:
        """Return what was held back of an answer that has ended; to be asked before ``finish``."""
        shown = "" if self._shown is None else self._shown.finish()
        return [AnswerDelta(shown)] if shown else []

    def finish(self, finish_reason: str | None = None) -> ParsedText:
        """Return the whole reading; ``length`` as the reason says that the text was cut off."""
        rest = "".join(self._pending) + self._window
        if self._state is _State.PLAIN and (_OPEN.search(rest) or _CLOSE.search(rest)):
            return self._reasoned_unasked(rest, finish_reason)
        closed = self._state in (_State.REST, _State.PLAIN)
        if self._state is _State.PLAIN:
            answer = self._plain(rest)
        elif self._state is _State.REST:
            answer = self._after_think(rest)
        else:
            answer = self._unclosed(rest)
        if finish_reason == "length":
            self._codes.append("cut-off")
        if not answer:
            self._codes.append("answer-empty")
        flags = [flag for step in self._steps for flag in step.flags]
        flags += [flag for step in self._steps for box in step.boxes for flag in box.flags]
        return ParsedText(
            steps=tuple(self._steps),
            answer=answer,
            notices=tuple(describe(code) for code in dict.fromkeys(self._codes + flags)),
            complete=closed and not _UNFINISHED.intersection(self._codes),
        )

    # One state's share of a delta; what it returns belongs to the next state. ----------------

    def _advance(self, delta: str, events: list[StepRead | AnswerDelta]) -> str:
        if self._state in (_State.PLAIN, _State.REST):
            self._pending.append(delta)
            if self._shown is not None and (shown := self._shown.feed(delta)):
                events.append(AnswerDelta(shown))
            return ""
        return (
            self._seek(delta, events) if self._state is _State.SEEK else self._think(delta, events)
        )

    def _seek(self, delta: str, events: list[StepRead | AnswerDelta]) -> str:
        text = self._window + delta
        opening, closing = _OPEN.search(text), _CLOSE.search(text)
        if closing and (opening is None or closing.start() < opening.start()):
            self._codes.append("think-unopened")
            self._pending.append(text[: closing.start()])
            self._close(events)
            return text[closing.end() :]
        if opening:
            if "".join([*self._pending, text[: opening.start()]]).strip():
                self._codes.append("text-before-think")
            self._enter(_State.THINK)
            return text[opening.end() :]
        keep = _partial(_PARTIAL_TAG, text)
        self._pending.append(text[: len(text) - keep])
        self._window = text[len(text) - keep :]
        return ""

    def _think(self, delta: str, events: list[StepRead | AnswerDelta]) -> str:
        text = self._window + delta
        closing = _CLOSE.search(text)
        reasoning = text if closing is None else text[: closing.start()]
        if self._state is _State.THINK and (boxed := _BOXED.search(reasoning)):
            # It may be the answer of a block that never closes: wait and see.
            self._read(text[: boxed.start()], events)
            self._state, self._window = _State.HELD, ""
            return text[boxed.start() :]
        if closing:
            self._pending.append(reasoning)
            self._close(events)
            return text[closing.end() :]
        keep = max(_partial(_PARTIAL_TAG, text), _partial(_PARTIAL_BOXED, text))
        ready, self._window = text[: len(text) - keep], text[len(text) - keep :]
        if self._state is _State.THINK:
            self._read(ready, events)
        else:
            self._pending.append(ready)
        return ""

    def _close(self, events: list[StepRead | AnswerDelta]) -> None:
        self._thought = "".join(self._pending)
        self._read(self._thought, events)
        self._read_last(events)
        self._enter(_State.REST)

    def _enter(self, state: _State) -> None:
        self._state, self._pending, self._window = state, [], ""

    def _read(self, text: str, events: list[StepRead | AnswerDelta]) -> None:
        for raw in self._splitter.feed(text):
            self._add(raw, events)

    def _read_last(self, events: list[StepRead | AnswerDelta]) -> None:
        for raw in self._splitter.finish():
            self._add(raw, events)

    def _add(self, raw: str, events: list[StepRead | AnswerDelta]) -> None:
        step = read_step(raw, images=self._images, extents=self._extents, current=self._image)
        if self._images > 1:
            self._image = image_after(step, self._images, self._image)
        if step.text or step.boxes or step.flags:
            self._steps.append(step)
            events.append(StepRead(step))

    # Answers -----------------------------------------------------------------------------------

    def _plain(self, text: str) -> str:
        """Answer of a text without reasoning: what is boxed in it, else the text."""
        found = find_answer(text)
        self._codes += [code for code in found.codes if code != "answer-not-boxed"]
        self._check_beside(text[: found.start], text[found.end :])
        return found.text

    def _after_think(self, rest: str) -> str:
        """Answer of a text whose reasoning closed: after it, else boxed within it."""
        if not has_boxed(rest) and has_boxed(self._thought, balanced=True):
            found = find_answer(self._thought)
            self._codes += ("answer-in-think", *found.codes)
            self._check_beside(rest)
            return found.text
        rest = after_reasoning(rest)
        found = find_answer(rest)
        if rest:  # nothing at all is an empty answer, not one of another form
            self._codes += found.codes
        self._check_beside(rest[: found.start], rest[found.end :])
        return found.text

    def _unclosed(self, rest: str) -> str:
        """Answer of a think-text whose block never closed; what comes before it is reasoning."""
        self._codes.append("think-missing" if self._state is _State.SEEK else "think-unclosed")
        boxed = has_boxed(rest)
        if not boxed and self._state is not _State.SEEK:
            self._read(rest, [])
            self._read_last([])
            return ""
        found = find_answer(rest)
        self._codes += found.codes
        self._read(rest[: found.start], [])
        raws = self._splitter.finish()
        for raw in [*raws[:-1], *map(before_announcement, raws[-1:])]:
            self._add(raw, [])
        self._check_beside(rest[found.end :])
        return found.text

    def _check_beside(self, *texts: str) -> None:
        if not all(map(only_announces, texts)):
            self._codes.append("text-beside-answer")

    def _reasoned_unasked(self, text: str, finish_reason: str | None) -> ParsedText:
        """Read a text of answer mode that has a think-block as what it is."""
        parser = StreamParser(mode=Mode.THINK, images=self._images, extents=self._extents)
        parser._codes.append("think-unexpected")
        parser.feed(text)
        return parser.finish(finish_reason)


def _partial(pattern: re.Pattern[str], text: str) -> int:
    """How many last characters may be the beginning of what the pattern begins."""
    tail = text[-_TAIL:]
    match = pattern.search(tail)
    return len(tail) - match.start() if match else 0


def parse_text(
    text: str,
    *,
    mode: Mode,
    images: int = 1,
    finish_reason: str | None = None,
    extents: Sequence[tuple[float, float]] | None = None,
) -> ParsedText:
    """Read a whole text; see :class:`StreamParser`. Never raises, whatever the text."""
    ordinary = mode is Mode.THINK and images == 1 and finish_reason != "length"
    if ordinary and (read := read_canonical(text, extents=extents)) is not None:
        return read
    parser = StreamParser(mode=mode, images=images, extents=extents, shown=False)
    parser.feed(text)
    return parser.finish(finish_reason)
