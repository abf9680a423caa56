"""What a text affirms and what it denies, by the project's rule-based labeler."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from training.labels import finding_labels

DENIAL = re.compile(r"\b(no|not|without|free of|absent|negative for|clear of|neither|nor)\b", re.I)
_SIDED = re.compile(r"^(left|right) (.+)$")
_CLAUSE = re.compile(r"(?<=[.;])\s+")

Finding = tuple[str | None, str]
"""Side, where one is named, and kind."""


@dataclass(frozen=True)
class Polarity:
    """Findings that a text affirms and denies."""

    affirmed: frozenset[Finding] = frozenset()
    denied: frozenset[Finding] = frozenset()

    def __or__(self, other: Polarity) -> Polarity:
        """What either says."""
        return Polarity(self.affirmed | other.affirmed, self.denied | other.denied)

    def contradicts(self, other: Polarity) -> set[str]:
        """Kinds of which one denies what the other affirms, on a side that they share."""
        return _clashes(self.affirmed, other.denied) | _clashes(other.affirmed, self.denied)


def polarity_of(text: str) -> Polarity:
    """Read a text clause by clause: a finding named beside a denial is denied."""
    affirmed: set[Finding] = set()
    denied: set[Finding] = set()
    for clause in _CLAUSE.split(text):
        held = _findings(finding_labels(clause))
        # Without its denials, the clause affirms all that it names.
        named = _findings(finding_labels(DENIAL.sub(" ", clause)))
        affirmed |= held
        denied |= {f for f in named - held if DENIAL.search(clause)}
    return Polarity(frozenset(affirmed), frozenset(denied))


def affirmed_by_labels(labels: Iterable[str]) -> frozenset[Finding]:
    """Findings that a source's labels name."""
    return _findings(finding_labels(". ".join(labels)))


def _findings(labels: Iterable[str]) -> frozenset[Finding]:
    found: set[Finding] = set()
    for label in labels:
        sided = _SIDED.match(label)
        found.add((sided[1], sided[2]) if sided else (None, label))
    return frozenset(found)


def _clashes(affirmed: Iterable[Finding], denied: Iterable[Finding]) -> set[str]:
    refused = set(denied)
    # A denial without a side denies both; one with a side says nothing of the other.
    return {kind for side, kind in affirmed if (None, kind) in refused or (side, kind) in refused}
