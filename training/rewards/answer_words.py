"""Words of short answers: which are one, which tell a detail that nobody asks for, which hedge."""

from __future__ import annotations

import re

from training.rewards.predicates import FILMS

_ONE_WORD = {
    "yes": "yeah yep true correct affirmative",
    "no": "false nope incorrect",
    "normal": "normally unremarkable wnl",
    "both": "bilateral bilaterally",
    "none": "nothing",
    "small": "mild mildly minimal minimally slight slightly trace tiny minor little",
    "moderate": "medium moderately",
    "large": "severe severely big massive huge marked markedly",
    "larger": "bigger increased increase increasing worse worsened worsening progressed progression"
    " progressing grown",
    "smaller": "decreased decrease decreasing improved improvement improving reduced reduction"
    " regressed regression better",
    "unchanged": "stable same similar",
    "mid": "middle",
    "lung": "lungs",
    "lobe": "lobes",
    "zone": "zones",
    "field": "fields",
    "third": "thirds",
    "base": "bases basal basilar",
    "apex": "apices apical",
    "hilum": "hila hilar hilus",
    "right": "rt",
    "left": "lt",
    "male": "man men gentleman",
    "female": "woman women lady",
    "chest": "thorax thoracic",
    "ap": "anteroposterior",
    "pa": "posteroanterior",
    "upright": "erect standing",
    "posterior": "posteriorly",
    "anterior": "anteriorly",
    "medial": "medially",
    "pacemaker": "pacer pacemakers ppm",
    "tube": "tubes",
    "catheter": "catheters",
    "line": "lines",
    "wire": "wires",
    "0": "zero",
    "1": "one single solitary",
    "2": "two pair couple",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
    "10": "ten",
}
SAME = {word: one for one, words in _ONE_WORD.items() for word in words.split()}
"""Of each synonym, the word that stands for it."""

_IN_FULL = {
    "endotracheal tube": r"ett|et tubes?",
    "nasogastric tube": r"ngt|ng tubes?",
    "orogastric tube": r"ogt|og tubes?",
    "chest-tube": r"(?:chest|thoracostomy) tubes?",
    "central venous catheter": r"cvc|cvl|central (?:venous )?(?:line|catheter)s?",
    "picc": r"(?:picc|peripherally inserted central(?: venous)?) (?:line|catheter)s?",
    "port": r"port-?a-?cath|mediport|chest port",
    "defibrillator": r"a?icd|implantable cardioverter[ -]defibrillator",
    "tracheostomy": r"tracheostomy tubes?|trach(?: tube)?",
    "retrocardiac": r"(?:behind|posterior to) the (?:heart|cardiac (?:silhouette|shadow))",
    "normal": r"within normal limits?",
    "likely": r"more likely than not",
}
_SHORT = re.compile(
    rf"\b(?:{'|'.join(f'(?P<i{i}>{p})' for i, p in enumerate(_IN_FULL.values()))})\b"
)
_FULL_BY_GROUP = {f"i{i}": full for i, full in enumerate(_IN_FULL)}
_BY_DEGREE = r"(?: (?:mildly|slightly|moderately|markedly|severely|diffusely|focally))?"
_IS = r"(?: (?:is|are|was|were|appears?|looks?))?"
_WIDE_AORTA = re.compile(
    r"\b(?:(?:widen(?:ed|ing)|dilat(?:ed|ation|ion)|enlarge(?:d|ment)|ectatic)"
    r"(?: of)?(?: the)?(?: thoracic)? aorta"
    rf"|aorta{_IS}{_BY_DEGREE} (?:widened|dilated|enlarged|ectatic))\b",
    re.I,
)
_THICK_PLEURA = re.compile(
    r"\bthicken(?:ed|ing)(?: of)?(?: the)?(?P<side> (?:left|right|apical|basal))? pleura\b"
    rf"|\bpleura{_IS}{_BY_DEGREE} thickened\b",
    re.I,
)


def with_names_of_findings(text: str) -> str:
    """A text with *a widened aorta* and *thickening of the pleura* by their names."""
    lower = text.lower()
    if "aorta" in lower:
        text = _WIDE_AORTA.sub("aortic enlargement", text)
    if "pleura" in lower and "thicken" in lower:
        text = _THICK_PLEURA.sub(
            lambda found: f"{found['side'] or ''} pleural thickening".strip(), text
        )
    return text


def in_full(lower: str) -> str:
    """A text in small letters with abbreviations of devices, and a few turns, in one wording."""
    return _SHORT.sub(lambda short: _FULL_BY_GROUP[short.lastgroup or ""], lower)


