"""Findings that a data set marks and :mod:`training.labels` has no kind for.

Each is a kind of its own, by the name that its data set gives it, and is looked for as it is
called: *Tortuous aorta* in *The aorta is tortuous*.
"""

from __future__ import annotations

import re
from functools import lru_cache

from training.labels import finding_labels, kind_of, labels_of_source, side_of
from training.negation import SENTENCE_ENDS, negations, polarity, turns

OTHER_NAMES = {
    "ild": ("interstitial lung diseases?",),
    "infiltration": (),
    "calcification": ("calcifications", "calcified"),
    "lung cavity": (
        r"(?<!pleural )(?<!thoracic )(?<!chest )(?<!abdominal )(?<!peritoneal )cavit(?:y|ies)",
        "cavitary lesions?",
    ),
    "lung cyst": ("(?:lung|pulmonary) cysts?",),
    "enlarged pa": ("enlarged pulmonary arter(?:y|ies)", "pulmonary artery enlargement"),
    "mediastinal shift": ("shift of the mediastinum",),
    "other lesion": ("other lesions",),
}
"""VinDr-CXR's findings of this sort, and how else they are named."""
_BETWEEN = (
    r"(?:\s+(?:is|are|was|were|appears?|looks?|remains?|of|in|the|left|right|both|bilateral|upper"
    r"|mid|middle|lower|\w+ly)){1,5}\s+"
)
"""What stands between a name's words where their order is turned."""
_NOT_WITHIN = r"(?<!\bon )(?<!\bin )(?<!\bat )"
"""Before a turned order: *the heart on PA is enlarged* says it of the heart."""


@lru_cache(maxsize=65_536)
def listed_kinds(label: str) -> frozenset[str]:
    """Kinds of the vocabulary that a source's label stands for."""
    return frozenset(kind_of(name) for name in labels_of_source(label) | finding_labels(label))


def own_name(label: str) -> str:
    """A source's label as the name of a kind: in small letters, without a side."""
    return kind_of(" ".join(label.replace("_", " ").lower().split()))


@lru_cache(maxsize=65_536)
def places_of_region(label: str) -> tuple[tuple[str, str | None], ...]:
    """Kinds, each with its side, of what a source's label stands for."""
    names = labels_of_source(label) if listed_kinds(label) else (own_name(label),)
    return tuple((kind_of(name), side_of(name)) for name in names)


def kinds_of_region(label: str) -> frozenset[str]:
    """Findings that a source's label stands for; the label itself where it is none of ours."""
    return listed_kinds(label) or frozenset((own_name(label),))


@lru_cache(maxsize=65_536)
def affirms(text: str, name: str) -> bool:
    """Whether a text says that a finding of this name is there."""
    return any(
        polarity(sentence, match.start(), match.end(), denials, turns(sentence, denials))
        for sentence in SENTENCE_ENDS.split(text)
        for denials in [negations(sentence)]
        for match in _pattern(name).finditer(sentence)
    )


@lru_cache(maxsize=4096)
def _pattern(name: str) -> re.Pattern[str]:
    """The name's words in their order, or with the first or the last at the other end."""
    words = [rf"{re.escape(word)}(?:e?s)?(?![^\W_])" for word in name.split()]
    orders = [r"[\s_/-]+".join(words)]
    if len(words) > 1:
        orders += [
            _NOT_WITHIN + r"[\s_/-]+".join(words[1:]) + _BETWEEN + words[0],
            _NOT_WITHIN + words[-1] + _BETWEEN + r"[\s_/-]+".join(words[:-1]),
        ]
    others = (f"{other}(?!\\w)" for other in OTHER_NAMES.get(name, ()))
    return re.compile(rf"(?<!\w)(?:{'|'.join((*orders, *others))})", re.I)
