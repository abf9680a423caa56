"""The named boxes that the teacher may cite, and which of them a step names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from training.data.example import Box, Example

_WORD = re.compile(r"[a-z]+")
_SAME = (
    (re.compile(r"\bcardiac silhouettes?\b|\bcardiomegaly\b|\bcardiac\b"), "heart"),
    (re.compile(r"\bhemithorax\b|\bpulmonary\b"), "lung"),
    (re.compile(r"\bsulcus\b"), "angle"),
    (re.compile(r"\bhemi-?diaphragms?\b"), "diaphragm"),
    (re.compile(r"\bett\b"), "endotracheal tube"),
    # On a chest film an effusion is a pleural one unless it is called pericardial.
    (re.compile(r"(?<!pleural )(?<!pericardial )\beffusion"), "pleural effusion"),
)
_SMALL = frozenset(("a", "an", "and", "at", "in", "is", "of", "on", "or", "the", "to", "with"))
_SIDES = ("left", "right")
_BOTH = {"both", "bilateral"}


@dataclass(frozen=True)
class Region:
    """A box of a film and what it shows.

    Attributes
    ----------
    image
        Index from 0 of the film.
    box
        In original pixels of it.
    is_sentence
        Whether the label is a sentence of a report, which a step may word otherwise.
    """

    image: int
    label: str
    box: Box
    is_sentence: bool = False

    def is_named_in(self, text: str) -> bool:
        """Whether a text names the region: every word of the label stands in it, in some form.

        Of a sentence it is half of the words. The side, where there is one, must always stand
        there, unless the text speaks of both sides at once ("both lungs", "the lungs").
        """
        said, wanted = _words(text), _words(self.label)
        if said & _BOTH or (not said & set(_SIDES) and _speaks_of_several(text, self.label)):
            said |= set(_SIDES)
        if not wanted or not (wanted & set(_SIDES)) <= said:
            return False
        return len(wanted & said) >= len(wanted) * (0.5 if self.is_sentence else 1)


def regions_of(example: Example) -> tuple[Region, ...]:
    """Everything that the example says is somewhere: findings, structures, grounded sentences."""
    found: list[Region] = []
    for image in range(len(example.images)):
        found += [Region(image, label, box) for label, box in example.regions_of(image)]
    found += [Region(0, label, box) for label, box in example.structures]
    for sentence in example.grounded_sentences:
        found += [Region(image, sentence.text, box, True) for image, box in sentence.boxes]
    return tuple(dict.fromkeys(found))


def _speaks_of_several(text: str, label: str) -> bool:
    """Whether a text has the plural of a label's noun, its last word."""
    noun = _all_words(label)[-1:]
    return any(word not in noun and [_singular(word)] == noun for word in _all_words(text))


def _words(text: str) -> set[str]:
    return {_singular(word) for word in _all_words(text)} - _SMALL


def _all_words(text: str) -> list[str]:
    plain = text.lower()
    for pattern, word in _SAME:
        plain = pattern.sub(word, plain)
    return _WORD.findall(plain)


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word
