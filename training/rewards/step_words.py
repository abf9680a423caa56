"""What a step of reasoning names: findings, denials, structures."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from training.labels import kind_of, read_findings, side_of
from training.rewards.padding import Bulk, bulk_of
from training.rewards.wording import sentences
from training.unlisted import affirms

_STRUCTURES = {
    "heart": r"hearts?|cardiac|cardiomediastin\w+",
    "lung": r"lungs?|lobes?|zones?|hemithora(?:x|ces)|apic(?:es|al)|apex|bas(?:e|es|al)",
    "trachea": r"trachea\w*|carina",
    "aorta": r"aort\w+",
    "mediastinum": r"mediastin\w+",
    "diaphragm": r"(?:hemi)?diaphragm\w*|costophrenic",
    "hilum": r"hil(?:um|a|ar)",
    "bone": r"spine|vertebra\w*|ribs?|clavicles?|scapula\w*|bon(?:e|es|y)|osseous",
    "pleura": r"pleura\w*",
    "device": r"pacemaker|tubes?|catheters?|lines?|devices?|wires?|leads?",
}
_NAMED = re.compile(rf"\b(?:{'|'.join(f'(?P<{n}>{p})' for n, p in _STRUCTURES.items())})\b", re.I)


@dataclass(frozen=True, slots=True)
class StepWords:
    """What a step names.

    Attributes
    ----------
    affirmed, denied
        Labels; of those denied, not what is denied of a kind alone (*no acute fracture*).
    findings
        Kind and side of those affirmed, and what else the film's regions show: :func:`words_about`.
    structures
        Names of structures, where no finding is affirmed.
    shown
        What boxes show where no finding is affirmed: structures, or where a finding is not.
    named
        All of these.
    sentences
        Of the text, those of two words and more, in small letters and without their signs.
    bulk
        How long it is.
    """

    affirmed: frozenset[str]
    denied: frozenset[str]
    findings: tuple[tuple[str, str | None], ...]
    structures: tuple[str, ...]
    shown: tuple[str, ...]
    named: frozenset[str]
    sentences: tuple[str, ...]
    bulk: Bulk


@lru_cache(maxsize=65_536)
def words_of(text: str) -> StepWords:
    """Read a step's text."""
    found = read_findings(text)
    findings = tuple((kind_of(label), side_of(label)) for label in sorted(found.affirmed))
    structures = () if findings else structures_named(text)
    denied = () if findings else sorted({kind_of(label) for label in found.denied})
    shown = (*structures, *denied)
    named = found.affirmed.union(found.denied, structures)
    told = tuple(said for said in sentences(text.casefold()) if " " in said)
    flatly = found.flatly_denied
    return StepWords(
        found.affirmed, flatly, findings, structures, shown, named, told, bulk_of(text)
    )


@lru_cache(maxsize=65_536)
def words_about(
    text: str, unlisted: tuple[str, ...], alternatives: tuple[tuple[str, str], ...]
) -> StepWords:
    """Read a step's text about a film with regions that :mod:`training.labels` has no kinds for.

    Parameters
    ----------
    unlisted
        Names of such regions' findings: each is a kind, without a side.
    alternatives
        Kinds in place of which another stands: a region of *Nodule/Mass* is either.
    """
    words = words_of(text)
    stands_for = dict(alternatives)
    findings = [(stands_for.get(kind, kind), side) for kind, side in words.findings]
    own = [name for name in unlisted if affirms(text, name)]
    findings += [(name, None) for name in own]
    return replace(
        words,
        findings=tuple(dict.fromkeys(findings)),
        structures=() if own else words.structures,
        shown=() if own else words.shown,
        named=words.named.union(own),
    )


def structures_named(text: str) -> tuple[str, ...]:
    """Structures of the chest that a text names, in this module's words."""
    return tuple(dict.fromkeys(str(match.lastgroup) for match in _NAMED.finditer(text)))
