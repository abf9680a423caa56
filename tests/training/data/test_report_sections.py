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
        ("MPRESSION", "impression"),
        ("COMPRESSION FRACTURE", None),
        ("TECHNIQUE AND FINDINGS", "findings"),
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
        ("FINDINGS: Clear.  IMPRESSION: Normal.", "Clear.", "Normal."),
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


@pytest.mark.parametrize("impression", ["\n\n IMPRESSION: Cardiomegaly.", ""])
@pytest.mark.parametrize(
    "behind", ["", "\n\n RECOMMENDATION(S): CT.", "\n\n NOTIFICATION: By X.\n\n Y."]
)
def test_findings_without_a_heading_are_no_context(impression: str, behind: str) -> None:
    told = " HISTORY: Cough.\n\n COMPARISON: ___.\n\n The heart is large.\n\n Left effusion."
    report = parse_report(told + impression + behind)
    assert report.findings == "The heart is large. Left effusion."
    assert report.comparison == "___."
    assert report.indication == "Cough."


def test_a_long_history_is_no_findings() -> None:
    report = parse_report("HISTORY: Cough.\n\nFever.\n\nCOMPARISON: None.\n\nIMPRESSION: Normal.")
    assert report.findings is None
    assert report.indication == "Cough. Fever."
    title = parse_report("EXAMINATION: CHEST\n\n5 PM\n\nINDICATION: cough\n\nIMPRESSION: Normal.")
    assert title.findings is None


def test_a_view_named_before_the_context_is_a_title() -> None:
    told = "PORTABLE CHEST: one view\n\nCOMPARISON: None.\n\nThe lungs are clear.\n\nIMPRESSION: n"
    report = parse_report(told)
    assert (report.findings, report.comparison) == ("The lungs are clear.", "None.")
    behind = parse_report("COMPARISON: None.\n\nTwo.\n\nCHEST: Clear.\n\nIMPRESSION: n")
    assert behind.findings == "Clear."


@pytest.mark.parametrize("name", ["CHEST WALL", "CHEST TUBES", "LATERAL VIEW", "CHEST", "PORTABLE"])
@pytest.mark.parametrize("section", ["FINDINGS", "IMPRESSION"])
def test_parts_of_a_section_that_are_called_as_views_are_belong_to_it(
    section: str, name: str
) -> None:
    report = parse_report(f"{section}: Clear.\n {name}: Normal.\n BONES: Intact.")
    assert (report.findings or report.impression) == f"Clear. {name}: Normal. BONES: Intact."


@pytest.mark.parametrize("before", ["WET READ: 9 PM", "PRELIMINARY REPORT"])
@pytest.mark.parametrize(
    "line", ["\n______________\n      FINAL REPORT\n", "\n== Final report: ==\n"]
)
def test_of_a_preliminary_and_a_final_report_the_final_one_is_read(before: str, line: str) -> None:
    told = f"{before}\n IMPRESSION: Perhaps.\n{line} FINDINGS: Clear.\n\n IMPRESSION: Normal.\n"
    report = parse_report(told)
    assert (report.findings, report.impression) == ("Clear.", "Normal.")


@pytest.mark.parametrize("line", ["ADDENDUM", "FINAL ADDENDUM", "WET READ"])
def test_what_is_added_behind_a_report_is_no_part_of_it(line: str) -> None:
    report = parse_report(f"IMPRESSION: Normal.\n\n_________________\n  {line}\n Told by phone.\n")
    assert report.impression == "Normal."


@pytest.mark.parametrize(
    "added",
    [
        "\n____________\n   FINAL ADDENDUM\n ADDENDUM:  A nodule.\n\n IMPRESSION:  Small nodule.\n",
        "\n ADDENDUM:\n\n A nodule.\n\n FINDINGS: Nodule.\n IMPRESSION: Small nodule.\n",
        "\n Addendum: A nodule.\n\n IMPRESSION: Small nodule.\n",
    ],
)
@pytest.mark.parametrize(
    "before", ["", "FINAL REPORT\n", "ADDENDUM:\n Told.\n____\nFINAL REPORT\n"]
)
def test_the_sections_of_an_addendum_behind_a_report_are_no_part_of_it(
    before: str, added: str
) -> None:
    told = f"{before} INDICATION: Cough.\n\n FINDINGS: Clear.\n\n IMPRESSION: Normal.\n"
    report = parse_report(told + added)
    assert (report.findings, report.impression) == ("Clear.", "Normal.")


def test_an_addendum_before_a_report_leaves_it() -> None:
    report = parse_report("FINAL ADDENDUM\n Told.\n\n FINDINGS: Clear.\n IMPRESSION: Normal.\n")
    assert (report.findings, report.impression) == ("Clear.", "Normal.")


@pytest.mark.parametrize("name", ["EXAM QUALITY", "NOTE", "COMMENT", "TYPE OF LINE"])
def test_a_part_of_the_findings_that_is_called_as_other_headings_are_stays(name: str) -> None:
    told = f"FINDINGS:\n LUNGS: Clear.\n {name}: Limited.\n BONES: Intact.\n\n IMPRESSION: n"
    assert parse_report(told).findings == f"LUNGS: Clear. {name}: Limited. BONES: Intact."
    apart = parse_report(f"FINDINGS:\n LUNGS: Clear.\n \n {name}: Limited.\n\n IMPRESSION: n")
    assert apart.findings == "LUNGS: Clear."


@pytest.mark.parametrize(
    "name", ["EXAM", "DATE OF EXAM", "DICTATED BY", "NOTIFICATION", "WET READ"]
)
def test_a_known_heading_ends_the_findings_without_an_empty_line(name: str) -> None:
    assert parse_report(f"FINDINGS: Clear.\n {name}: x").findings == "Clear."


@pytest.mark.parametrize("name", ["Technique and findings", "TECHNIQUE AND FINDINGS", "REPORT"])
def test_findings_go_by_other_headings_too(name: str) -> None:
    report = parse_report(f"INDICATION: Cough.\n{name}: Clear.\n LUNGS: Fine.\nIMPRESSION: Normal.")
    assert report.findings == "Clear. LUNGS: Fine."
    assert (report.indication, report.technique) == ("Cough.", None)


def test_a_small_word_that_begins_a_line_within_a_sentence_is_no_heading() -> None:
    report = parse_report(
        "FINDINGS: Large since prior\n examination: no change.\nimpression: Same."
    )
    assert report.findings == "Large since prior examination: no change."
    assert report.impression == "Same."


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
