"""Which way findings are told to have changed since an earlier film."""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache

from training.labels import kind_of, read_findings
from training.rewards.wording import sentences

_WAYS = {
    "larger": r"increas\w+|larger|bigger|greater|wors\w+|progress(?:ed|ing|ion)|grown|doubled"
    r"|more extensive",
    "smaller": r"decreas\w+|smaller|improv\w+|regress\w+|shrunk|reduc\w+|less|lessened|diminish\w+"
    r"|receded|better|resolving|(?:partially|partly|nearly|almost) (?:resolved|cleared)",
    "unchanged": r"unchanged|stable|similar|the same|persists|persistent",
    "new": r"new|newly",
}
_CHANGE = re.compile(
    r"\b(?:(?P<none>(?:no|not|without)(?: (?:\w+ly|any|significant|interval|further|appreciable"
    r"|substantial|definite|been|relevant))*"
    rf" (?:chang\w+|differ\w+|{_WAYS['larger']}|{_WAYS['smaller']}))"
    + "".join(rf"|(?P<{way}>{words})" for way, words in _WAYS.items())
    + r")\b(?! (?:lung )?(?:markings?|densit\w+|opaci\w+|attenuation|lucency))",
    re.I,
)


_CLAUSE = re.compile(r",|\b(?:and|but|while|whereas|with)\b", re.I)
_TELLING = frozenset(
    (
        *("increase", "increased", "increases", "increasing", "larger", "bigger", "worse"),
        *("worsen", "worsened", "worsening", "worsens", "progressed", "progressing", "grown"),
        *("progression", "extensive", "decrease", "decreased", "decreases", "decreasing"),
        *("smaller", "improve", "improved", "improves", "improving", "improvement", "regressed"),
        *("regressing", "regression", "shrunk", "reduced", "reduction", "resolving", "unchanged"),
        *(
            "greater",
            "doubled",
            "less",
            "lessened",
            "diminished",
            "diminishing",
            "receded",
            "better",
        ),
        *("partially", "partly", "nearly", "almost", "persists", "persistent", "new", "newly"),
        *("stable", "similar", "same", "change", "changed", "changes", "difference", "different"),
    )
)
"""Words of which one stands in every text that tells of a change."""


def tells_of_change(words: Set[object]) -> bool:
    """Whether a text of these words, case folded, may tell of one."""
    return not words.isdisjoint(_TELLING)


@lru_cache(maxsize=4096)
def changes_told(text: str) -> dict[str, frozenset[str]]:
    """For kinds of findings, ``larger``, ``smaller`` or ``unchanged`` as a text tells of them.

    Or ``new``. A kind is left out where nothing is told of its change. Of a sentence, what a clause
    tells is told of the findings that it affirms, and of those before it of which nothing is.
    """
    if not _CHANGE.search(text):
        return {}
    told: dict[str, set[str]] = {}
    for sentence in sentences(text):
        waiting: set[str] = set()
        for clause in _CLAUSE.split(sentence):
            ways = {
                "unchanged" if change.lastgroup == "none" else str(change.lastgroup)
                for change in _CHANGE.finditer(clause)
            }
            waiting |= {kind_of(label) for label in read_findings(clause).affirmed}
            if ways:  # *effusion and consolidation have increased*: of both
                for kind in waiting:
                    told.setdefault(kind, set()).update(ways)
                waiting.clear()
    return {kind: frozenset(ways) for kind, ways in told.items()}


def changed_otherwise(said: str, reference: dict[str, frozenset[str]]) -> int:
    """Of how many kinds a text tells another change than the reference does."""
    told = changes_told(said)
    return sum(kind in told and told[kind].isdisjoint(ways) for kind, ways in reference.items())
