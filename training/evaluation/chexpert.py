"""The 14 CheXpert observations of a report, read off by rule.

Mentions, denials and hedges by phrase, after the CheXpert labeler (Irvin et al., 2019, arXiv
1901.07031): an observation of a report is present where one mention affirms it, else uncertain
where one hedges it, else absent where one denies it. Needs no weights and no other package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

from training.negation import (
    DENYING,
    NORMAL,
    SENTENCE_ENDS,
    asked_until,
    called_abnormal,
    negations,
    polarity,
    turns,
)


class Presence(Enum):
    """What a report says of an observation; the values are those of CheXpert's tables."""

    PRESENT = 1
    UNCERTAIN = -1
    ABSENT = 0


NO_FINDING = "No Finding"
_HEART = (
    r"(?:heart|cardiac|cardio-?(?:mediastinal|pericardial)?)"
    r"(?: size| silhouettes?| contours?| shadow| outline)*"
)
_ANGLE = r"(?:costo\w+|cp|sulc\w+)(?: angles?| sulc\w+)?"
_PHRASES = {
    "Enlarged Cardiomediastinum": (
        r"(?:enlarged|widen(?:ed|ing)(?: of the)?|prominent|prominence of(?: the)?|abnormal)"
        r" (?:superior |upper )?(?:cardio)?mediastin\w+",
        r"mediastin\w+(?: (?:silhouette|contours?))?(?: \w+){0,5} (?:enlarged|widened|prominent)",
        r"mediastin\w+ (?:widening|enlargement|prominence)",
    ),
    "Cardiomegaly": (
        r"cardio ?megaly",
        rf"(?:enlarg\w+|big|prominent|borderline)(?: of)?(?: the)? (?:transverse )?{_HEART}\b",
        rf"\b{_HEART}\b(?:, [^.;,]{{0,40}},)?"
        rf"(?:(?!\b(?:{NORMAL}|(?:unremarkable|aort\w+|mediastin\w+|lungs?)\b))[^.;,]){{0,60}}?"
        r"\b(?:enlarg\w+|increased|(?:mildly|is) prominent|large|upper limits? of normal)",
    ),
    "Lung Lesion": (
        r"nodules?|nodularity|(?:fibro|reticulo)?nodular(?! mass)",
        r"(?<!soft tissue )mass(?:es)?(?! effect)|lump|cavitary lesions?",
        r"carcinoma|neoplasms?|tumou?rs?",
    ),
    "Lung Opacity": (
        r"opacit(?:y|ies)|opacifications?|opacified|infiltrat\w+|air-? ?space (?:disease|process)",
        r"interstitial (?:markings?|pattern|thickening|prominence|changes|lung disease)",
        r"(?:increased|hazy|patchy|streaky|focal|nodular|vague|ill-defined) densit(?:y|ies)",
        r"reticul\w+ (?:pattern|markings?)|reticulation|parenchymal scarring",
    ),
    "Edema": (
        r"o?edema|heart failure|chf|cephali[sz]ation",
        r"(?:pulmonary |venous |(?:pulmonary |central )?vascular )congestion",
        r"(?:pulmonary )?vascular (?:prominence|redistribution|engorgement)",
    ),
    "Consolidation": (r"consolidat\w+",),
    "Pneumonia": (r"(?<!streptococcus )pneumonias?|pneumonitis|bronchopneumonia",),
    "Atelectasis": (r"atelecta\w+|(?:lobar|lobe|lung|segmental|volume) collapse",),
    "Pneumothorax": (r"(?:hydro)?pneumo[ -]?thora(?:x|ces)|ptx",),
    "Pleural Effusion": (
        r"(?<!pericardial )(?<!joint )effusions?|pleural fluid",
        r"hydro(?:pneumo)?thorax|ha?emothorax",
        rf"blunt(?:ing|ed)(?: of)?(?: the)?(?: \w+){{0,4}} {_ANGLE}",
        r"(?:costo\w+|cp) (?:angles?|sulc\w+)(?: \w+){0,4} blunt(?:ing|ed)",
    ),
    "Pleural Other": (
        r"pleural?(?:-\w+| and parenchymal)? (?:\w+ )?"
        r"(?:thickening|plaques?|scarring|calcifications?|fibrosis|retraction)",
        r"fibrothorax|pleuro-?parenchymal scarring|apical (?:capping|cap|thickening)",
        r"thickening of the (?:\w+ )?pleura",
        r"fissural thickening|thickening (?:of|in|along) the (?:\w+ )?fissures?",
    ),
    "Fracture": (r"fractures?|fractured|fxs?|broken (?:rib|bone|wire)s?",),
    "Support Devices": (
        r"pace ?makers?|pacer|pacing (?:device|leads?|wires?)|leads",
        r"(?:icd|aicd|defib\w+)(?: leads?)?|stimulator|loop recorder",
        r"(?:assist|closure|electronic|monitoring) device",
        r"picc\w*|catheters?|port-?a-?cath\w*|mediport|(?:infusion |chest )?ports?(?! of)|shunt",
        r"(?:central venous|picc|subclavian|jugular|ij|venous) (?:\w+ )?lines?|swan-? ?ganz",
        r"(?:endotracheal|et|ng|nasogastric|enteric|orogastric|tracheostomy|chest|feeding"
        r"|thoracostomy|dobhoff|drainage) ?tubes?|tracheostomy|drains?|stents?",
        r"(?:valve|valvular) (?:prosthes[ie]s|replacements?)|prosthes[ie]s|prosthetic",
        r"artificial heart|hardware|arthroplast\w+|bone anchors?",
        r"(?:spinal|orthopedic|fixation|surgical|fusion) (?:rods?|plates?|screws?)",
        r"(?:cervical|thoracic|lumbar|spinal|spine) (?:spine )?fusion",
    ),
}
"""Of each observation, how it is named."""
OBSERVATIONS = (NO_FINDING, *_PHRASES)
"""As CheXpert names them."""
FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The competition's tasks, over which F1 is told beside that over all."""
_MENTIONS = {
    name: re.compile(rf"\b(?:{'|'.join(phrases)})\b", re.I) for name, phrases in _PHRASES.items()
}
_WORD = re.compile(r"[a-z]+")
_CALLED_NORMAL = {
    "Cardiomegaly": re.compile(
        rf"\b{_HEART}\b[^.;]{{0,80}}?"
        rf"\b(?:{NORMAL}|(?:unremarkable|not enlarged|within limits|stable)\b)"
        rf"|\bnormal\b[^.;]{{0,40}}?\b{_HEART}\b",
        re.I,
    ),
    "Enlarged Cardiomediastinum": re.compile(
        r"\bmediastin\w+\b[^.;]{0,80}?\b(?:normal|unremarkable|within limits|stable)\b"
        r"|\bnormal\b[^.;]{0,60}?\bmediastin\w+",
        re.I,
    ),
}
_HEDGED_BEFORE = re.compile(
    r"\b(?:may|might|could|can)(?: \w+)? (?:be|represent|reflect|indicate|relate|suggest)\b"
    r"|\b(?:possib\w+|probab\w+|likely|suspect\w*|suspicious|question\w*|suggest\w*|concern\w*"
    r"|versus|vs\.?|differential|equivocal|cannot|can ?not|difficult to|not (?:\w+ )?exclude\w*"
    r"|rule out|evaluate for|if there is|worrisome|presumed)\b",
    re.I,
)
_HEDGED_AFTER = re.compile(
    r"[^.;,]{0,60}?\b(?:(?:can)?not (?:be |been |entirely )*(?:excluded|ruled out)|possible"
    r"|suspected|questioned|versus|vs)\b",
    re.I,
)
_NORMAL_AFTER = re.compile(
    r"[^.;,]{0,40}?\b(?:within (?:normal )?limits|normal|unremarkable)\b", re.I
)
_REMOVED_AFTER = re.compile(
    r"[^.;,]{0,40}?\b(?:(?:has|have) been|was|were) (?:since |now )?removed\b", re.I
)
_REMOVED_BEFORE = re.compile(r"\bremoval of(?: [\w-]+){0,4} $", re.I)
_REACH = 60
"""Characters before a mention within which a hedge counts."""


