"""Findings named in a text, affirmed or denied, read off by rule.

Mention, negation and scope patterns in the manner of NegEx (Chapman et al., 2001) and the CheXpert
labeler (Irvin et al., 2019); sides are taken from the words around each mention. What is hedged
(*possible*, *cannot be excluded*) counts as affirmed, so that hedging costs what saying costs.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import attrgetter, or_
from typing import NamedTuple

from training.assertion import UNASSERTING, list_goes_on, untold_of
from training.negation import (
    ASKED,
    DENYING,
    NORMAL,
    Negation,
    asked_until,
    called_abnormal,
    denied_of_a_kind,
    earlier_until,
    negations,
    only_looked_for,
    polarity,
    turns,
)

_HEART = (
    r"(?:heart(?! failure)|cardiac (?:silhouette|size|contours?|shadow)"
    r"|cardiomediastinal silhouette|cardio-?thoracic (?:ratio|index)|ctr)"
)
_ABOVE_NORMAL = (
    r"(?:(?:larger|bigger|greater) (?:in size )?than|above|beyond|exceed(?:s|ing)?)"
    r" (?:the )?(?:upper )?(?:(?:limits?|range) of )?normal"
)
_WITH_THE_AORTA = (
    r",? and (?:the )?(?:\w+ ){0,2}(?:aorta|mediastinum|hil(?:a|um))"
    r" (?:are|appear|were|remain|look)"
)
_LARGE = r"(?: \w+ly)? (?:enlarged|dilated|prominent|large)\b"
_BESIDE_THE_HEART = _WITH_THE_AORTA + _LARGE
_NOT_BESIDE_THE_HEART = f"{_WITH_THE_AORTA} not{_LARGE}"
_TUMOUR = r"(?:tumou?rs?|neoplasms?)"
_PATTERNS = {
    "cardiomegaly": (
        "cardiomegal|heart|cardiac|cardio$|cardiomediastinal|cardiothoracic|ctr",
        r"cardiomegall?y|(?:cardiac|heart) enlargement"
        rf"|(?:enlarged|enlargement of the|large|big|dilated|prominent) {_HEART}"
        rf"|increased? (?:in )?(?:{_HEART} size|size of the {_HEART}|cardio-?thoracic \w+|ctr)"
        rf"|{_HEART}\b(?:(?!\b(?:{NORMAL}|aort|mediast|hil))[^.;]){{0,120}}?"
        r"\b(?:enlarged|enlargement|increased in size)"
        rf"|{_HEART}(?: size)?(?: (?:is|are|was|were|not|now|again|appears?|seems?|remains?|to be"
        r"|slightly|somewhat|\w+ly)){1,4} (?:increased|elevated|large|big|dilated|prominent)\b"
        r"(?! (?:left|right|but)\b)"
        rf"|{_HEART}\b(?:(?!\b(?:{NORMAL}|aort|mediast|hil))[^.;,]){{0,40}}?\b{_ABOVE_NORMAL}"
        rf"|{_HEART}(?={_BESIDE_THE_HEART})|{_HEART}{_NOT_BESIDE_THE_HEART}",
    ),
    "enlarged mediastinum": (
        "mediastin",
        r"(?:widen\w+|enlarged) (?:of the )?(?:upper )?mediastin\w+"
        r"|mediastin\w+\b[^.;,]{0,120}?\b(?:widen\w+|enlarged)",
    ),
    "aortic enlargement": (
        "aort",
        r"aort\w+\b(?: [\w-]+){0,3} (?:enlarge\w+|dilat\w+|ectatic|aneurysm\w*)"
        r"|(?:enlarged|dilated|ectatic) (?:thoracic )?aort\w+",
    ),
    "pleural effusion": (
        "effusion|pleural|emothora|^ha?emo$|^hydro|empyema",
        r"(?:pleural )?(?<!pericardial )effusions?|pleural (?:fluid(?: collections?)?|collections?)"
        r"|(?:fluid|collections?) (?:with)?in the (?:\w+ )?pleural (?:spaces?|cavit(?:y|ies))"
        r"|(?:ha?emo|hydro)[ -]?thora(?:x|ces)|empyemas?",
    ),
    "pneumothorax": (
        "pneumothora|pneumo$|ptx|^air$|^gas$",
        r"(?:hydro)?pneumo[ -]?thora(?:x|ces)|ptx|pleural air(?: collections?)?"
        r"|(?:air|gas) (?:with)?in the (?:\w+ )?pleural (?:space|cavity)",
    ),
    "consolidation": (
        "consolidat",
        r"consolidat(?:ions?|ive|ed|ing)(?: opacit(?:y|ies))?",
    ),
    "nodule": (
        "nodul|^coin$",
        r"nodules?|nodular (?:opacit(?:y|ies)|densit(?:y|ies))|coin lesions?",
    ),
    "opacity": (
        "opaci|infiltrat|space|densit|haziness",
        r"opacit(?:y|ies)|opacifications?|infiltrat(?:es?|ions)|air[ -]?space (?:disease|process)"
        # Not "infiltration" alone: VinDr-CXR marks that beside its opacities.
        r"|(?:lung|pulmonary|interstitial|alveolar|parenchymal) infiltration"
        r"|(?:air[ -]?space|hazy|patchy|streaky|parenchymal) densit(?:y|ies)"
        r"|haziness",
    ),
    "atelectasis": (
        "atelecta|collapse",
        r"atelecta\w+|(?:lobar|lobe|lung) collapse"
        r"|collapsed? (?:of )?(?:the )?(?:(?:left|right|upper|middle|lower) ){0,2}"
        r"(?:lobes?|lungs?|lingula|segments?)"
        r"|(?:lobes?|lungs?|lingula|segments?)"
        r"(?: (?:is|are|was|were|has|have|not|now|appears?|remains?|\w+ly)){1,3} collapsed",
    ),
    "edema": (
        "edema|chf|failure|kerley",
        r"o?edema|chf|(?:congestive )?(?:heart|cardiac) failure"
        r"|kerley(?:[ -][abc](?: and [abc])?)?(?:[ -]type)? lines?",
    ),
    "congestion": (
        "congestion|cephali|redistribution|engorge",
        r"(?:pulmonary )?(?:vascular|venous|pulmonary) congestion"
        r"|(?:(?:pulmonary )?vascular )?cephali[sz]ation"
        r"|(?:pulmonary )?vascular redistribution|(?:pulmonary )?(?:vascular|venous) engorgement\b"
        r"(?! (?:is|are|appears?) (?:normal|within)\b)",  # so Open-I says it of normal vessels
    ),
    "pneumonia": (
        "pneumonia|pneumonitis",
        r"(?:broncho-?|pleuro-?)?pneumonias?|(?<!radiation )(?<!hypersensitivity )"
        r"(?<!interstitial )(?<!chemical )(?<!aspiration )(?<!-induced )pneumonitis",
    ),
    "mass": (
        "mass|tumor|tumour|neoplasm",
        rf"mass(?:es)?(?! effect)|(?:lung|pulmonary|lobe) {_TUMOUR}"
        rf"|{_TUMOUR} (?:with)?in the (?:(?:left|right|upper|middle|lower) ){{0,2}}"
        r"(?=lungs?\b|lobes?\b|lingula\b)",
    ),
    "lesion": ("lesion", r"(?:lung|pulmonary|focal) lesions?"),
    "pleural thickening": ("pleural", r"pleural (?:thickening|plaques?|scarring)"),
    "fibrosis": ("fibro", r"fibrosis|fibrotic changes?"),
    "emphysema": (
        "emphysema",
        r"(?<!subcutaneous )(?<!tissue )(?<!surgical )(?<!mediastinal )emphysema\w*",
    ),
    "fracture": (
        "fracture|fx|broken",
        r"fractures?|fxs?|(?:broken|fractured)(?: (?:left|right|\d+(?:st|nd|rd|th)|\w+th))*"
        r" (?:ribs?|bones?|clavicles?|humerus|vertebrae?)",
    ),
    "hernia": ("hernia", r"(?:hiat(?:al|us) )?hernias?"),
    "granuloma": ("granuloma", r"granulomas?|granulomata"),
}
"""Of each finding, what one word of its name is like, in small letters, and how it is named."""
KINDS = frozenset(_PATTERNS)
"""Findings without their side."""
_WORD_OF_A_NAME = tuple(re.compile(words) for words, _ in _PATTERNS.values())
_MENTIONS = tuple(
    (kind, re.compile(rf"\b(?:{pattern})\b", re.I)) for kind, (_, pattern) in _PATTERNS.items()
)
_NARROWER = re.compile(
    r"infiltrat|air[ -]?space|(?<!nodular )densit|haziness|collaps|emo[ -]?thora|hydro|empyema"
    r"|bronch|plaque|chf|failure|kerley|cephali|redistribution|engorge|pneumonitis|tumou?r|neoplasm"
    r"|coin|broken|fractured",
    re.I,
)
"""In a mention of what is a kind of its finding: without an empyema there may be an effusion."""
_UNSIDED = frozenset(("cardiomegaly", "enlarged mediastinum", "aortic enlargement", "hernia"))

_SENTENCE = re.compile(r"\s(?:(?<=[.;!?]\s)\s*|(?<=\n)\n*)")
_JOINED = re.compile(r"[.;](?:(?<=[a-z)]\.)(?=[A-Z])|(?<=;)(?=\S))")
"""A stop that ends a sentence without a space: *No mass.Left effusion*."""
_FULL_WIDTH = str.maketrans(
    {
        "\u3002": ". ",
        "\uff0e": ". ",
        "\uff61": ". ",
        "\uff1b": "; ",
        "\uff1a": ": ",
        "\uff0c": ", ",
        "\u3001": ", ",
        "\uff01": "! ",
        "\uff1f": "? ",
        "\uff08": " (",
        "\uff09": ") ",
        "\u3000": " ",
        "\u00a0": " ",
        "\u202f": " ",
        "\u2010": "-",
        "\u2011": "-",
    }
)
"""Signs of East Asian type, and spaces and hyphens that do not break, as ASCII writes them."""
_WORD = re.compile(r"[a-z]+")
_SIDE_WORDS = (
    "left lt lingula lingular right rt middle bilateral bilaterally both bibasilar bibasal biapical"
)
_SIDING = frozenset(_SIDE_WORDS.split())
_SHORT_SIDES = {
    "rll": "right lower lobe",
    "rml": "right middle lobe",
    "rul": "right upper lobe",
    "lll": "left lower lobe",
    "lul": "left upper lobe",
    "r": "right",
    "l": "left",
    "bl": "bilateral",
    "b/l": "bilateral",
}
_SHORT_WORDS = frozenset(_SHORT_SIDES)
_COLLAPSING = frozenset(("collapse", "collapsed"))
_LUNG_COLLAPSED = re.compile(r"collaps.*lungs?\b|lungs?\b.*collaps", re.I)
_SHORT_STOP = re.compile(r"\b(?:([RrLl]t)\.(?= \w)|([RL])\.(?= [a-z0-9]))")
"""*Rt. effusion*: its stop ends no sentence."""
_SHORT_STOPS = ("Rt.", "Lt.", " rt.", " lt.", " R.", " L.")
_STRUCK_OUT = re.compile(r"~~.*?(?:~~|\Z)", re.S)
_SHORT_SIDE = re.compile(
    r"(?<![\w/.'-])(?:(?i:rll|rml|rul|lll|lul|b/l)|BL|(?<!\d )[RL](?!/| ?\d| spine))"
    r"(?![\w'/]|\.\w|-(?!sided))"
)
"""Sides and lobes in letters; not those of *L1*, *R/O* or *2 L of oxygen*."""
_NORMALISING = frozenset(("normal", "clear", "unremarkable", "negative", "no"))
_OMINOUS_WORDS = (
    "abnormal abnormally abnormality abnormalities tuberculosis tuberculous metastasis metastases"
    " metastatic cancer cancers malignancy malignancies malignant carcinoma tumor tumors tumour"
    " tumours abscess abscesses cavity cavities cavitary pneumoperitoneum pneumomediastinum"
    " bronchiectasis bronchiectatic bronchiectases"
)
_OMINOUS = re.compile(rf"\b(?:{_OMINOUS_WORDS.replace(' ', '|')}|free (?:\w+ )?air)\b", re.I)
"""What no normal film has, beside the findings above."""
_MAYBE_OMINOUS = frozenset((*_OMINOUS_WORDS.split(), "free"))
_NORMAL_WORDS = frozenset(("normal", "clear", "unremarkable", "negative"))
"""Single words without one of which a sentence need not be searched for the patterns below."""
_IS = r"(?:\b(?:is|are|was|were|has|appears?|remains?|looks?|seems?)\b|:)"
_NOT_OF_THE_HEART = (
    r"\b(?:enlarg\w+|increased|elevated|larger?|big|bigger|greater|dilated|prominent|above|beyond"
    r"|exceed\w*|than|but|with|however|although|though|while|whereas|yet|except)\b"
)
_NORMAL_HEART = re.compile(
    # The subject, its verb and what is said of it; a comma is followed by *normal* alone.
    rf"\b{_HEART}\b(?:(?!{_NOT_OF_THE_HEART}|{_IS})[^.;]){{0,80}}?"
    rf"(?:{_IS}(?:(?!{_NOT_OF_THE_HEART}|{_IS}|,|\band\b)[^.;]){{0,60}}?"
    rf"(?:(?:,|,? and)(?: {_IS})?(?: (?:within|of|the|top|\w+ly))*(?= (?:normal|unremark)))? ?)?"
    rf"\b(?:{NORMAL}|unremarkable\b)"
    r"|(?<!is )(?<!are )(?<!was )(?<!were )(?<!appears )(?<!appear )(?<!remains )(?<!remain )"
    rf"(?<!within )\bnormal\b(?:(?!{_NOT_OF_THE_HEART}|{_IS})[^.;]){{0,60}}?\b{_HEART}\b(?!\s*:)",
    re.I,
)
_PART = (
    r"\b(?:upper|lower|mid|middle|remaining|remainder|rest|residual|other|portions?|parts?|aspects?"
    r"|zones?|contralateral|opposite|uninvolved|apical|basal|basilar)"
)
_CLEAR_LUNG = re.compile(
    rf"(?P<part>{_PART}(?:[ -](?:of|the|left|right|both|two|and|lower|upper|mid))*[ -])?"
    r"\b(?:(?P<side>left|right) lung|lungs?)\b(?: fields?| parenchyma)?"
    r"(?: (?:is|are|appears?|remains?|looks?|seems?|was|were|both|again|now|still|also|to be"
    r"|\w+ly|(?:well[ -]|hyper-?|fully )?(?:expanded|inflated|aerated|ventilated),?|and|but)){0,8}"
    r":? clear\b"
    r"|\bclear (?:(?P<after>left|right) lung|lungs)\b(?: fields?)?"
    r"(?! (?:bases?|basis|apex|apices|zones?|volumes?|markings?))",
    re.I,
)
_EXCEPT = re.compile(
    r"\b(?:otherwise|elsewhere|except\w*|apart|aside|other than|but for|save for|outside|beyond"
    r"|away from|remainder|rest of)\b",
    re.I,
)
_BUT = re.compile(r"\b(?:but|with|although|though|however|yet|save)\b", re.I)
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
_BETWEEN = re.compile(r"\b(?:and|or|with|without|but|plus)\b|[,;]|\s[-\u2013\u2014]+\s", re.I)
_OF_THE_NEXT = re.compile(
    r",? (?:and|with|plus|as well as)(?: (?:an?|new|small|tiny|trace|minimal|mild|moderate|large"
    r"|severe|possible|probable|likely|questionable))+"
    r" (?:left|right)(?:[ -](?:sided?|upper|mid|middle|lower|apical|basal|basilar|lobes?|lungs?))*"
    r" ",
    re.I,
)
"""Between two mentions, where a side is the second one's own: *edema and a small left effusion*."""
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
_LIST_PART = (
    rf"(?:(?:{_SIZE}|on|at|the|side|none|no|absent|only|very)\s+){{0,4}}(?:left|right)\b"
    rf"(?:[ -]sided?)?(?:\s+(?:{_SIZE}|none|no|absent|only)\b){{0,3}}"
)
_SIDED_LIST = re.compile(
    rf":\s*(?P<first>{_LIST_PART})(?:\s*[,;](?:\s*and)?\s+|\s+and\s+)(?P<second>{_LIST_PART})"
    r"(?=\s*(?:[.;!\n]|\Z))",
    re.I,
)
_NONE = re.compile(r"\b(?:none|no|absent)\b", re.I)
_GONE = ("resolved", "cleared", "gone", "absent", "disappeared", "vanished")
_STAYED = (
    r"(?:persist\w*|stable|unchanged|larger|smaller|increas\w+|decreas\w+|improv\w+|worse\w*"
    r"|present|new|small|moderate|large|tiny|trace|minimal|mild)"
)
_THE_OTHER_SIDE = re.compile(
    r"(?:[.;,](?:\s+(?:and|but|while|whereas|though))?|\s(?:and|but|while|whereas|though))\s+"
    r"(?:the\s+)?(?P<side>left|right)(?:[ -]sided)?(?: one| side)?(?=\s+(?:(?:persists?|remains?)\b"
    r"(?!\s+\w)|persists\b|(?:has|have|is|was|remains?|appears?)\s+"
    r"(?:(?:now|also|been|still|since|to have|\w+ly)\s+){0,3}"
    rf"(?:(?P<gone>{'|'.join(_GONE)})|{_STAYED})\b))",
    re.I,
)
"""Where a side is said to have kept or lost what was named before."""
_BEFORE_A_SIDE = tuple(
    f"{joint} {article}"
    for joint in (*",;.", "and", "but", "while", "whereas", "though")
    for article in ("", "the ", "The ")
)
_BOTH = re.compile(r"\b(?:bilateral|both|bibasilar|bibasal|biapical)\b", re.I)
_GONE_ON = re.compile(
    rf"{_BOTH.pattern}(?P<what>[^.;]{{0,60}}?),?(?: (?:now|have|has|since|been|but|which))*"
    rf" (?:{'|'.join(_GONE)}) (?:on|at|in) the (?P<side>left|right)\b(?! (?:and|or)\b)",
    re.I,
)
"""*Bilateral effusions, now resolved on the right*."""
_OTHER = {"left": "right", "right": "left"}
_STOP = re.compile(r"[.;!?\n]")
_CLAUSE = 160
"""Characters before a side in which what it has is looked for."""
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
    of_a_kind
        Labels of ``denied`` that are denied of a kind only, such as an acute fracture. None that
        the text affirms is among ``denied`` for that.
    supposed
        Labels named where the text tells of no film, or of another's: *Look for a mass*.
    """

    affirmed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    normal: bool = False
    asked: frozenset[str] = frozenset()
    abnormal: bool = False
    of_a_kind: frozenset[str] = frozenset()
    supposed: frozenset[str] = frozenset()

    @property
    def flatly_denied(self) -> frozenset[str]:
        """Labels denied altogether, which nothing else may affirm."""
        return self.denied - self.of_a_kind if self.of_a_kind else self.denied


def finding_labels(text: str) -> frozenset[str]:
    """Labels affirmed in a text, and of a question those that it asks for."""
    found = read_findings(text)
    return found.affirmed | found.asked if found.asked else found.affirmed


def questions_in(text: str) -> int:
    """How many questions a text asks and leaves open; *Pneumothorax? No.* asks none."""
    return len(ASKED.findall(_ANSWERED.sub(": ", text))) if "?" in text else 0


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


@lru_cache(maxsize=65_536)
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
    for mention in _mentions(text, _words_of(text)):
        parts += [text[position : mention.start], mention.kind]
        position = mention.end
    return "".join([*parts, text[position:]])


@lru_cache(maxsize=65_536)  # steps and answers are made of few sentences; a reward reads thousands
def read_findings(text: str) -> Findings:
    """Read a text sentence by sentence."""
    if not text.isascii():
        text = text.translate(_FULL_WIDTH)
    if ";" in text or text.count(".") != text.count(". ") + text.endswith("."):  # else it has none
        text = _JOINED.sub(r"\g<0> ", text)
    if "?" in text:
        text = _ANSWERED.sub(": ", text)
    if "**" in text or "__" in text:
        text = text.replace("**", "").replace("__", "")
    if "~~" in text:
        text = _STRUCK_OUT.sub(" ", text)
    if any(short in text for short in _SHORT_STOPS) or text[:2] in ("R.", "L."):
        text = _SHORT_STOP.sub(r"\1\2", text)
    if _has_ellipsis(text):
        text = _with_ellipses_filled(text)
    if ":" in text:
        text = _with_lists_spelt_out(text)
    if _leaves_out_a_finding(text):
        text = _with_findings_filled(text)
    read = [_read_sentence(sentence) for sentence in _SENTENCE.split(text)]
    if len(read) == 1 and not read[0].of_a_kind:
        return read[0]
    affirmed: set[str] = set()
    denied: set[str] = set()
    asked: set[str] = set()
    of_a_kind: set[str] = set()
    supposed: set[str] = set()
    normal = abnormal = False
    for found in read:  # one pass: of answers this is the most of the time
        affirmed |= found.affirmed
        denied |= found.denied
        normal = normal or found.normal
        abnormal = abnormal or found.abnormal
        if found.asked:
            asked |= found.asked
        if found.supposed:
            supposed |= found.supposed
        if found.of_a_kind:
            of_a_kind |= found.of_a_kind
    if of_a_kind:
        of_a_kind.difference_update(*[found.denied - found.of_a_kind for found in read])
        there = affirmed.union(map(kind_of, affirmed))
        denied -= of_a_kind & there
        of_a_kind -= there
    return Findings(
        *(frozenset(affirmed), frozenset(denied), normal, frozenset(asked), abnormal),
        frozenset(of_a_kind),
        frozenset(supposed),
    )


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
    starts = [0, *(match.end() for match in _SENTENCE.finditer(text)), len(text)]
    of_sentences: dict[int, tuple[list[_Mention], bool]] = {}
    for gap in _ELLIPSIS.finditer(text):
        number = max(0, bisect_left(starts, gap.start()) - 1)
        start = starts[number]
        if number not in of_sentences:
            sentence = text[start : starts[number + 1]]
            mentions = _mentions(sentence, _words_of(sentence))
            denies = bool(mentions) and _denies(text[start : gap.start()], mentions[0])
            of_sentences[number] = mentions, denies
        mentions, denies = of_sentences[number]
        parts.append(text[position : gap.end()])
        if denies and bisect_left(mentions, gap.start() - start, key=attrgetter("start")) == 1:
            parts.append(f"but {mentions[0].kind} ")
        position = gap.end()
    return "".join([*parts, text[position:]])


def _with_lists_spelt_out(text: str) -> str:
    """*Effusions: right small, left moderate* with the effusion in each part."""
    parts, position = [], 0
    for told in _SIDED_LIST.finditer(text):
        before = _last_clause(text, told.start())
        mentions = _mentions(before, _words_of(before))
        said = (told["first"], told["second"])
        sides = [_sides_in(part) for part in said]
        if not mentions or mentions[-1].end < len(before) or sides[0] == sides[1]:
            continue
        start = told.start() - len(before) + mentions[-1].start
        if start < position or text[start : told.start()].strip() != text[start : told.start()]:
            continue
        parts.append(text[position:start])
        parts += [_part_spelt_out(part, mentions[-1].kind) for part in said]
        position = told.end()
    return "".join([*parts, text[position:]])


def _part_spelt_out(part: str, kind: str) -> str:
    return f"; {'no ' if _NONE.search(part) else ''}{_NONE.sub('', part)} {kind}"


def _leaves_out_a_finding(text: str) -> bool:
    """Whether :data:`_THE_OTHER_SIDE` or :data:`_GONE_ON` may match. Much faster."""
    for side in ("left ", "right "):
        start = text.find(side)
        while start >= 0:
            if text.endswith(_BEFORE_A_SIDE, max(0, start - 12), start):
                return True
            start = text.find(side, start + 1)
    return ("ilat" in text or "oth " in text) and any(word in text for word in _GONE)


def _with_findings_filled(text: str) -> str:
    """*The right effusion has resolved; the left persists* with the effusion named in both.

    Of both sides, of which one is told to be free by now, the other remains.
    """
    parts, position = [], 0
    for told in _THE_OTHER_SIDE.finditer(text):
        before = _last_clause(text, told.start())
        mentions = _mentions(before, _words_of(before))
        side = told["side"].lower()
        if len(mentions) != 1 or mentions[0].kind in _UNSIDED or _sides_in(before) == {side}:
            continue
        start = max(position, told.start() - len(before))
        parts += [text[position:start]]
        clause = text[start : told.start()]
        if told["gone"]:
            clause = _BOTH.sub(_OTHER[side], clause, count=1)
        parts += [clause, f". The {side} {mentions[0].kind}"]
        position = told.end()
    return _GONE_ON.sub(_one_side_left, "".join([*parts, text[position:]]))


def _one_side_left(told: re.Match[str]) -> str:
    mentions = _mentions(told["what"], _words_of(told["what"]))
    if len(mentions) != 1:
        return told[0]
    side = told["side"].lower()
    return f"{_OTHER[side]}{told['what']}. No {side} {mentions[0].kind}"


def _last_clause(text: str, end: int) -> str:
    """What stands before ``end`` since the last stop, as far as it is looked at."""
    return _STOP.split(text[max(0, end - _CLAUSE) : end])[-1].rstrip()


def _denies(sentence: str, mention: _Mention) -> bool:
    return polarity(sentence, mention.start, mention.end, negations(sentence), ()) is False


def _words_of(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


class _Mention(NamedTuple):
    start: int
    end: int
    kind: str


@lru_cache(maxsize=65_536)
def _may_name(word: str) -> int:
    """Findings whose name may hold a word, in lower case: a bit for each of the patterns."""
    return sum(1 << number for number, like in enumerate(_WORD_OF_A_NAME) if like.search(word))


@lru_cache(maxsize=4_096)
def _of_bits(bits: int) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(mention for number, mention in enumerate(_MENTIONS) if bits >> number & 1)


def _mentions(sentence: str, words: Iterable[str]) -> list[_Mention]:
    """Findings named, in order; where two lie over each other, the first and longest.

    Parameters
    ----------
    words
        Its words, in lower case.
    """
    found = []
    for kind, pattern in _of_bits(reduce(or_, map(_may_name, words), 0)):
        found += [_Mention(*match.span(), kind) for match in pattern.finditer(sentence)]
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
    plainly: set[str] = set()
    asked: set[str] = set()
    supposed: set[str] = set()
    words = _words_of(sentence)
    if words & _SHORT_WORDS:
        spelt_out = _SHORT_SIDE.sub(lambda side: _SHORT_SIDES[side[0].lower()], sentence)
        if spelt_out != sentence:
            return _read_sentence(spelt_out)
    mentions = _mentions(sentence, words)
    if len(mentions) > 1 and not words.isdisjoint(_COLLAPSING):
        mentions = _without_its_collapse(sentence, mentions)
    denials = None if words.isdisjoint(DENYING) else negations(sentence)
    unasserting = not words.isdisjoint(UNASSERTING)
    only_asked = asked_until(sentence) if unasserting or "?" in sentence else 0
    told, untold = untold_of(sentence) if unasserting else (0, len(sentence))
    looked_for = -1
    normalising = words & _NORMALISING
    abnormal = bool(denials and words & _NORMAL_WORDS and called_abnormal(sentence))
    normal = bool(normalising and not abnormal and _NORMAL.search(sentence, only_asked))
    if mentions:
        turned = turns(sentence, denials) if denials else []
        sides = _sides(sentence, mentions, turned) if words & _SIDING else None
        for number, mention in enumerate(mentions):
            affirms = polarity(sentence, mention.start, mention.end, denials, turned)
            here = told <= mention.start < untold
            if affirms is None and here:
                if denials is not None and only_looked_for(sentence, mention.start):
                    looked_for = mention.end
                continue
            if looked_for >= 0 and list_goes_on(sentence, looked_for, mention.start):
                looked_for = mention.end
                here = False
            named = {mention.kind}
            if sides and sides[number] and mention.kind not in _UNSIDED:
                named = {f"{side} {mention.kind}" for side in sides[number]}
            if mention.start < only_asked:
                asked |= named if affirms else set()
                continue
            if affirms is not False and not here:
                supposed |= named
                continue
            if not affirms and sides and (other := _on_the_other_side(sentence, mention)):
                affirmed.add(other)
                named.discard(other)
            (affirmed if affirms else denied).update(named)
            if not affirms and not _is_of_a_kind(sentence, mention):
                plainly |= named
    if normalising and not only_asked and not any(one.denies_on for one in denials or ()):
        called_normal = _normal_parts(sentence, affirmed)
        denied |= called_normal
        plainly |= called_normal
    if words & _MAYBE_OMINOUS and not abnormal:
        abnormal = _is_ominous(sentence, denials)
    return Findings(
        *(frozenset(affirmed), frozenset(denied), normal or bool(denied), frozenset(asked)),
        abnormal,
        frozenset(denied - plainly),
        frozenset(supposed),
    )


def _without_its_collapse(sentence: str, mentions: list[_Mention]) -> list[_Mention]:
    """Without *collapse of the lung* beside the pneumothorax that it is told of."""
    if not any(mention.kind == "pneumothorax" for mention in mentions):
        return mentions
    return [
        mention
        for mention in mentions
        if mention.kind != "atelectasis"
        or not _LUNG_COLLAPSED.search(sentence[mention.start : mention.end])
    ]


def _is_of_a_kind(sentence: str, mention: _Mention) -> bool:
    named = sentence[mention.start : mention.end]
    return bool(_NARROWER.search(named) or denied_of_a_kind(sentence, mention.start, mention.end))


def _on_the_other_side(sentence: str, mention: _Mention) -> str | None:
    """What *a right, but no left, effusion* affirms."""
    before = sentence[max(0, mention.start - _BEFORE) : mention.start]
    told = _BUT_NOT.search(before) if "but" in before else None
    return f"{told[1].lower()} {mention.kind}" if told else None


def _is_ominous(sentence: str, denials: Sequence[Negation] | None) -> bool:
    turned = turns(sentence, denials) if denials else []
    return any(
        polarity(sentence, match.start(), match.end(), denials, turned)
        for match in _OMINOUS.finditer(sentence)
    )


def _sides(sentence: str, mentions: list[_Mention], turns: list[int]) -> list[frozenset[str]]:
    """The sides of each mention: named in its own phrase, else anywhere on its side of a turn."""
    anywhere = _sides_in(sentence)
    lone = _before_a_side_of_the_next(sentence, mentions)
    if not anywhere or (len(anywhere) == 1 and not turns):
        return [frozenset() if number < lone else anywhere for number in range(len(mentions))]
    both, edges = sentence, turns
    if pairs := _left_and_right(sentence, mentions):
        both = _written_as_bilateral(sentence, pairs)
        starts = [start for start, _ in pairs]
        edges = [
            turn
            for turn in turns
            if turn >= pairs[bisect_right(starts, turn) - 1][1] or turn < starts[0]
        ]
    edges = [0, *edges, len(both)]
    between: dict[int, frozenset[str]] = {}
    found = []
    for number, mention in enumerate(mentions):
        edge = bisect_right(edges, mention.start) - 1
        first = edges[edge]
        last = edges[bisect_left(edges, mention.end)]
        begin = max(first, mentions[number - 1].end if number else 0)
        end = min(last, mentions[number + 1].start if number + 1 < len(mentions) else last)
        before = _BETWEEN.split(both[begin : mention.start])[-1]
        after = _BETWEEN.split(both[mention.end : end])
        own = _sides_in(f"{before}{both[mention.start : mention.end]} {after[0]}")
        if not own and not number:  # "left apical and basal opacities and a right nodule"
            own = _sides_in(both[begin : mention.start])
        own = own or _sides_in(" ".join(after))
        if not own:
            if edge not in between:
                between[edge] = _sides_in(both[first:last])
            own = between[edge]
        found.append(frozenset() if number < lone else own)
    if len(mentions) == 1 and not found[0]:
        # "In the left lung there is a nodule that is not calcified"
        return [_sides_in(both[: mentions[0].start])]
    return found


def _before_a_side_of_the_next(sentence: str, mentions: list[_Mention]) -> int:
    """How many mentions stand before the first side, where that is told of the next one alone."""
    if len(mentions) < 2 or (first := _SIDE.search(sentence)) is None:
        return 0
    number = bisect_left(mentions, first.start(), key=attrgetter("start"))
    if not 0 < number < len(mentions) or first.start() < mentions[number - 1].end:
        return 0  # or within one: "collapse of the left lower lobe and a small right effusion"
    between = sentence[mentions[number - 1].end : mentions[number].start]
    return number if _OF_THE_NEXT.fullmatch(between) else 0


def _written_as_bilateral(sentence: str, pairs: list[tuple[int, int]]) -> str:
    parts, position = [], 0
    for start, end in pairs:
        parts += [sentence[position:start], "bilateral".ljust(end - start)]
        position = end
    return "".join([*parts, sentence[position:]])


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


def _normal_parts(sentence: str, affirmed: set[str]) -> set[str]:
    """What is denied by calling the heart normal or a lung clear, unless it is affirmed beside."""
    if earlier_until(sentence):
        return set()
    denied: set[str] = set()
    if "cardiomegaly" not in affirmed and _NORMAL_HEART.search(sentence):
        denied.add("cardiomegaly")
    excepted = _EXCEPT.search(sentence)
    for clear in [] if excepted else _CLEAR_LUNG.finditer(sentence):
        if clear["part"]:
            continue
        # "The lungs are clear but for a nodule"
        if _BUT.search(sentence, clear.end()) and any(
            kind_of(label) in _NOT_IN_A_CLEAR_LUNG for label in affirmed
        ):
            continue
        side = clear["side"] or clear["after"]
        side = f"{side.lower()} " if side else ""
        denied |= {f"{side}{kind}" for kind in _NOT_IN_A_CLEAR_LUNG}
    return denied
