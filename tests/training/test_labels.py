"""Findings are read off with their side, and whether they are affirmed or denied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.labels import (
    clashes,
    contradictions,
    finding_labels,
    kind_of,
    labels_of_source,
    name_findings,
    negated_labels,
    read_findings,
    side_of,
)

L, R = "left", "right"


@pytest.mark.parametrize(
    ("text", "affirmed", "denied"),
    [
        ("There is no effusion but a mass in the left lung.", {"left mass"}, {"pleural effusion"}),
        ("Pneumothorax is not seen.", set(), {"pneumothorax"}),
        ("Unlikely pneumonia.", set(), {"pneumonia"}),
        ("Effusion unlikely, mass.", {"mass"}, {"pleural effusion"}),
        ("Evaluation for pneumothorax.", set(), set()),
        ("No PTX. Left rib fx.", {"left fracture"}, {"pneumothorax"}),
        ("Left effusion has resolved.", set(), {"left pleural effusion"}),
        ("Pneumothorax: none", set(), {"pneumothorax"}),
        (
            "No pleural effusion, pneumothorax, or focal consolidation.",
            set(),
            {"pleural effusion", "pneumothorax", "consolidation"},
        ),
        ("No pneumothorax, small left effusion.", {"left pleural effusion"}, {"pneumothorax"}),
        ("Cardiomegaly without edema.", {"cardiomegaly"}, {"edema"}),
        ("The heart is not enlarged.", set(), {"cardiomegaly"}),
        ("The heart is normal, the aorta is dilated.", {"aortic enlargement"}, {"cardiomegaly"}),
        (
            "No pneumothorax or effusion and moderate cardiomegaly.",
            {"cardiomegaly"},
            {"pneumothorax", "pleural effusion"},
        ),
        ("No pericardial effusion. Mass effect on the trachea.", set(), set()),
        ("Effusion is seen, mass is not seen.", {"pleural effusion"}, {"mass"}),
    ],
)
def test_what_is_denied_is_not_affirmed(text, affirmed, denied):
    assert finding_labels(text) == affirmed
    assert negated_labels(text) == denied


@pytest.mark.parametrize(
    "text", ["Pneumonia cannot be excluded.", "Possible pneumonia.", "Pneumonia is not ruled out."]
)
def test_what_is_hedged_is_affirmed(text):
    assert finding_labels(text) == {"pneumonia"}


@pytest.mark.parametrize(
    "text",
    ["No change in the mass.", "A mass without interval change.", "No increase in the mass."],
)
def test_no_change_is_no_denial(text):
    assert finding_labels(text) == {"mass"}


@pytest.mark.parametrize(
    ("text", "affirmed", "denied"),
    [
        (
            "Pleural effusion is not present on the right but is present on the left.",
            {"left pleural effusion"},
            {"right pleural effusion"},
        ),
        (
            "no effusion on the left; small on the right",
            {"right pleural effusion"},
            {"left pleural effusion"},
        ),
        (
            "No effusion on the left. There is a small one on the right.",
            {"right pleural effusion"},
            {"left pleural effusion"},
        ),
        (
            "No effusion or mass on the left; small on the right.",
            set(),
            {"left pleural effusion", "left mass"},
        ),
        ("No effusion on the left; clear on the right.", set(), {"left pleural effusion"}),
    ],
)
def test_a_finding_left_out_after_a_denial_is_affirmed_where_it_is(text, affirmed, denied):
    assert finding_labels(text) == affirmed
    assert negated_labels(text) == denied


@pytest.mark.parametrize("text", ["Pneumothorax? No.", "Is there a pneumothorax? None", "PTX? no"])
def test_a_question_answered_with_no_denies(text):
    assert (finding_labels(text), negated_labels(text)) == (set(), {"pneumothorax"})


def test_a_question_answered_otherwise_does_not():
    assert finding_labels("Pneumothorax? Yes.") == {"pneumothorax"}
    assert finding_labels("Pneumothorax? No change.") == {"pneumothorax"}


@pytest.mark.parametrize("text", ["Rule out pneumonia.", "r/o pneumonia", "R/O acute pneumonia"])
def test_what_is_to_be_ruled_out_is_neither_affirmed_nor_denied(text):
    assert finding_labels(text) == negated_labels(text) == set()
    assert finding_labels("Cannot rule out pneumonia.") == {"pneumonia"}


@pytest.mark.parametrize("text", ["No other nodule.", "No large nodule.", "No further nodules."])
def test_others_denied_say_nothing_of_the_finding(text):
    assert finding_labels(text) == negated_labels(text) == set()


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (
            "There is a left effusion and right pneumothorax.",
            {"left pleural effusion", "right pneumothorax"},
        ),
        (
            "Effusion on the left and pneumothorax on the right.",
            {"left pleural effusion", "right pneumothorax"},
        ),
        (
            "Effusion and consolidation on the left.",
            {"left pleural effusion", "left consolidation"},
        ),
        ("Left and right masses.", {"left mass", "right mass"}),
        ("Masses bilaterally.", {"left mass", "right mass"}),
        ("A large right mass with shift of the trachea to the left.", {"right mass"}),
        ("A nodule in the lingula.", {"left nodule"}),
        ("Enlarged left ventricle; a nodule.", {"nodule"}),
    ],
)
def test_a_side_belongs_to_the_finding_beside_it(text, labels):
    assert finding_labels(text) == labels


def test_a_lung_called_clear_denies_what_lies_in_a_lung():
    assert contradictions("The lungs are clear. There is a left mass.") == {"left mass"}
    assert not contradictions("The right lung is clear. There is a left mass.")
    assert not contradictions("The lungs are clear. There is a small left effusion.")
    assert not contradictions("The lungs are clear except for a left mass.")


def test_normality_is_something_said():
    assert read_findings("No acute cardiopulmonary abnormality.").normal
    assert read_findings("No effusion.").normal
    assert not read_findings("The weather is fine.").normal


def test_a_denial_of_one_side_says_nothing_of_the_other():
    assert clashes(frozenset({"left mass"}), frozenset({"mass"})) == {"left mass"}
    assert not clashes(frozenset({"left mass"}), frozenset({"right mass"}))
    assert (kind_of("left mass"), side_of("left mass")) == ("mass", L)
    assert (kind_of("mass"), side_of("mass")) == ("mass", None)


@pytest.mark.parametrize("label", ["Pleural Effusion", "pleural_effusion", "pleural effusion"])
def test_labels_of_a_data_set_are_read_as_ours(label):
    assert labels_of_source(label) == {"pleural effusion"}
    assert not labels_of_source("Support Devices")


def test_a_finding_by_another_name_is_named_by_its_kind():
    assert name_findings("Enlarged cardiac silhouette") == "cardiomegaly"
    assert name_findings("a left effusion") == "a left pleural effusion"


@given(st.text())
def test_any_text_is_read(text):
    found = read_findings(text)
    assert found.affirmed | found.denied or not contradictions(text)


@pytest.mark.parametrize("words", ["heart ", "mass ", "normal ", "no ", "aorta ", "mass: "])
def test_a_long_text_without_a_stop_is_read(words):
    assert len(read_findings(words * 4_000).affirmed) <= 1
