"""Sections of a free-text report, found by their headings.

The rule for headings is that of the MIMIC-CXR code repository (``txt/section_parser.py``):
capitals at the beginning of a line, then a colon; where no heading says findings, what follows the
first paragraph of the last section before the impression is the findings. Headings are written, and
misspelt, in many ways; what is close to a known word counts as that word. Usual headings may also
be written small (``Findings:``), stand alone on their line, or in capitals after a sentence; a
colon within a time of day ends none, nor does one after a small word that a line begins with in the
middle of a sentence. Below findings and impression, headings of parts (``LUNGS:``, ``CHEST WALL:``)
belong to the text, and without an empty line before them those that only resemble another section's
(``EXAM QUALITY:``, ``NOTE:``). Of a preliminary and a final report the final one alone is read,
without an addendum behind it. A text without any heading is findings as a whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache

from training.data.adapters.writing import GAP, Report

_USUAL = (
    r"(?:clinical |chest )?(?:findings?|impressions?|conclusions?|indications?|history|techniques?"
    r"|comparisons?)|findings?(?: and |\s?[/&]\s?)impression|techniques? and findings?"
    r"|reason for (?:exam(?:ination)?|study)|exam(?:ination)?|procedure|report"
    r"|recommendations?(?:\(s\))?|notification|addendum"
)
_ALONE = (
    r"findings?(?: and impressions?)?|impressions?|conclusions?|techniques?|comparisons?"
    r"|(?:clinical )?(?:indications?|history)|(?:final )?addendum|wet read"
)
_CAPITALS = r"[A-Z](?:[A-Z0-9 ()/,&_-]|(?<=\d):(?=\d)|(?<=[AP])\.M\.){2,60}?"
_COLON = r"[ \t]*(?:(?<!\d):|:(?!\d))"
_HEADING = re.compile(
    rf"^[ \t]*(?P<capitals>{_CAPITALS}|(?i:{_USUAL})){_COLON}"
    rf"|^[ \t]*(?P<alone>(?i:{_ALONE}))[ \t]*$"
    rf"|(?:(?<=[.!?] )|(?<=[.!?]  ))(?P<within>FINDINGS?|IMPRESSIONS?|CONCLUSIONS?){_COLON}",
    re.MULTILINE,
)
_CLOSING = (
    r"NOTIFICATIONS?|RECOMMENDATIONS?|WET READ|ADDEND\w+|SIGNED|DICTATED|TRANSCRIBED|READ BY"
    r"|APPROVED"
)
_FRAME = r"PFI|PROVISIONAL|PRELIMINARY|PHYSICIAN|RADIOLOGISTS?|ATTENDING|RESIDENT"
_ASIDE = r"COMMENTS?|NOTES?"
_EXAMINED = r"EXAM\w*|STUDY|TYPE|PROCEDURE|DATE|TIME|ACCESSION|DIAGNOSIS|CODES?"
_ANOTHER = re.compile(rf"\b(?:{_CLOSING}|{_FRAME}|{_ASIDE}|{_EXAMINED}|REPORT)\b")
"""Headings that end findings and impression, and are no part of them."""
_ENDING = re.compile(
    rf".*\b(?:{_CLOSING}|{_FRAME})\b.*|(?:\b(?:{_EXAMINED}|REPORT|OF|AND|THE)\b\W*)+"
)
"""Of those, the ones that do so without an empty line: ``EXAM`` does, ``EXAM QUALITY`` may be a
part of the findings."""
_BEHIND = re.compile(rf"\b(?:{_CLOSING}|{_ASIDE})\b")
"""Headings that stand behind the report, so that no findings follow them."""
_ABOUT = re.compile(rf"\b(?:{_EXAMINED})\b")
"""Headings of what was examined, and when: they stand before the report."""
_ADDED = re.compile(
    r"^[ \t_=*-]*(?:FINAL )?ADDENDUM[ \t]*(?P<alone>[ \t_=*:-]*$)?(?(alone)|:)", re.M | re.I
)
"""Where an addendum begins: a line of its own, or a heading."""
_BODY = re.compile(r"\s|$")
_TITLE = re.compile(r"\A\s*(?:FINAL|PRELIMINARY|RADIOLOGY) REPORT[ \t]*:?[ \t]*(?:\n|\Z)", re.I)
_SEPARATOR = re.compile(r"^[ \t]*[_=*-]{5,}[ \t]*$", re.M)
_FINAL = re.compile(r"^[ \t_=*-]*FINAL REPORT[ \t_=*:-]*\n(?=\s*\S)", re.M | re.I)
_SENTENCE_ENDS = (".", "!", "?", ":", "")
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
_SHORT = {"SUMMARY": "impression", "IMP": "impression", "REPORT": "report"}
"""What is too short or too usual to be looked for within a heading."""
_PROVISIONAL = re.compile(r"\b(?:PROVISIONAL|PFI)\b")
_VIEW = re.compile(r"\b(CHEST|RADIOGRAPHS?|VIEWS?|PORTABLE|LATERAL)\b")
_NOT_A_VIEW = re.compile(r"\b(EXAM|EXAMINATION|STUDY|TYPE|WET READ|ADDENDUM)\b")
_LIKENESS = 0.82
_LIKENESS_BEHIND_FIRST = 0.9
"""Of a word that begins otherwise: ``MPRESSION`` is a heading, ``COMPRESSION`` none."""
_CONTEXT = ("indication", "technique", "comparison")
_REPORT = ("findings", "impression", "report")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass
class _Part:
    """A heading with the text up to the next one.

    Attributes
    ----------
    section
        As :func:`section_name` has it.
    is_apart
        Whether an empty line stands before it.
    """

    name: str
    section: str | None
    text: str
    is_apart: bool = True

    @property
    def paragraphs(self) -> tuple[str, str]:
        """The first paragraph, and the others."""
        first, *rest = _PARAGRAPH.split(self.text.strip())
        return tidy(first), tidy(" ".join(rest))


def parse_report(text: str) -> Report:
    """Sections of a report; what stands under other headings is left out.

    Some reports put the findings under the name of the view (``CHEST, PA AND LATERAL:``) or under
    ``REPORT:``; that text is taken where no heading says findings.
    """
    text = _SEPARATOR.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    finals = list(_FINAL.finditer(text))
    if finals:
        text = text[finals[-1].end() :]
    text = _without_addendum(text)
    parts = _parts_of(text)
    if not parts:
        return Report(findings=tidy(_TITLE.sub("", text)) or None)
    found = _bodies_of(parts)
    named = any(part.section in ("findings", "report") for part in parts)
    if not {"findings", "report"} & found.keys() and not (named and "impression" in found):
        _split_off_findings(parts)
        found = _bodies_of(parts)
    for instead in ("report", "view"):
        bodies = found.pop(instead, None)
        if bodies and "findings" not in found:
            found["findings"] = bodies
    return Report(**{name: " ".join(bodies) or None for name, bodies in found.items()})


def _without_addendum(text: str) -> str:
    """The text up to an addendum that stands behind the report; one before it stays."""
    for added in _ADDED.finditer(text):
        closing = _REPORT if added["alone"] is not None else ("impression",)
        before = text[: added.start()]
        if any(part.section in closing and part.text.strip() for part in _parts_of(before)):
            return before
    return text


def _bodies_of(parts: Sequence[_Part]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    report_part: str | None = None
    for part in parts:
        body = tidy(part.text)
        is_other = part.section is None or part.section == "view"
        if is_other and report_part and not _ends_sections(part):
            if body:
                found[report_part].append(f"{tidy(part.name)}: {body}")
            continue
        report_part = part.section if part.section in _REPORT else None
        if part.section and body:
            found[part.section].append(body)
    return found


def _ends_sections(part: _Part) -> bool:
    """Whether the part is none of the findings or impression that it follows."""
    name = part.name.upper()
    return bool(_ANOTHER.search(name)) and (part.is_apart or bool(_ENDING.fullmatch(name)))


def _parts_of(text: str) -> list[_Part]:
    headings = [
        heading
        for heading in _HEADING.finditer(text)
        # Without a space after its colon only a known one: `T2:bright` begins no section.
        if (_BODY.match(text, heading.end()) or section_name(_name(heading)))
        and not _is_within_a_sentence(heading, text)
    ]
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    return [
        _Part(
            _name(heading),
            section_name(_name(heading)),
            text[heading.end() : end],
            _is_apart(text, heading.start()),
        )
        for heading, end in zip(headings, ends, strict=False)  # no heading, no part
    ]


def _is_within_a_sentence(heading: re.Match[str], text: str) -> bool:
    """Whether a small word merely begins a line: ``… since prior / examination: no change``."""
    name = _name(heading)
    if not name[0].islower() or section_name(name) in ("findings", "impression"):
        return False
    said = text[: heading.start()].rstrip()
    return not _is_apart(text, heading.start()) and said[-1:] not in _SENTENCE_ENDS


def _is_apart(text: str, at: int) -> bool:
    """Whether an empty line stands before a place in the text."""
    return text.count("\n", len(text[:at].rstrip()), at) > 1


def _split_off_findings(parts: list[_Part]) -> None:
    """What follows the last context before the impression after an empty line is the findings.

    Without an impression that context may be under any heading. What else a history says before
    the next context is history. A view that is named before those findings is their title.
    """
    end = next((n for n, part in enumerate(parts) if part.section == "impression"), len(parts))
    follows_context = False
    for number in reversed(range(end)):
        part = parts[number]
        name = part.name.upper()
        if part.section == "view" and part.text.strip():
            return
        if _BEHIND.search(name):
            continue
        first, rest = part.paragraphs
        may_hold = part.section in _CONTEXT or end == len(parts)
        is_sure = part.section in ("technique", "comparison") or not follows_context
        if rest and may_hold and is_sure:
            part.text = first
            parts[number + 1 : number + 1] = [_Part("FINDINGS", "findings", rest)]
            return
        follows_context |= part.section in _CONTEXT or bool(_ABOUT.search(name))


def _name(heading: re.Match[str]) -> str:
    return str(heading[heading.lastgroup or 0])


@lru_cache(maxsize=4096)
def section_name(heading: str) -> str | None:
    """Findings, impression, indication, technique, comparison, report or view; else None."""
    heading = heading.upper()
    if _PROVISIONAL.search(heading):
        return None
    if heading in _SHORT:
        return _SHORT[heading]
    named = [section for word in _WORD.findall(heading) if (section := _section_of(word))]
    if named:
        return "findings" if "findings" in named else named[0]
    if _VIEW.search(heading) and not _NOT_A_VIEW.search(heading):
        return "view"
    return None


def _section_of(word: str) -> str | None:
    """The section of a word, which may be misspelt."""
    for close in get_close_matches(word, _SECTIONS, n=1, cutoff=_LIKENESS):
        likeness = SequenceMatcher(None, close, word).ratio()
        if word[0] == close[0] or likeness > _LIKENESS_BEHIND_FIRST:
            return _SECTIONS[close]
    return None


def tidy(text: str) -> str:
    """Text with each run of white space made one space."""
    return " ".join(text.split())


def without_gaps(text: str) -> str:
    """Text without the sentences that de-identification left gaps in (``___``, ``XXXX``)."""
    return " ".join(s for s in _SENTENCE.split(text) if s and not GAP.search(s))


def drop_gaps(report: Report) -> Report:
    """The report with the gaps' sentences left out of findings and impression."""
    kept = {
        name: without_gaps(text) or None if text else None
        for name, text in (("findings", report.findings), ("impression", report.impression))
    }
    return Report(**{**report.fields(), **kept})