@lru_cache(maxsize=65_536)
def observations(report: str) -> dict[str, Presence]:
    """What a report says of each observation that it mentions.

    ``No Finding`` is present where no other observation is present or uncertain, support devices
    aside, as in CheXpert.
    """
    found: dict[str, Presence] = {}
    for sentence in SENTENCE_ENDS.split(report):
        for name, presence in _of_sentence(sentence):
            if found.get(name) is not Presence.PRESENT and (
                name not in found or presence is not Presence.ABSENT
            ):
                found[name] = presence
    there = {name for name, presence in found.items() if presence is not Presence.ABSENT}
    if not there - {"Support Devices"} and not called_abnormal(report):
        found[NO_FINDING] = Presence.PRESENT
    return found


def present(report: str, *, uncertain: bool = True) -> frozenset[str]:
    """Observations present; uncertain ones among them where told so."""
    wanted = {Presence.PRESENT, Presence.UNCERTAIN} if uncertain else {Presence.PRESENT}
    return frozenset(name for name, presence in observations(report).items() if presence in wanted)


def _of_sentence(sentence: str) -> Iterator[tuple[str, Presence]]:
    denials = negations(sentence) if DENYING.intersection(_WORD.findall(sentence.lower())) else []
    turned = turns(sentence, denials)
    only_asked = asked_until(sentence)
    for name, pattern in _MENTIONS.items():
        for match in pattern.finditer(sentence, only_asked):
            affirms = polarity(sentence, match.start(), match.end(), denials, turned)
            if affirms:
                yield name, _certainty(name, sentence, match.start(), match.end())
            elif affirms is not None:
                yield name, Presence.ABSENT
    if only_asked or (denials and called_abnormal(sentence)):
        return
    for name, pattern in _CALLED_NORMAL.items():
        if pattern.search(sentence):
            yield name, Presence.ABSENT


def _certainty(name: str, sentence: str, start: int, end: int) -> Presence:
    gone = _REMOVED_AFTER if name == "Support Devices" else _NORMAL_AFTER
    if gone.match(sentence, end):
        return Presence.ABSENT
    if name == "Support Devices" and _REMOVED_BEFORE.search(
        sentence, max(0, start - _REACH), start
    ):
        return Presence.ABSENT
    if _HEDGED_BEFORE.search(sentence, max(0, start - _REACH), start):
        return Presence.UNCERTAIN
    return Presence.UNCERTAIN if _HEDGED_AFTER.match(sentence, end) else Presence.PRESENT
