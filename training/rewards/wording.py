"""The right words, and neither too few nor too many of them."""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"[^\W_]+")
_APART = {code: " " for code in range(128) if not chr(code).isalnum()}
_SENTENCE = re.compile(r"[.;]+\s+|\n+")
_FULL_FROM, _FULL_TO, _NONE_BELOW, _NONE_ABOVE = 0.5, 1.75, 0.2, 3.0
"""Length as a share of the reference's: full marks between, none below and above."""


def count_words(text: str) -> Counter[str]:
    """How often each word stands in a text, case folded."""
    return Counter(_words(text))


def word_f1(said: str, wanted: Counter[str], length: int) -> float:
    """F1 of the words, counted and case-folded, less what the length is off; 0 to 1.

    Parameters
    ----------
    said
        The text.
    wanted, length
        Words of the reference, and how many they are.
    """
    words = _words(said)
    if not words or not length:
        return float(len(words) == length)
    left = dict(wanted)
    common = 0
    for word in words:
        if left.get(word):
            left[word] -= 1
            common += 1
    return 2 * common / (len(words) + length) * length_share(len(words) / length)


def length_share(ratio: float) -> float:
    """1 for a length about the reference's, falling to 0 for far too short and far too long."""
    if ratio < _FULL_FROM:
        return max(0.0, (ratio - _NONE_BELOW) / (_FULL_FROM - _NONE_BELOW))
    if ratio > _FULL_TO:
        return max(0.0, (_NONE_ABOVE - ratio) / (_NONE_ABOVE - _FULL_TO))
    return 1.0


def repeated(text: str) -> int:
    """How many of the sentences of a text have stood before."""
    spoken = _SENTENCE.split(text.casefold().strip(" .;\n"))
    if len(spoken) == len(set(spoken)):
        return 0
    said = [sentence for sentence in spoken if sentence]
    return len(said) - len(set(said))


def _words(text: str) -> list[str]:
    if text.isascii():  # the same, and faster
        return text.lower().translate(_APART).split()
    return _WORD.findall(text.casefold())
