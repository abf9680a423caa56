"""Sections of a free-text report, found by their headings.

The rule for headings is that of the MIMIC-CXR code repository (``txt/section_parser.py``):
capitals at the beginning of a line, then a colon; where no heading says findings or impression,
what follows the first paragraph of the last section is the report. Headings are written, and
misspelt, in many ways; what is close to a known word counts as that word. Usual headings may also
be written small (``Findings:``), stand alone on their line, or in capitals after a sentence; a
colon within a time of day ends none. Below findings and impression, headings of parts (``LUNGS:``)
belong to the text. A text without any heading is findings as a whole.
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
_ALONE = (
    r"findings?(?: and impressions?)?|impressions?|conclusions?|techniques?|comparisons?"
    r"|(?:clinical )?(?:indications?|history)"
)
_CAPITALS = r"[A-Z](?:[A-Z0-9 ()/,&_-]|(?<=\d):(?=\d)|(?<=[AP])\.M\.){2,60}?"
_COLON = r"[ \t]*(?:(?<!\d):|:(?!\d))"
_HEADING = re.compile(
    rf"^[ \t]*(?P<capitals>{_CAPITALS}|(?i:{_USUAL})){_COLON}"
    rf"|^[ \t]*(?P<alone>(?i:{_ALONE}))[ \t]*$"
    rf"|(?<=[.!?] )(?P<within>FINDINGS?|IMPRESSIONS?|CONCLUSIONS?){_COLON}",
    re.MULTILINE,
)
_ANOTHER = re.compile(
    r"\b(?:EXAM\w*|STUDY|TYPE|PROCEDURE|NOTIFICATIONS?|RECOMMENDATIONS?|WET READ|ADDEND\w+|PFI"
    r"|PROVISIONAL|PRELIMINARY|REPORT|DATE|TIME|SIGNED|DICTATED|TRANSCRIBED|READ BY|APPROVED"
    r"|PHYSICIAN|RADIOLOGISTS?|ATTENDING|RESIDENT|CODES?|DIAGNOSIS|ACCESSION|COMMENTS?|NOTES?)\b"
)
"""Headings that end findings and impression, and are no part of them."""
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
    "INTERPRETATION": "impression",
    "INDICATION": "indication",
    "INDICATIONS": "indication",
    "HISTORY": "indication",
    "REASON": "indication",
    "TECHNIQUE": "technique",
    "COMPARISON": "comparison",
    "COMPARISONS": "comparison",
}
_SHORT = {"SUMMARY": "impression", "IMP": "impression"}
"""What is too short or too usual to be looked for within a heading."""
_PROVISIONAL = re.compile(r"\b(?:PROVISIONAL|PFI)\b")
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
        if _BODY.match(text, heading.end()) or section_name(_name(heading))
    ]
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    report_part: str | None = None
    for heading, end in zip(headings, ends, strict=False):  # no heading, no section
        name = _name(heading)
        section = section_name(name)
        body = tidy(text[heading.end() : end])
        if section is None and report_part and not _ANOTHER.search(name.upper()):
            if body:
                found[report_part].append(f"{tidy(name)}: {body}")
            continue
        report_part = section if section in ("findings", "impression") else None
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
    name = section_name(_name(heading))
    if name in found:
        found[name][-1] = tidy(first)


def _name(heading: re.Match[str]) -> str:
    return str(heading[heading.lastgroup or 0])


@lru_cache(maxsize=4096)
def section_name(heading: str) -> str | None:
    """Findings, impression, indication, technique, comparison or view; None for other headings."""
    heading = heading.upper()
    if _PROVISIONAL.search(heading):
        return None
    if heading in _SHORT:
        return _SHORT[heading]
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
