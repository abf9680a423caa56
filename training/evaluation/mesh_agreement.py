"""How the rule-based labeler agrees with the people who coded the Open-I reports.

Indexers gave each report MeSH codes by hand (Demner-Fushman et al., 2016). MeSH and CheXpert divide
findings otherwise: what is compared is a CheXpert observation with the codes listed here. ``No
Finding`` has no counterpart: a report is coded ``normal`` only without old and bony changes, too.
The rules were written with these reports at hand, so this is agreement, not a held-out result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.adapters.open_i import OpenIReport, parse_open_i
from training.evaluation.chexpert import OBSERVATIONS, Presence, observations
from training.evaluation.intervals import bootstrap_interval

_CODES = {
    "Enlarged Cardiomediastinum": r"mediastinum/(?:prominent|enlarged|widened)",
    "Cardiomegaly": r"cardiomegaly|cardiac shadow/enlarged|heart(?: ventricles| atria)?/enlarged",
    "Lung Lesion": r"nodule|mass\b(?!.*breast)|(?:opacity|density)/.*round",
    "Lung Opacity": r"opacity|infiltrate|airspace disease|density|markings",
    "Edema": r"pulmonary edema|pulmonary congestion|heart failure",
    "Consolidation": r"consolidation",
    "Pneumonia": r"pneumonia",
    "Atelectasis": r"pulmonary atelectasis",
    "Pneumothorax": r"(?:hydro)?pneumothorax",
    "Pleural Effusion": r"pleural effusion|hydropneumothorax|costophrenic angle/.*blunted",
    "Pleural Other": r"pleura/|.*\bpleura\b",
    "Fracture": r"fractures, bone",
    "Support Devices": (
        r"catheters, indwelling|implanted medical device|tube, inserted|medical device|stents"
        r"|spinal fusion"
    ),
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _CODES.items()}
_NOT_CODED = ("no indexing", "technical quality")


@dataclass(frozen=True)
class Agreement:
    """Of one observation, over reports.

    Attributes
    ----------
    both, labeler_only, codes_only
        Reports that have it by both, by the labeler alone, by the codes alone.
    uncertain
        Reports left out because the labeler finds the observation hedged.
    f1
        Of the labeler against the codes; NaN where neither has it.
    interval
        95%, bootstrapped by report.
    """

    observation: str
    both: int
    labeler_only: int
    codes_only: int
    uncertain: int
    f1: float
    interval: tuple[float, float]


def read_reports(folder: Path) -> list[OpenIReport]:
    """The coded reports with findings or impression.

    Raises
    ------
    training.data.store.DataError
        When a file is no XML.
    """
    reports = (parse_open_i(path) for path in sorted(folder.rglob("*.xml")))
    return [
        report
        for report in reports
        if report.codes
        and not any(code.startswith(_NOT_CODED) for code in report.codes)
        and (report.report.findings or report.report.impression)
    ]


def mesh_agreement(reports: Sequence[OpenIReport]) -> list[Agreement]:
    """Agreement over every observation that MeSH has codes for."""
    said = [
        observations(f"{told.report.findings or ''} {told.report.impression or ''}")
        for told in reports
    ]
    found = []
    for name in OBSERVATIONS:
        if name not in _PATTERNS:
            continue
        pairs = [
            (labels.get(name) is Presence.PRESENT, any(map(_PATTERNS[name].match, told.codes)))
            for labels, told in zip(said, reports, strict=True)
            if labels.get(name) is not Presence.UNCERTAIN
        ]
        both, labeler_only, codes_only = (
            pairs.count(pair) for pair in ((True, True), (True, False), (False, True))
        )
        found.append(
            Agreement(
                name,
                both,
                labeler_only,
                codes_only,
                len(reports) - len(pairs),
                _f1(pairs),
                # Where neither has it nothing is counted, so those reports need no drawing.
                bootstrap_interval([pair for pair in pairs if any(pair)], _f1),
            )
        )
    return found


def agreement_table(found: Iterable[Agreement], reports: int) -> str:
    """Markdown."""
    lines = [
        f"| observation ({reports:,} reports) | F1 | 95% interval | both | labeler only "
        "| codes only | hedged, left out |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.observation} | {one.f1:.3f} | {one.interval[0]:.3f} to {one.interval[1]:.3f} "
        f"| {one.both} | {one.labeler_only} | {one.codes_only} | {one.uncertain} |"
        for one in found
    ]
    return "\n".join(lines)


def _f1(pairs: Sequence[tuple[bool, bool]]) -> float:
    both = sum(said and coded for said, coded in pairs)
    either = sum(said + coded for said, coded in pairs)
    return 2 * both / either if either else float("nan")
