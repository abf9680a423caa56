"""The words of a text as a teacher may vary them: synonyms as one, without articles, singular."""

from __future__ import annotations

import re

_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?")
_SAME = (
    (re.compile(r"\bcardiac silhouettes?\b|\bcardiomegaly\b|\bcardiac\b"), "heart"),
    (re.compile(r"\bhemithorax\b|\bpulmonary\b"), "lung"),
    (re.compile(r"\bsulcus\b"), "angle"),
    (re.compile(r"\bhemi-?diaphragm"), "diaphragm"),
    (re.compile(r"\bhila\b|\bhilar structures\b"), "hilums"),
    (re.compile(r"\bett\b|\bet tube\b"), "endotracheal tube"),
    (re.compile(r"['\u2019]s\b"), ""),
    # On a chest film an effusion is a pleural one unless it is called pericardial.
    (re.compile(r"(?<!pleural )(?<!pericardial )\beffusion"), "pleural effusion"),
)
_SMALL = frozenset(("a", "an", "and", "at", "in", "is", "of", "on", "or", "the", "to", "with"))


def words_of(text: str) -> list[str]:
    """Words in their order, as they stand but for synonyms."""
    plain = text.lower()
    for pattern, word in _SAME:
        plain = pattern.sub(word, plain)
    return [word for word in _WORD.findall(plain) if word not in _SMALL]


def singular(word: str) -> str:
    """A word without the ending of its plural."""
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word
