"""Sections of a free-text report, found by their headings.

The rule for headings is that of the MIMIC-CXR code repository (``txt/section_parser.py``):
capitals at the beginning of a line, then a colon; where no heading says findings or impression,
what follows the first paragraph of the last section is the report. Headings are written, and
misspelt, in many ways; what is close to a known word counts as that word. Usual headings may also
be written small (``Findings:``), and a text without any heading is findings as a whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from difflib import get_close_matches
from functools import lru_cache

from training.data.adapters.writing import Report

_USUAL = (
    r"(?:clinical |chest )?(?:findings?|impressions?|conclusions?|indications?|history|techniques?"
    r"|comparisons?)|findings?(?: and |\s?[/&]\s?)impression|reason for (?:exam(?:ination)?|study)"
    r"|exam(?:ination)?|procedure|recommendations?(?:\(s\))?|notification|addendum"
)
_HEADING = re.compile(rf"^[ \t]*([A-Z][A-Z0-9 ()/,&-]{{2,60}}?|(?i:{_USUAL}))[ \t]*:", re.MULTILINE)
_BODY = re.compile(r"\s|$")
_TITLE = re.compile(r"\A\s*(?:FINAL|PRELIMINARY|RADIOLOGY) REPORT[ \t]*:?[ \t]*(?:\n|\Z)", re.I)
_WORD = re.compile(r"[A-Z]{4,}")
_SECTIONS = {
    "FINDINGS": "findings",
    "FINDING": "findings",
    "IMPRESSION": "impression",
    "IMPRESSIONS": "impression",
    "CONCLUSION": "impression",
    "CONCLUSIONS": "impression",
    "INDICATION": "indication",
    "INDICATIONS": "indication",
    "HISTORY": "indication",
    "REASON": "indication",
    "TECHNIQUE": "technique",
    "COMPARISON": "comparison",
    "COMPARISONS": "comparison",
}
_VIEW = re.compile(r"\b(CHEST|RADIOGRAPHS?|VIEWS?|PORTABLE|LATERAL)\b")
_NOT_A_VIEW = re.compile(r"\b(EXAM|EXAMINATION|STUDY|TYPE|WET READ|ADDENDUM)\b")
_LIKENESS = 0.82
_GAP = re.compile(r"_{2,}|X{3,}")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def parse_report(text: str) -> Report:
    """Sections of a report; what stands under other headings is left out.

    Some reports put the findings under the name of the view (``CHEST, PA AND LATERAL:``); that
    text is taken where no heading says findings.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found: dict[str, list[str]] = defaultdict(list)
    headings = [
        heading
        for heading in _HEADING.finditer(text)
        # Without a space after its colon only a known one: `T2:bright` begins no section.
        if _BODY.match(text, heading.end()) or section_name(heading[1])
    ]
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=False):  # no heading, no section
        section = section_name(heading[1])
        body = tidy(text[heading.end() : end])
        if section and body:
            found[section].append(body)
    if "findings" not in found and "view" in found:
        found["findings"] = found["view"]
    found.pop("view", None)
    if not headings:
        found["findings"] = [tidy(_TITLE.sub("", text))]
    elif not {"findings", "impression"} & found.keys():
        _split_off_last_paragraph(found, headings[-1], text)
    return Report(**{name: " ".join(bodies) or None for name, bodies in found.items()})


def _split_off_last_paragraph(
    found: dict[str, list[str]], heading: re.Match[str], text: str
) -> None:
    """What follows the last section after an empty line is the report, where no heading says so."""
    first, *rest = _PARAGRAPH.split(text[heading.end() :].strip())
    body = tidy(" ".join(rest))
    if not body:
        return
    found["findings"] = [body]
    name = section_name(heading[1])
    if name in found:
        found[name][-1] = tidy(first)


@lru_cache(maxsize=4096)
def section_name(heading: str) -> str | None:
    """Findings, impression, indication, technique, comparison or view; None for other headings."""
    heading = heading.upper()
    for word in _WORD.findall(heading):
        close = get_close_matches(word, _SECTIONS, n=1, cutoff=_LIKENESS)
        if close:
            return _SECTIONS[close[0]]
    if _VIEW.search(heading) and not _NOT_A_VIEW.search(heading):
        return "view"
    return None


def tidy(text: str) -> str:
    """Text with each run of white space made one space."""
    return " ".join(text.split())


def without_gaps(text: str) -> str:
    """Text without the sentences that de-identification left gaps in (``___``, ``XXXX``)."""
    return " ".join(s for s in _SENTENCE.split(text) if s and not _GAP.search(s))


def drop_gaps(report: Report) -> Report:
    """The report with the gaps' sentences left out of findings and impression."""
    kept = {
        name: without_gaps(text) or None if text else None
        for name, text in (("findings", report.findings), ("impression", report.impression))
    }
    return Report(**{**report.fields(), **kept})