DEVICES = frozenset(
    (
        *("pacemaker", "defibrillator", "endotracheal", "tracheostomy", "nasogastric", "tube"),
        *("chest-tube",),
        *("orogastric", "enteric", "feeding", "gastric", "catheter", "line", "picc", "port"),
        *("drain", "balloon", "valve", "stent", "wire", "clip", "clips", "swan-ganz", "swan"),
        *("central", "venous", "arterial", "prosthesis", "screw", "screws", "rod", "rods"),
    )
)
"""Words of devices: beside the one wanted, such a word names another."""
OF_A_DEVICE = frozenset(
    (
        *("with", "its", "tip", "tips", "lead", "leads", "device", "generator", "wall", "level"),
        *("above", "carina", "trachea", "clavicle", "clavicles", "svc", "vena", "cava", "junction"),
        *("cavoatrial", "atrium", "ventricle", "jugular", "internal", "subclavian", "stomach"),
        *("good", "satisfactory", "appropriate", "appropriately", "standard", "adequate"),
        *("proper", "properly", "correctly", "position", "positioned", "place", "placed"),
        *("terminates", "terminating", "ends", "ending", "projects", "projecting", "overlies"),
        *("overlying", "over", "implanted", "permanent", "cardiac", "dual", "chamber", "distal"),
        *("biventricular", "superior", "right", "left"),
    )
)
"""What may be told of a device besides which it is."""
OF_A_PLEURAL_SIDE = frozenset(("pleural", "space", "cavity", "costophrenic", "angle", "sulcus"))
"""What stands for a side beside *left* or *right*: *the left pleural space*."""
DETAILS = FILMS | frozenset(
    (
        *("x", "x-ray", "x-rays", "portable", "upright", "supine", "sitting", "semi", "bedside"),
        *("mobile", "lying", "recumbent", "semirecumbent", "position"),
        *("posterior", "anterior", "medial", "lateral", "segment", "superior", "inferior"),
        *("peripheral", "central", "retrocardiac", "perihilar", "subpleural", "dependent"),
        *("interstitial", "alveolar", "pulmonary", "pleural", "loculated", "layering", "tension"),
        *("diffuse", "focal", "patchy", "hazy", "dense", "faint", "subtle"),
        *("amount", "degree", "severity", "extent", "interval", "than", "before", "previously"),
        *("likely", "probable", "probably", "presumably", "most", "mainly", "mostly"),
        *("predominantly", "region", "area", "she", "he"),
    )
)
"""What tells nothing of what is asked where it is not wanted itself."""
OF_A_SIGN = frozenset(
    (
        *("air", "bronchogram", "bronchograms", "sign", "meniscus", "volume", "loss", "blunting"),
        *("costophrenic", "angle", "margin", "margins", "border", "borders", "visible", "line"),
        *("pleural", "spiculated", "irregular", "smooth", "rounded", "defined", "well"),
    )
)
"""What may be told of a finding besides which it is: its shape, and signs of it."""
POSTURES = frozenset(("supine", "upright", "sitting"))
VALUES = (
    POSTURES,
    frozenset(("anterior", "posterior")),
    frozenset(("medial", "lateral")),
    frozenset(("superior", "inferior")),
    frozenset(("central", "peripheral")),
    frozenset(("interstitial", "alveolar")),
    frozenset(("focal", "diffuse")),
)
"""Details of which one is right where one is wanted."""

BELIEVE = frozenset(("think", "believe"))
"""What does so with *so*, or beside a word that does."""
LIKELY = BELIEVE | {"likely", "probable", "probably", "presumably"}
"""What affirms or denies as a flat word would: *probably*, *I think not*."""
BY_DEGREE = frozenset(("most", "very", "highly", "quite", "rather", "extremely", "so"))
"""What may stand before such a word, or *unlikely*; *less* may not."""
SUSPECTS = frozenset(
    (
        *("possible", "suspect", "suspected", "suspicious", "suspicion", "probable", "conceivable"),
        *("plausible", "questionable", "may", "might", "could"),
    )
)
"""What says of a finding that it may be there after all."""
DOUBTS = SUSPECTS | frozenset(("likely", "probably", "possibly", "perhaps", "maybe"))
"""The same, and what may qualify the word before it: *no, perhaps*."""
BUT_POSSIBLY = re.compile(
    r"\b(?:but|though|although|however|yet|still)\b,?(?: (?:most|very|quite|highly))?"
    r" (?:likely|probably|possibly|perhaps|maybe)\s*(?:[^\w\s]|\Z)"
)
"""A doubt by itself that is set against the word before it."""
ELSEWHERE = frozenset(("other", "another", "prior", "previous", "earlier", "old", "last"))
"""What tells of another film, or another place than the one asked about."""
SEEN = frozenset(
    (
        *("seen", "visible", "visualized", "visualised", "identified", "detected", "evident"),
        *("apparent", "appreciated", "demonstrated", "shown", "noted", "found", "discernible"),
        *("identifiable", "recognizable", "recognisable"),
    )
)
"""What affirms where it is asked whether something is there, or can be seen."""
BESIDE_SEEN = frozenset(
    (
        *("can", "could", "be", "been", "has", "have", "1", "clearly", "well", "readily", "easily"),
        *("definitely", "still", "now", "was", "were", "they"),
    )
)
"""What may stand with it."""
BEGINS_A_PLACE = frozenset(
    (
        *("in", "on", "at", "within", "over", "near", "above", "below", "behind", "with", "to"),
        *("under", "along", "overlying", "projecting"),
    )
)
"""With which a clause goes on to tell where."""
