"""What can be shown of an answer while it comes."""

from __future__ import annotations

import re
from enum import Enum, auto

from service.reading.answer import without_announcement

_BOXED = re.compile(r"\\boxed\s{0,3}\{")
_TAIL = 24
_LONGEST_BEGINNING = 64
_BEGINNINGS = (
    "<think",
    "\\boxed{",
    "the answer is \\boxed{",
    "the answer is:\\boxed{",
    "the answer is: \\boxed{",
    "the final answer is \\boxed{",
    "the final answer is:\\boxed{",
    "the final answer is: \\boxed{",
    "answer: \\boxed{",
    "final answer: \\boxed{",
)


class _Phase(Enum):
    BEGINNING = auto()  # of a plain answer: it may still turn out to be boxed
    SEEK = auto()  # after reasoning: only what is boxed is the answer
    BOXED = auto()
    PLAIN = auto()
    DONE = auto()


class AnswerStream:
    """Gives out the contents of the first ``\\boxed{}``, or a plain answer, as they come.

    What it gives is for showing: where the text turns out to need a fallback, the answer of the
    whole reading differs and is the one that counts.

    Parameters
    ----------
    plain
        Whether a text that is not boxed is an answer.
    """

    def __init__(self, *, plain: bool) -> None:
        self._phase = _Phase.BEGINNING if plain else _Phase.SEEK
        self._window = ""
        self._space: list[str] = []  # held back, since nothing may follow it
        self._begun = False
        self._depth = 1
        self._escaped = False

    def feed(self, delta: str) -> str:
        """Return what can be shown because of more text."""
        if self._phase is _Phase.DONE:
            return ""
        if self._phase is _Phase.BEGINNING:
            delta = self._begin(delta)
        elif self._phase is _Phase.SEEK:
            delta = self._seek(delta)
        if self._phase is _Phase.BOXED:
            delta = self._inside(delta)
        return self._without_ends(delta)

    def finish(self) -> str:
        """Return what was held back because more might have come; nothing of a marker half said."""
        held, self._window = self._window, ""
        if self._phase is not _Phase.BEGINNING or held[:1] in ("<", "\\"):
            return ""
        self._phase = _Phase.DONE
        return self._without_ends(without_announcement(held))

    def _begin(self, delta: str) -> str:
        text = (self._window + delta).lstrip()
        so_far = " ".join(text.lower().split()) + (" " if text[-1:].isspace() else "")
        self._window = text
        if len(text) < _LONGEST_BEGINNING and any(
            beginning.startswith(so_far) and beginning != so_far for beginning in _BEGINNINGS
        ):
            return ""
        self._window = ""
        if text.lower().startswith("<think"):
            self._phase = _Phase.DONE
            return ""
        body = without_announcement(text) + (text[len(text.rstrip()) :])
        opening = _BOXED.match(body)
        if opening is not None:
            self._phase = _Phase.BOXED
            return body[opening.end() :]
        self._phase = _Phase.PLAIN
        return body

    def _seek(self, delta: str) -> str:
        text = self._window + delta
        opening = _BOXED.search(text)
        if opening is None:
            self._window = text[-_TAIL:]
            return ""
        self._phase, self._window = _Phase.BOXED, ""
        return text[opening.end() :]

    def _inside(self, delta: str) -> str:
        for position, character in enumerate(delta):
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character in "{}":
                self._depth += 1 if character == "{" else -1
                if self._depth == 0:
                    self._phase = _Phase.DONE
                    return delta[:position]
        return delta

    def _without_ends(self, text: str) -> str:
        """Leave out white space before the first word; hold it back until another comes."""
        if not self._begun:
            text = text.lstrip()
        if not text:
            return ""
        self._begun = True
        bare = text.rstrip()
        if not bare:
            self._space.append(text)
            return ""
        shown = "".join([*self._space, bare])
        self._space = [text[len(bare) :]]
        return shown
