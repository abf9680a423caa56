"""Sections of free-text reports, whatever their headings are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.adapters.report_sections import parse_report, section_name, without_gaps


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("FINDINGS", "findings"),
        ("FINDGINGS", "findings"),
        ("FINDINGS AND IMPRESSION", "findings"),
        ("IMPRESSON", "impression"),
        ("CONCLUSION", "impression"),
        ("CLINICAL HISTORY", "indication"),
        ("REASON FOR EXAM", "indication"),
        ("COMPARISONS", "comparison"),
        ("TECHNIQUE", "technique"),
        ("CHEST, PA AND LATERAL", "view"),
        ("EXAMINATION", None),
        ("CHEST EXAM", None),
        ("WET READ", None),
        ("NOTIFICATION", None),
    ],
)
def test_headings_are_known_in_their_spellings(heading: str, section: str | None) -> None:
    assert section_name(heading) == section


def test_text_under_the_view_counts_as_findings_when_nothing_else_does() -> None:
    report = parse_report(" PORTABLE CHEST: The lungs are clear.\n\n IMPRESSION: Normal.\n")
    assert report.findings == "The lungs are clear."
    both = parse_report(" PORTABLE CHEST: one view\n\n FINDINGS: The lungs are clear.\n")
    assert both.findings == "The lungs are clear."


def test_the_last_paragraph_is_the_report_where_no_heading_says_so() -> None:
    report = parse_report(" EXAMINATION: CHEST\n\n COMPARISON: None.\n \n The lungs are clear.\n")
    assert report.findings == "The lungs are clear."
    assert report.comparison == "None."


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        ("FINDINGS:Lungs clear.\nIMPRESSION:None.", "Lungs clear.", "None."),
        ("FINDINGS :  a b\n IMPRESSION :b", "a b", "b"),
        ("Findings: Lungs clear.\nImpression: Normal.", "Lungs clear.", "Normal."),
        ("Clinical history: cough\nFindings: Clear.", "Clear.", None),
        ("FINDINGS:\rclear\rIMPRESSION:\rnormal", "clear", "normal"),
        ("CHEST, 2 VIEWS: Lungs clear.\nIMPRESSION: n", "Lungs clear.", "n"),
        ("Lungs are clear. No effusion.", "Lungs are clear. No effusion.", None),
        ("FINAL REPORT\n\n AP chest.\n\n Lungs are clear.", "AP chest. Lungs are clear.", None),
        ("FINAL REPORT\n REASON: cough\n\n Lungs are clear.", "Lungs are clear.", None),
        (
            "FINDINGS:\n LUNGS: Clear.\n HEART: Enlarged.\n\n IMPRESSION: Cardiomegaly.\n EXAM: x",
            "LUNGS: Clear. HEART: Enlarged.",
            "Cardiomegaly.",
        ),
        (" AP CHEST, 5:44 A.M., ___\n\n HISTORY: cough\n\n IMPRESSION: Normal.", None, "Normal."),
        (" SUPINE AP CHEST AT 6:18 AM:  Lungs clear.", "Lungs clear.", None),
        ("FINDINGS\nLungs clear.\n\nIMPRESSION\nNormal.", "Lungs clear.", "Normal."),
        ("FINDINGS: Clear. IMPRESSION: Normal.", "Clear.", "Normal."),
        ("INDICATION: cough\nSUMMARY: Normal.", None, "Normal."),
        ("INTERPRETATION: Normal.", None, "Normal."),
        ("IMP: Normal.", None, "Normal."),
        (
            "PROVISIONAL FINDINGS IMPRESSION (PFI): 9:41 AM small.\n\nFINDINGS: Large.",
            "Large.",
            None,
        ),
        ("FINDINGS: Lines: none.\nT2:bright.", "Lines: none. T2:bright.", None),
        (" \n", None, None),
    ],
)
def test_headings_are_found_however_they_are_set(
    text: str, findings: str | None, impression: str | None
) -> None:
    report = parse_report(text)
    assert (report.findings, report.impression) == (findings, impression)


def test_a_colon_within_a_sentence_begins_no_section() -> None:
    report = parse_report("FINDINGS: Lines: none. PICC: at the SVC.\r\n  Tip: fine.")
    assert report.findings == "Lines: none. PICC: at the SVC. Tip: fine."


def test_sections_of_one_name_are_joined() -> None:
    assert parse_report("FINDINGS: One.\nFINDINGS: Two.").findings == "One. Two."


def test_gaps_take_their_sentence_along() -> None:
    assert without_gaps("Clear. Compared with ___, stable. XXXX. Done.") == "Clear. Done."


@given(st.text())
def test_any_text_is_parsed(text: str) -> None:
    parse_report(text)


words = st.text("abcdefgh .,", min_size=1).map(lambda s: " ".join(s.split())).filter(bool)


@given(words, words, words)
def test_what_stands_under_a_heading_is_its_section(one: str, two: str, other: str) -> None:
    text = f"IMPRESSION:\n {two}\n\n NOTIFICATION: {other}\n FINDINGS:  {one}\n"
    report = parse_report(text)
    assert (report.findings, report.impression) == (one, two)
