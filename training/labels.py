"""Findings named in a text, affirmed or denied, read off by rule.

Mention, negation and scope patterns in the manner of NegEx (Chapman et al., 2001) and the CheXpert
labeler (Irvin et al., 2019); sides are taken from the words around each mention. What is hedged
(*possible*, *cannot be excluded*) counts as affirmed, so that hedging costs what saying costs.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from training.negation import (
    DENYING,
    NORMAL,
    Negation,
    asked_until,
    called_abnormal,
    negations,
    polarity,
    turns,
)

_HEART = r"(?:heart|cardiac (?:silhouette|size|contours?|shadow)|cardiomediastinal silhouette)"
_PATTERNS = {
    "cardiomegaly": (
        ("cardiomegaly", "heart", "cardiac", "cardiomediastinal"),
        r"cardiomegaly|cardiac enlargement"
        rf"|(?:enlarged|enlargement of the|large|prominent) {_HEART}"
        rf"|{_HEART}\b(?:(?!\b(?:{NORMAL}|aort|mediast|hil))[^.;]){{0,120}}?"
        r"\b(?:enlarged|enlargement|increased in size)"
        rf"|{_HEART}(?: size)?(?: (?:is|are|was|were|not|now|again|appears?|seems?|remains?|to be"
        r"|slightly|somewhat|\w+ly)){1,4} (?:increased|large|prominent)\b(?! (?:left|right|but)\b)",
    ),
    "enlarged mediastinum": (
        ("mediastin",),
        r"(?:widen\w+|enlarged) (?:of the )?(?:upper )?mediastin\w+"
        r"|mediastin\w+\b[^.;,]{0,120}?\b(?:widen\w+|enlarged)",
    ),
    "aortic enlargement": (
        ("aort",),
        r"aort\w+\b(?: [\w-]+){0,3} (?:enlarge\w+|dilat\w+|ectatic|aneurysm\w*)"
        r"|(?:enlarged|dilated|ectatic) (?:thoracic )?aort\w+",
    ),
    "pleural effusion": (
        ("effusion", "pleural fluid"),
        r"(?:pleural )?(?<!pericardial )effusions?|pleural fluid",
    ),
    "pneumothorax": (
        ("pneumothora", "pneumo-thora", "pneumo thora", "ptx"),
        r"(?:hydro)?pneumo[ -]?thora(?:x|ces)|ptx",
    ),
    "consolidation": (
        ("consolidat",),
        r"consolidat(?:ions?|ive)(?: opacit(?:y|ies))?",
    ),
    "nodule": (("nodul",), r"nodules?|nodular (?:opacit(?:y|ies)|densit(?:y|ies))"),
    "opacity": (
        ("opaci", "infiltrat", "space disease"),
        r"opacit(?:y|ies)|opacifications?|infiltrates?|air-?space disease",
    ),
    "atelectasis": (("atelecta", "collapse"), r"atelecta\w+|(?:lobar|lobe|lung) collapse"),
    "edema": (("edema", "congestion"), r"o?edema|(?:vascular|pulmonary) congestion"),
    "pneumonia": (("pneumonia",), r"pneumonias?"),
    "mass": (("mass",), r"mass(?:es)?(?! effect)"),
    "lesion": (("lesion",), r"(?:lung|pulmonary|focal) lesions?"),
    "pleural thickening": (("pleural",), r"pleural (?:thickening|plaques?|scarring)"),
    "fibrosis": (("fibro",), r"fibrosis|fibrotic changes?"),
    "emphysema": (
        ("emphysema",),
        r"(?<!subcutaneous )(?<!tissue )(?<!surgical )(?<!mediastinal )emphysema\w*",
    ),
    "fracture": (("fracture", "fx"), r"fractures?|fxs?"),
    "hernia": (("hernia",), r"(?:hiat(?:al|us) )?hernias?"),
    "granuloma": (("granuloma",), r"granulomas?|granulomata"),
}
"""Of each finding, what one of stands in every sentence that names it, and how it is named."""
KINDS = frozenset(_PATTERNS)
"""Findings without their side."""
_MENTIONS = tuple(
    (kind, stems, re.compile(rf"\b(?:{pattern})\b", re.I))
    for kind, (stems, pattern) in _PATTERNS.items()
)
_UNSIDED = frozenset(("cardiomegaly", "enlarged mediastinum", "aortic enlargement", "hernia"))

_SENTENCE = re.compile(r"(?<=[.;!?])\s+|\n+")
_WORD = re.compile(r"[a-z]+")
_SIDE_WORDS = (
    "left lt lingula lingular right rt middle bilateral bilaterally both bibasilar bibasal biapical"
)
_SIDING = frozenset(_SIDE_WORDS.split())
_NORMALISING = frozenset(("normal", "clear", "unremarkable", "negative", "no"))
_OMINOUS_WORDS = (
    "abnormal abnormally abnormality abnormalities tuberculosis tuberculous metastasis metastases"
    " metastatic cancer cancers malignancy malignancies malignant carcinoma tumor tumors tumour"
    " tumours abscess abscesses cavity cavities cavitary pneumoperitoneum pneumomediastinum"
)
_OMINOUS = re.compile(rf"\b(?:{_OMINOUS_WORDS.replace(' ', '|')}|free (?:\w+ )?air)\b", re.I)
"""What no normal film has, beside the findings above."""
_MAYBE_OMINOUS = frozenset((*_OMINOUS_WORDS.split(), "free"))
_NORMAL_WORDS = frozenset(("normal", "clear", "unremarkable", "negative"))
"""Single words without one of which a sentence need not be searched for the patterns below."""
_NORMAL_HEART = re.compile(
    rf"\b{_HEART}\b[^.;]{{0,120}}?\b(?:{NORMAL}|unremarkable\b)"
    rf"|\bnormal\b[^.;]{{0,120}}?\b{_HEART}\b",
    re.I,
)
_CLEAR_LUNG = re.compile(r"\b(?:(left|right) lung|lungs?)\b(?: fields?)? (?:is|are) clear\b", re.I)
_EXCEPT = re.compile(r"\b(?:otherwise|except|apart|aside|other than)\b", re.I)
_NOT_IN_A_CLEAR_LUNG = ("consolidation", "nodule", "mass", "opacity", "pneumonia")
_NORMAL = re.compile(
    r"\b(?:normal|clear|unremarkable|negative|no (?:acute |focal |evidence of )?(?:\w+ )?"
    r"(?:abnormalit\w+|process|disease|findings?))\b",
    re.I,
)
_SIDE = re.compile(
    r"\b(?:(left|lt|lingula\w*)|(right|rt|middle lobe)"
    r"|(bilateral\w*|both|bibasilar|bibasal|biapical))\b(?! (?:heart|ventric|atri))",
    re.I,
)
_WHERE = (
    r"(?:an?|the|on|in|at|to|upper|mid|middle|lower|lobes?|zones?|lungs?|bases?|apex|apices|basal"
    r"|basilar|apical|perihilar|hilar|sides?|sided|hemithorax|fields?|pleural|lateral|medial"
    r"|small|tiny|trace|minimal|mild|slight|moderate|large|larger|smaller|severe|new|old|few)"
)
_LEFT_AND_RIGHT = re.compile(
    rf"(?P<at>\b(?:in|on|at|of) (?:the )?)?\b(left|right)(?:[ -]{_WHERE}){{0,4}},? (?:and|or)"
    rf"(?: {_WHERE}){{0,4}} (?!\2)(?:left|right)\b(?P<next>(?:[ -]{_WHERE}){{0,4}} #)?",
    re.I,
)
"""Both sides of one finding, with what tells of size and place alone between them."""
_BUT_NOT = re.compile(
    r"\b(left|right)(?:[ -]sided)?,? but (?:no|not)(?: an?| the| any)? (?!\1)(left|right)"
    r"(?:[ -]sided)?,?(?: \w+)? $",
    re.I,
)
"""Before a mention that one side has and the other has not."""
_BEFORE = 60
"""Characters before a mention in which that is looked for."""
_BETWEEN = re.compile(r"\b(?:and|or|with|without|but|plus)\b|[,;]", re.I)
_ANSWERED = re.compile(
    r"\?\s*(?=(?:no|none|absent|negative|yes|present|positive)\b\s*(?:[.,;!\n]|\Z))", re.I
)
"""Between a question and its answer: *Pneumothorax? No.* is *Pneumothorax: no.*"""
_SIZE = (
    r"small|tiny|trace|minimal|mild|moderate|large|severe|present|seen|noted|visible|one|a|an|is|are|it"
    r"|there"
)
_ELLIPSIS = re.compile(
    rf"(?:[;,.]|\b(?:and|but|however|though|yet|while|whereas)\b)\s+(?=(?:(?:{_SIZE})\s+){{1,5}}"
    r"(?:on|at|in) the (?:left|right)\b(?: side)?\s*(?:[.;,!]|\Z))",
    re.I,
)
"""Where a side is said to have what was named, and denied, before."""
_AT = frozenset(("on", "at", "in"))
_WORDS_BEFORE = 24
"""Characters that the two words before a side have at most."""
_SIZES = frozenset(_SIZE.split("|"))
_SIDES = ({"left"}, {"right"}, {"left", "right"})

Pair = tuple[str, str | None]
"""Kind, and side where one is named."""


@dataclass(frozen=True)
class Findings:
    """What a text says is there and what it says is not.

    Attributes
    ----------
    affirmed, denied
        Labels such as ``left pleural effusion`` or ``cardiomegaly``. A finding whose side is not
        named stands without one; denied without a side, it is denied on both.
    normal
        Whether the text denies something or calls something normal.
    asked
        Labels that its questions and conditions name.
    abnormal
        Whether the text denies that something is normal, or names what no normal film has.
    """

    affirmed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    normal: bool = False
    asked: frozenset[str] = frozenset()
    abnormal: bool = False


def finding_labels(text: str) -> frozenset[str]:
    """Labels affirmed in a text, and of a question those that it asks for."""
    found = read_findings(text)
    return found.affirmed | found.asked if found.asked else found.affirmed


def negated_labels(text: str) -> frozenset[str]:
    """Labels denied in a text."""
    return read_findings(text).denied


@lru_cache(maxsize=65_536)
def kind_of(label: str) -> str:
    """The finding without its side."""
    return label.removeprefix("left ").removeprefix("right ")


def side_of(label: str) -> str | None:
    """``left``, ``right`` or None."""
    side, _, rest = label.partition(" ")
    return side if rest and side in ("left", "right") else None


def clashes(affirmed: frozenset[str], denied: frozenset[str]) -> frozenset[str]:
    """Labels affirmed that are denied, too: on that side or altogether."""
    if not affirmed or not denied:
        return frozenset()
    return frozenset(label for label in affirmed if label in denied or kind_of(label) in denied)


def contradictions(text: str) -> frozenset[str]:
    """Labels that a text both affirms and denies."""
    found = read_findings(text)
    return clashes(found.affirmed, found.denied)


@lru_cache(maxsize=65_536)
def labels_of_source(label: str) -> frozenset[str]:
    """A data set's own label in this vocabulary; empty where it has no such finding.

    ``Pleural Effusion``, ``pleural_effusion`` and ``left pleural effusion`` are read alike.
    """
    return finding_labels(label.replace("_", " "))


def name_findings(text: str) -> str:
    """The text with every mention of a finding replaced by the name of its kind."""
    parts, position = [], 0
    for mention in _mentions(text, text.lower()):
        parts += [text[position : mention.start], mention.kind]
        position = mention.end
    return "".join([*parts, text[position:]])


@lru_cache(maxsize=65_536)  # steps and answers are made of few sentences; a reward reads thousands
def read_findings(text: str) -> Findings:
    """Read a text sentence by sentence."""
    if "?" in text:
        text = _ANSWERED.sub(": ", text)
    if _has_ellipsis(text):
        text = _with_ellipses_filled(text)
    read = [_read_sentence(sentence) for sentence in _SENTENCE.split(text)]
    if len(read) == 1:
        return read[0]
    affirmed: set[str] = set()
    denied: set[str] = set()
    asked: set[str] = set()
    normal = abnormal = False
    for found in read:  # one pass: of answers this is the most of the time
        affirmed |= found.affirmed
        denied |= found.denied
        normal = normal or found.normal
        abnormal = abnormal or found.abnormal
        if found.asked:
            asked |= found.asked
    return Findings(frozenset(affirmed), frozenset(denied), normal, frozenset(asked), abnormal)


def _has_ellipsis(text: str) -> bool:
    """Whether :data:`_ELLIPSIS` may match: where a size stands before a side. Much faster."""
    for side in (" the left", " the right"):
        end = text.find(side)
        while end >= 0:
            before = text[max(0, end - _WORDS_BEFORE) : end].rsplit(None, 2)
            if len(before) > 1 and before[-1].lower() in _AT and before[-2].lower() in _SIZES:
                return True
            end = text.find(side, end + 1)
    return False


def _with_ellipses_filled(text: str) -> str:
    """*No effusion on the left; small on the right* with the effusion named where it is left out.

    Nothing is filled in where the sentence before denies nothing, or names more than one finding.
    """
    parts, position = [], 0
    starts = [0, *(match.end() for match in _SENTENCE.finditer(text))]
    for gap in _ELLIPSIS.finditer(text):
        before = text[starts[bisect_left(starts, gap.start()) - 1] : gap.start()]
        mentions = _mentions(before, before.lower())
        parts.append(text[position : gap.end()])
        if len(mentions) == 1 and _denies(before, mentions[0]):
            parts.append(f"but {mentions[0].kind} ")
        position = gap.end()
    return "".join([*parts, text[position:]])


def _denies(sentence: str, mention: _Mention) -> bool:
    return polarity(sentence, mention.start, mention.end, negations(sentence), ()) is False


class _Mention(NamedTuple):
    start: int
    end: int
    kind: str


def _mentions(sentence: str, lower: str) -> list[_Mention]:
    """Findings named, in order; where two lie over each other, the first and longest."""
    found = []
    for kind, stems, pattern in _MENTIONS:
        for stem in stems:
            if stem in lower:
                found += [_Mention(*match.span(), kind) for match in pattern.finditer(sentence)]
                break
    if len(found) < 2:
        return found
    found.sort(key=lambda mention: (mention.start, -mention.end))
    apart = found[:1]
    for mention in found[1:]:
        if mention.start >= apart[-1].end:
            apart.append(mention)
    return apart


@lru_cache(maxsize=65_536)
def _read_sentence(sentence: str) -> Findings:
    affirmed: set[str] = set()
    denied: set[str] = set()
    asked: set[str] = set()
    lower = sentence.lower()
    words = frozenset(_WORD.findall(lower))
    mentions = _mentions(sentence, lower)
    denials = negations(sentence) if words & DENYING else []
    only_asked = asked_until(sentence)
    normalising = words & _NORMALISING
    if normalising and not only_asked and not any(one.denies_on for one in denials):
        denied |= _normal_parts(sentence)
    abnormal = bool(denials and words & _NORMAL_WORDS and called_abnormal(sentence))
    normal = bool(normalising and not abnormal and _NORMAL.search(sentence, only_asked))
    if mentions:
        turned = turns(sentence, denials) if denials else []
        sides = _sides(sentence, mentions, turned) if words & _SIDING else None
        for number, mention in enumerate(mentions):
            affirms = polarity(sentence, mention.start, mention.end, denials, turned)
            if affirms is None:
                continue
            named = {mention.kind}
            if sides and sides[number] and mention.kind not in _UNSIDED:
                named = {f"{side} {mention.kind}" for side in sides[number]}
            if mention.start < only_asked:
                asked |= named if affirms else set()
                continue
            if not affirms and sides and (other := _on_the_other_side(sentence, mention)):
                affirmed.add(other)
                named.discard(other)
            (affirmed if affirms else denied).update(named)
    if words & _MAYBE_OMINOUS and not abnormal:
        abnormal = _is_ominous(sentence, denials)
    return Findings(
        frozenset(affirmed), frozenset(denied), normal or bool(denied), frozenset(asked), abnormal
    )


def _on_the_other_side(sentence: str, mention: _Mention) -> str | None:
    """What *a right, but no left, effusion* affirms."""
    before = sentence[max(0, mention.start - _BEFORE) : mention.start]
    told = _BUT_NOT.search(before) if "but" in before else None
    return f"{told[1].lower()} {mention.kind}" if told else None


def _is_ominous(sentence: str, denials: Sequence[Negation]) -> bool:
    turned = turns(sentence, denials)
    return any(
        polarity(sentence, match.start(), match.end(), denials, turned)
        for match in _OMINOUS.finditer(sentence)
    )


def _sides(sentence: str, mentions: list[_Mention], turns: list[int]) -> list[frozenset[str]]:
    """The sides of each mention: named in its own phrase, else anywhere on its side of a turn."""
    anywhere = _sides_in(sentence)
    if not anywhere or (len(anywhere) == 1 and not turns):
        return [anywhere] * len(mentions)
    both, edges = sentence, turns
    for start, end in _left_and_right(sentence, mentions):
        both = both[:start] + "bilateral".ljust(end - start) + both[end:]
        edges = [turn for turn in edges if not start <= turn < end]
    edges = [0, *edges, len(both)]
    found = []
    for number, mention in enumerate(mentions):
        first = edges[bisect_right(edges, mention.start) - 1]
        last = edges[bisect_left(edges, mention.end)]
        begin = max(first, mentions[number - 1].end if number else 0)
        end = min(last, mentions[number + 1].start if number + 1 < len(mentions) else last)
        before = _BETWEEN.split(both[begin : mention.start])[-1]
        after = _BETWEEN.split(both[mention.end : end])
        own = _sides_in(before + " " + after[0])
        if not own and not number:  # "left apical and basal opacities and a right nodule"
            own = _sides_in(both[begin : mention.start])
        found.append(own or _sides_in(" ".join(after)) or _sides_in(both[first:last]))
    if len(mentions) == 1 and not found[0]:
        # "In the left lung there is a nodule that is not calcified"
        return [_sides_in(both[: mentions[0].start])]
    return found


def _left_and_right(sentence: str, mentions: list[_Mention]) -> list[tuple[int, int]]:
    """Where both sides of one finding are named."""
    if " and" not in sentence.lower() and " or" not in sentence.lower():
        return []
    parts, position = [], 0
    for start, end, _ in mentions:
        parts += [sentence[position:start], "#" * (end - start)]
        position = end
    return [
        match.span()
        for match in _LEFT_AND_RIGHT.finditer("".join([*parts, sentence[position:]]))
        # "Opacity in the left lung and right effusion"
        if not (mentions[0].start < match.start() and match["next"] and match["at"])
    ]


def _sides_in(text: str) -> frozenset[str]:
    found: set[str] = set()
    for match in _SIDE.finditer(text):
        found |= _SIDES[int(match.lastindex or 1) - 1]
    return frozenset(found)


def _normal_parts(sentence: str) -> set[str]:
    """What is denied by calling the heart normal or a lung clear."""
    denied = {"cardiomegaly"} if _NORMAL_HEART.search(sentence) else set()
    clear = _CLEAR_LUNG.search(sentence)
    if clear and not _EXCEPT.search(sentence):
        side = f"{clear.group(1).lower()} " if clear.group(1) else ""
        denied |= {f"{side}{kind}" for kind in _NOT_IN_A_CLEAR_LUNG}
    return denied
