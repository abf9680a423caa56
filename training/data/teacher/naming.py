"""Which of the supplied regions a step names, and which of them before each of its boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from itertools import permutations

from service.reading.brackets import find_brackets
from training.data.teacher.regions import Region
from training.data.teacher.words import singular, words_of

_SIDES = frozenset(("left", "right"))
_HEIGHTS = frozenset(("upper", "mid", "middle", "lower", "apical", "basal"))
_BOTH = "both"
_TO_BOTH = re.compile(r"\b(?:bilateral(?:ly)?|either|each)\b", re.I)
_PLACE = "|".join(sorted(_SIDES | _HEIGHTS))
_PAIR = re.compile(rf"\b({_PLACE}) (?:and|or|&) (?:the )?({_PLACE})\b", re.I)
"""*Left and right*, *upper or mid*: written as one word that means both."""
_MEANT = {
    _BOTH: _SIDES,
    **{a + b: {a, b} for places in (_SIDES, _HEIGHTS) for a, b in permutations(places, 2)},
}
_BESIDE = re.compile(r"\b(?:to the |(?<!the ))(?:left|right) of\b", re.I)
"""*Left of the heart* is no left heart."""
_WITH_A_SIDE = frozenset(("side", "sided"))
_CLAUSE = re.compile(
    r"[,;:]|\.(?!\d)|\b(?:and|but|while|whereas|although|though|however|yet)\b", re.I
)
_JUST_BEFORE = 2
"""Words before a name among which a side or height is its noun's own."""


def phrases_of(raw: str) -> Iterator[tuple[str, int]]:
    """For each box of a raw step the words that lead to it, and to how many boxes they lead.

    Boxes with nothing but *and* between them are led to by the same words; one that a step begins
    with, by all of the step.
    """
    brackets = [bracket for bracket in find_brackets(raw) if bracket.values is not None]
    ends = [0, *(bracket.end for bracket in brackets)]
    texts = [raw[end : bracket.start] for end, bracket in zip(ends, brackets, strict=False)]
    before: list[str] = []
    groups: list[list[str]] = []
    for text in texts:
        if groups and not words_of(text):
            groups[-1].append(text)
        else:
            groups.append([text])
    for group in groups:
        before += group
        leading = " ".join(before)
        if not words_of(leading):
            leading = " ".join([*texts, raw[ends[-1] :]])
        for _ in group:
            yield leading, len(group)


def named_in(text: str, regions: Sequence[Region], at_least: int = 1) -> list[Region]:
    """The regions that the end of a text names.

    A label is named by all of its words in one phrase, in any order, with no other side or height
    among them; of a sentence of a report half of its words do, with its sides. What is named within
    a longer label is not named itself: *the right lower lung zone* is not *the right lung*.

    Parameters
    ----------
    at_least
        Boxes. The last clause counts, and of those before it as many as name so many.
    """
    named: list[Region] = []
    clauses = _clauses(text, regions)
    for first in reversed(range(len(clauses))):
        named = _named([word for clause in clauses[first:] for word in clause], regions)
        if len({(region.image, region.box) for region in named}) >= at_least:
            break
    return named


def _clauses(text: str, regions: Sequence[Region]) -> list[list[str]]:
    """The words of every clause; *the heart, the left lung and the mediastinum are* is one."""
    labels = {_words(region.label) for region in regions}
    clauses: list[list[str]] = []
    goes_on = False
    for part in _CLAUSE.split(_with_places_joined(text)):
        words = [word for word in words_of(part) if word not in _WITH_A_SIDE]
        if not words:
            continue
        goes_on = bool(clauses) and (goes_on or _goes_on(words[0]))
        clauses.append([*clauses.pop(), *words] if goes_on else words)
        goes_on = frozenset(map(singular, words)) - {_BOTH} in labels
    return clauses


def _goes_on(word: str) -> bool:
    """Whether a clause goes on with the one before: *opaque, obscuring the heart*."""
    return word == "away" or word.endswith("ing")


def _named(words: list[str], regions: Sequence[Region]) -> list[Region]:
    said = [singular(word) for word in words]
    labels = {region.label for region in regions if not region.is_sentence}
    runs = {label: _runs(said, _wanted(words, label)) for label in labels}
    to_the_word = [
        (start, end, len(_words(label)))
        for label in labels
        for start, end in runs[label]
        if frozenset[str]().union(*map(_meant, said[start:end])) == _words(label)
    ]

    def is_named(region: Region) -> bool:
        if region.is_sentence:
            return _is_told(said, _wanted(words, region.label))
        length = len(_words(region.label))
        return any(
            not any(s <= start and end <= e and n > length for s, e, n in to_the_word)
            for start, end in runs[region.label]
        )

    return [region for region in regions if is_named(region)]


def _runs(said: list[str], wanted: Set[str]) -> list[tuple[int, int]]:
    """Begin and end of every shortest run of words that names what is wanted."""
    others = frozenset[str]().union(
        *(place - wanted for place in (_SIDES, _HEIGHTS) if not place.isdisjoint(wanted))
    )
    found: dict[int, int] = {}  # of runs with the same end the last is the shortest
    for start, first in enumerate(said):
        if wanted.isdisjoint(_meant(first)) or _is_bound(said, start, others):
            continue
        missing = set(wanted)
        for end in range(start, len(said)):
            if said[end] in others:
                break
            missing -= _meant(said[end])
            if not missing:
                found[end + 1] = start
                break
    return [(start, end) for end, start in found.items()]


def _is_bound(said: list[str], start: int, others: Set[str]) -> bool:
    """Whether a word has a side or height of its own before it, which is another."""
    own = next((place for place in (_SIDES, _HEIGHTS) if said[start] in place), frozenset[str]())
    before = said[max(0, start - _JUST_BEFORE) : start]
    return not (others - own).isdisjoint(before)


def _is_told(said: list[str], wanted: Set[str]) -> bool:
    told = wanted & frozenset[str]().union(*map(_meant, said))
    return bool(wanted) and wanted & _SIDES <= told and len(told) >= len(wanted) / 2


def _wanted(words: list[str], label: str) -> Set[str]:
    """The words of a label; without its side where a text says *the lungs* and no side."""
    wanted = _words(label)
    noun = [singular(word) for word in words_of(label)[-1:]]
    several = any(word not in noun and [singular(word)] == noun for word in words)
    if several and all(_SIDES.isdisjoint(_meant(word)) for word in words):
        return wanted - _SIDES
    return wanted


@lru_cache(maxsize=4096)
def _words(label: str) -> frozenset[str]:
    words = words_of(_with_places_joined(label))
    return frozenset[str]().union(*(_meant(singular(word)) for word in words))


def _meant(word: str) -> Set[str]:
    return _MEANT.get(word) or {word}


def _with_places_joined(text: str) -> str:
    return _BESIDE.sub("beside", _TO_BOTH.sub(_BOTH, _PAIR.sub(_as_one, text)))


def _as_one(pair: re.Match[str]) -> str:
    one = (pair[1] + pair[2]).lower()
    return one if one in _MEANT else pair[0]
