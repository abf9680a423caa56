"""Whether the teacher's answer is the known one."""

from __future__ import annotations

import re

from service.reading import Task
from training.data.example import Example
from training.data.teacher.polarity import polarity_of

_BETWEEN = re.compile(r"\s*(?:[|,;/]|\band\b)\s*")
_WORD = re.compile(r"[^\W_]+(?:[.-][^\W_]+)*|[<>]")
_EMPTY = frozenset(("a", "an", "the", "is", "are", "it", "there"))
_SAME = {"normally": "normal", "bilateral": "both", "bilaterally": "both", "nothing": "none"}


def answers_agree(example: Example, answer: str) -> bool:
    """Whether an answer says what the known one says.

    Answers to questions hold the same items, whatever their order, case, articles and stops; after
    a known "yes" or "no" a reason may follow. Report sections affirm the same findings on the same
    sides, and do not contradict each other.
    """
    if example.task is Task.VQA:
        known, said = _items(example.answer), _items(answer)
        if known <= {("yes",), ("no",)} and len(known) == 1:
            return [*_words(answer), ""][0] == next(iter(known))[0]
        return bool(known) and known == said
    if not answer.strip():
        return False
    said_of, known_of = polarity_of(answer), polarity_of(example.answer)
    return said_of.affirmed == known_of.affirmed and not said_of.contradicts(known_of)


def _items(answer: str) -> set[tuple[str, ...]]:
    """The listed items as sorted words each."""
    items = (tuple(sorted(_words(item))) for item in _BETWEEN.split(answer.lower()))
    return {item for item in items if item}


def _words(text: str) -> list[str]:
    words = (_SAME.get(word, word) for word in _WORD.findall(text.lower()))
    return [word for word in words if word not in _EMPTY]
