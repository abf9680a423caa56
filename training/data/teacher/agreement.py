"""Whether the teacher's answer is the known one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from service.reading import Task
from training.data.example import Example
from training.data.teacher.polarity import DENIAL, polarity_of
from training.data.teacher.words import singular, words_of
from training.labels import finding_labels, read_findings
from training.rewards.agreement import kinds
from training.rewards.equivalence import answer_worth
from training.rewards.predicates import all_called_normal, names_what_is_grave
from training.rewards.step_words import structures_named
from training.rewards.wording import compare_words, count_words, sentences

_REFUSES = re.compile(
    r"\b(?:i|we)(?: am| are|['\u2019]m|['\u2019]re)?"
    r" (?:can ?not|can['\u2019]?t|unable|not able|won['\u2019]?t|will not)\b"
    r"(?! (?:to )?(?:exclude|rule out|see|find|identify))"
    r"|\b(?:sorry|apologi[sz]e|language model|as an ai)\b"
    r"|\b(?:can ?not|can['\u2019]t|unable to|not able to)"
    r" (?:help|assist|answer|provide|comply|determine|tell|say|interpret|analy[sz]e)\b",
    re.I,
)
_FILLING = frozenset(
    (
        *("are", "be", "been", "has", "have", "it", "its", "this", "there", "was", "were"),
        *("appear", "appears", "noted", "seen", "visualized", "identified", "present"),
    )
)
_ALIKE = 0.5
"""F1 of words from which two texts say the same of what the labeler does not know."""
_DETAIL = re.compile(
    r"\b(?:(?P<small>small|tiny|trace|minimal\w*|mild\w*|slight\w*)"
    r"|(?P<moderate>moderate\w*)"
    r"|(?P<large>large|massive|huge|big|severe\w*|marked\w*|extensive|gross\w*)"
    r"|(?P<upper>upper(?! limit)|apex|apic\w+|biapical|[rl]ul)"
    r"|(?P<mid>mid|middle|lingula\w*|rml)"
    r"|(?P<lower>lower|bas(?:e|es|is|al|ilar)|bibas\w+|[rl]ll))\b",
    re.I,
)
_NOTHING_ACUTE = re.compile(
    r"\bno (?:radiographic )?(?:evidence (?:of|for) (?:an? )?)?(?:acute|active) "
    r"(?:(?:cardiopulmonary|pulmonary|chest|thoracic|intrathoracic) )?"
    r"(?:findings?|abnormalit(?:y|ies)|disease|process|pathology)\b",
    re.I,
)
_SIZES, _HEIGHTS = {"small", "moderate", "large"}, {"upper", "mid", "lower"}
_SIDE = re.compile(r"\b(?:(?P<left>left|l[ul]l)|(?P<right>right|r[uml]l))\b", re.I)
_PART = re.compile(r"[,;\n]|\.(?!\d)|\b(?:and|but|with|without)\b", re.I)

Finding = tuple[str, str | None]
"""Kind, and side where its part of the text names one."""


def answers_agree(example: Example, answer: str) -> bool:
    """Whether an answer says what the known one says.

    Answers to questions say the same as :func:`answer_worth` reads them, and nothing beside it.
    Report sections affirm the same findings on the same sides, contradict each other neither in
    these nor in size or height, and say alike of devices, which the labeler does not know. Where
    nothing is affirmed, both call the same normal, or say it in much the same words.
    """
    if not answer.strip():
        return False
    if example.task is Task.VQA:
        question = example.question or ""
        return answer_worth(answer, example.answer, finding_labels(question), question) == 1
    return _sections_agree(answer, example.answer)


def _sections_agree(said: str, known: str) -> bool:
    said_of, known_of = polarity_of(said), polarity_of(known)
    if _REFUSES.search(said) and not _REFUSES.search(known):
        return False
    if said_of.affirmed != known_of.affirmed:
        return False
    # What the known answer contradicts itself is held against nobody.
    if said_of.contradicts(known_of) - known_of.contradicts(known_of):
        return False
    if names_what_is_grave(said) != names_what_is_grave(known):
        return False
    if _details_differ(said, known) or not _say_alike_of_devices(said, known):
        return False
    return bool(known_of.affirmed) or _call_the_same_normal(said, known) or _are_alike(said, known)


def _details_differ(said: str, known: str) -> bool:
    """Whether both tell the size or the height of a finding, and it is another."""
    ours, theirs = _details(said), _details(known)
    for kind in {kind for kind, _ in ours} & {kind for kind, _ in theirs}:
        for side in ("left", "right"):
            one, other = (
                told.get((kind, side), set()) | told.get((kind, None), set())
                for told in (ours, theirs)
            )
            for values in (_SIZES, _HEIGHTS):
                if one & values and other & values and not one & other & values:
                    return True
    return False


def _details(text: str) -> dict[Finding, set[str]]:
    """Sizes and heights of each finding that is affirmed.

    A part of a text that names no finding tells of the one before, else of the one after: *small
    left and large right effusion*.
    """
    found: dict[Finding, set[str]] = defaultdict(set)
    for sentence in sentences(text):
        before: set[str] = set()
        waiting: list[str] = []
        for part in filter(str.strip, _PART.split(sentence)):
            read = read_findings(part)
            named = kinds(read.affirmed)
            if not named and (read.denied or read.normal):
                before = set()
                continue
            if not (named or before):
                waiting.append(part)
                continue
            before = set(named or before)
            for told in [*waiting, part]:
                sides = {match.lastgroup for match in _SIDE.finditer(told)} or {None}
                values = {str(match.lastgroup) for match in _DETAIL.finditer(told)}
                for kind in before:
                    for side in sides:
                        found[kind, side] |= values
            waiting = []
    return found


def _say_alike_of_devices(said: str, known: str) -> bool:
    ours, theirs = (
        ". ".join(told for told in sentences(text) if "device" in structures_named(told))
        for text in (said, known)
    )
    return not (ours and theirs) or _are_alike(ours, theirs)


def _call_the_same_normal(said: str, known: str) -> bool:
    """Whether both call something of the same normal; of all that is normal, some is enough."""
    ours, theirs = set(_called_normal(said)), set(_called_normal(known))
    if _nothing_is_found(said):
        return bool(theirs) or _nothing_is_found(known)
    return bool(ours & theirs) or (bool(ours) and _nothing_is_found(known))


def _nothing_is_found(text: str) -> bool:
    return all_called_normal(text) or _NOTHING_ACUTE.search(text) is not None


def _called_normal(text: str) -> Iterator[str]:
    """Findings that a text denies, and structures that it calls normal."""
    for told in sentences(text):
        read = read_findings(told)
        yield from kinds(read.denied)
        if read.normal and not read.abnormal and not read.affirmed:
            yield from structures_named(told)


def _are_alike(said: str, known: str) -> bool:
    ours, theirs = count_words(_telling(said)), count_words(_telling(known))
    return compare_words(ours, theirs).words >= _ALIKE


def _telling(text: str) -> str:
    """The words of a text that tell something; those after a denial are other words."""
    told: list[str] = []
    for sentence in sentences(text):
        affirmed, *denied = DENIAL.split(sentence, maxsplit=1)
        told += [singular(word) for word in words_of(affirmed) if word not in _FILLING]
        told += [
            f"no{singular(word)}" for word in words_of(" ".join(denied[1:])) if word not in _FILLING
        ]
    return " ".join(told)
