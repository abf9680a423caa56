"""What a closed question asks of the film beyond whether a finding is there.

*Are the lungs clear?*, *Has the effusion resolved?*, *Is the mass larger?*: an answer in a sentence
says yes where it says the same of the same, and no where it says the opposite.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache

from training.labels import KINDS, Findings, read_findings
from training.rewards.agreement import affirm, deny, kinds
from training.rewards.step_words import structures_named

_NEGATIONS = frozenset(("no", "not", "never", "without", "isn", "aren", "none", "nor", "neither"))
_SIDES = frozenset(("left", "right"))
_OF_HEART = frozenset(("cardiomegaly",))
_OF_LUNG = frozenset(
    (
        *("consolidation", "nodule", "opacity", "atelectasis", "edema", "pneumonia", "mass"),
        *("lesion", "fibrosis", "emphysema", "granuloma"),
    )
)
_OF_ALL = re.compile(r"\b(?:chest|films?|radiographs?|x-?rays?|study|exam\w*|images?)\b", re.I)
FILMS = frozenset(
    (
        *("chest", "film", "films", "radiograph", "radiographs", "xray", "xrays", "ray", "rays"),
        *("study", "exam", "examination"),
    )
)
"""Words of which one stands in every text that calls a film normal."""
_FILM = r"(?:chest|films?|radiographs?|x-?rays?|study|exam(?:ination)?)"
_CALLED_NORMAL = re.compile(
    rf"\b(?:normal|unremarkable|clear|negative)(?: chest)? {_FILM}\b(?! wall| cage| tube)"
    rf"|\b{_FILM} (?:is|are|was|were|appears?|looks?)(?: completely| entirely)?"
    r" (?:normal|unremarkable|clear|negative)\b(?! for| in| of)",
    re.I,
)
_NOT_OF_THIS_FILM = re.compile(
    r"\b(?:no|not|otherwise|except|apart|aside|other than|prior|previous|earlier|old|last)\b", re.I
)
_SENTENCE_END = re.compile(r"[.;!?\n]")
_NOTHING_FOUND = re.compile(
    r"\bno (?:evidence of |signs? of )?(?:an? )?(?:(?:acute|active|significant) )?"
    r"(?:(?:cardiopulmonary|cardiothoracic|intrathoracic|thoracic|cardiac or pulmonary) )?"
    r"(?:findings?|abnormalit(?:y|ies)|disease|process)\b(?! in\b| of\b)",
    re.I,
)
_JUST_NORMAL = re.compile(
    r"\W*(?:(?:all |completely |entirely )?(?:normal|unremarkable|negative|clear|fine)"
    r"|n\.?a\.?d\.?|wnl|within normal limits"
    r"|(?:nothing (?:abnormal|acute)|no abnormality)(?: is)?(?: seen| detected| found)?)\W*",
    re.I,
)
"""A whole text that says no more than that all is normal."""
_OF_NO_DISEASE = re.compile(
    r"\b(?:abnormal(?:ly)?|abnormalit(?:y|ies)|normal|unremarkable|clear(?! of\b))\b", re.I
)
_DENIED_ARE_ALL = 3
"""Kinds of findings denied from which a report says as much as that all is normal."""


@lru_cache(maxsize=4096)
def film_called_normal(text: str) -> bool:
    """Whether this film as a whole is called normal: *normal chest*; not *otherwise normal*."""
    return _CALLED_NORMAL.search(text) is not None and any(
        _CALLED_NORMAL.search(sentence) and not _NOT_OF_THIS_FILM.search(sentence)
        for sentence in _SENTENCE_END.split(text)
    )


@lru_cache(maxsize=4096)
def names_what_is_grave(text: str) -> bool:
    """Whether a text names a disease that no normal film has and no label stands for.

    To call a film or a part of it abnormal, or not normal, names none.
    """
    return read_findings(_OF_NO_DISEASE.sub(" ", text)).abnormal


def all_called_normal(text: str) -> bool:
    """Whether a text says of all that is on the film that it is normal, in whatever words."""
    if film_called_normal(text) or _NOTHING_FOUND.search(text) is not None:
        return True
    return just_normal(text)


def just_normal(text: str) -> bool:
    """Whether a text says that all is normal and nothing else: *Normal.*, *NAD*."""
    return _JUST_NORMAL.fullmatch(text) is not None


def same_called_normal(said: str, read: Findings, reference: str, told: Findings) -> float:
    """How far a text on a normal film calls normal what the reference does, 0 to 1.

    All called normal is whatever the reference names; where the reference names nothing by itself,
    some findings denied are all, too. Else F1 of the kinds of findings denied.
    """
    if all_called_normal(said):
        return 1.0
    denied, wanted = kinds(read.denied), kinds(told.denied)
    if not wanted and all_called_normal(reference):
        return min(1.0, len(denied) / _DENIED_ARE_ALL)
    both = len(denied) + len(wanted)
    return 2 * len(denied & wanted) / both if both else 0.0


@dataclass(frozen=True, slots=True)
class Predicate:
    """What a question asks about.

    Attributes
    ----------
    says, against
        Words that say so and words that say the opposite, as :mod:`training.rewards.equivalence`
        writes synonyms.
    findings
        Labels of which one that is there says the opposite.
    needed
        Labels without which nothing can be so.
    reversed
        Whether the question asks for the opposite.
    sides, structures
        Where; what a clause says of elsewhere is no answer.
    """

    says: frozenset[str]
    against: frozenset[str]
    findings: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    reversed: bool = False
    sides: frozenset[str] = frozenset()
    structures: frozenset[str] = frozenset()

    def verdict(
        self, words: Collection[str], clause: str, found: Findings, nothing: bool = False
    ) -> bool | None:
        """Whether a clause says yes or no to the question; None where it says neither.

        Parameters
        ----------
        words
            Of the clause.
        found
            What it affirms and denies.
        nothing
            Whether it says that there is no finding.
        """
        there, parts = _SIDES.intersection(words), structures_named(clause)
        if self.sides and there and self.sides.isdisjoint(there):
            return None
        if self.structures and parts and self.structures.isdisjoint(parts):
            return None
        if nothing and "normal" in self.says:
            return not self.reversed
        if self.needed and deny(self.needed, found.denied):
            return False
        negated = not _NEGATIONS.isdisjoint(words)
        if not self.says.isdisjoint(words):
            so = not negated
        elif not self.against.isdisjoint(words):
            so = negated
        elif affirm(self.findings, found.affirmed):
            so = False
        elif self.findings and all(deny({label}, found.denied) for label in self.findings):
            so = True
        else:
            return None
        return so is not self.reversed


_NORMAL = Predicate(
    frozenset(("normal", "clear")),
    frozenset(("abnormal", "abnormality", "abnormalities", "enlarged", "widened")),
)
_GONE = Predicate(
    frozenset(("resolved", "gone", "cleared", "absent", "disappeared")),
    frozenset(
        (
            *("persistent", "persists", "persisting", "remains", "residual", "present", "still"),
            *("seen", "visible"),
        )
    ),
)
_CHANGED = Predicate(
    frozenset(("changed", "change", "larger", "smaller", "new", "different")),
    frozenset(("unchanged",)),
)
_LARGER = Predicate(frozenset(("larger",)), frozenset(("smaller", "unchanged")))
_SMALLER = Predicate(frozenset(("smaller",)), frozenset(("larger", "unchanged")))
_ASKED_BY = (
    (frozenset(("normal", "clear")), _NORMAL),
    (frozenset(("abnormal", "abnormality", "abnormalities")), replace(_NORMAL, reversed=True)),
    (frozenset(("resolved", "gone", "cleared", "disappeared")), _GONE),
    (frozenset(("changed", "change")), _CHANGED),
    (frozenset(("unchanged",)), replace(_CHANGED, reversed=True)),
    (frozenset(("larger",)), _LARGER),
    (frozenset(("smaller",)), _SMALLER),
)


@lru_cache(maxsize=4096)
def predicate_of(question: str, words: tuple[str, ...], asked: frozenset[str]) -> Predicate | None:
    """What a question asks; None where it is whether something is there, or several things.

    Parameters
    ----------
    words
        Of the question.
    asked
        Labels of the findings that it names as there.
    """
    # A question denies nothing: its words are read as if they stated it.
    absent = read_findings(question.replace("?", "")).denied if not asked else frozenset()
    found = [predicate for by, predicate in _ASKED_BY if not by.isdisjoint(words)]
    if len(found) > 1:
        return None
    if not found:  # *Is there no effusion?*
        return replace(_GONE, findings=absent) if absent else None
    (one,) = found
    where = frozenset(_SIDES.intersection(words))
    if one.says is _NORMAL.says:
        if asked:  # *clear evidence of a mass*
            return None
        parts = frozenset(structures_named(question))
        return replace(one, findings=_abnormal(question, parts), sides=where, structures=parts)
    if one.says is _GONE.says:
        return replace(one, findings=absent or asked)
    return replace(one, needed=asked)


def _abnormal(question: str, parts: frozenset[str]) -> frozenset[str]:
    """Findings that make what a question is about abnormal."""
    if not parts:
        return KINDS if _OF_ALL.search(question) else frozenset()
    of_parts = {"heart": _OF_HEART, "lung": _OF_LUNG}
    return frozenset().union(*(of_parts.get(part, frozenset()) for part in parts))
