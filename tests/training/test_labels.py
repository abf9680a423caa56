"""Findings are read off with their side, and whether they are affirmed or denied."""

from time import process_time

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


@pytest.mark.parametrize(
    "text",
    [
        "There isn't a mass.",
        "There isn\u2019t a mass.",
        "There isnt a mass.",
        "The film doesn't show a mass.",
        "There is never a mass.",
        "A mass is never seen.",
        "A mass cannot be seen.",
        "It is false that there is a mass.",
        "It is not true that there is a mass.",
        "It is unlikely that there is a mass.",
        "The film lacks a mass.",
        "Lack of a mass.",
        "The lungs are free from masses.",
        "The lungs are devoid of masses.",
        "Non-existent mass.",
        "Mass: excluded.",
        "Mass: nil",
        "Mass: Not seen",
        "Mass (no).",
        "Mass - none.",
        "Mass not seen.",
        "Mass, no longer seen.",
        "A mass is considered unlikely.",
        "A mass is felt to be unlikely.",
        "Mass less likely.",
        "A mass, previously seen, has resolved.",
        "The mass has completely resolved.",
        "The mass does not exist.",
        "The mass doesn't persist.",
        "A mass would not be expected.",
        "Mass denied.",
    ],
)
def test_a_denial_is_one_in_other_words(text):
    assert (finding_labels(text), negated_labels(text)) == (set(), {"mass"})


@pytest.mark.parametrize(
    "text",
    [
        "The left pleural effusion has not changed.",
        "The left pleural effusion hasn't changed.",
        "The left pleural effusion is not significantly changed.",
        "The left pleural effusion is not increased.",
        "The left pleural effusion is not worse.",
        "The left pleural effusion has not resolved.",
        "The left pleural effusion has not cleared.",
        "The left pleural effusion is not as large as before.",
        "The left pleural effusion is not new.",
        "The left pleural effusion is not absent.",
        "Left pleural effusion: not increased.",
        "Left pleural effusion, not seen on the prior film.",
        "Left pleural effusion not previously seen.",
        "The left pleural effusion was not present before.",
        "The left pleural effusion does not appear to be present on the prior film.",
        "The left pleural effusion doesn't reach the apex.",
        "No relevant change in the left pleural effusion.",
        "Not significantly changed left pleural effusion.",
        "Partial resolution of the left pleural effusion.",
        "Near-complete resolution of the left pleural effusion.",
        "Incomplete resolution of the left pleural effusion.",
        "The left pleural effusion has partially resolved.",
        "Left pleural effusion, partially resolved.",
        "In the left lung base there is a pleural effusion that is not calcified.",
        "The left lung is not free of pleural effusion.",
        "The left pleural effusion couldn't be excluded.",
    ],
)
def test_what_has_not_changed_nor_resolved_is_there(text):
    assert (finding_labels(text), negated_labels(text)) == ({"left pleural effusion"}, set())


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("The heart is not enlarged.", "cardiomegaly"),
        ("The heart is not increased in size.", "cardiomegaly"),
        ("Heart size is not increased.", "cardiomegaly"),
        ("The heart is not large.", "cardiomegaly"),
        ("No emphysematous change.", "emphysema"),
        ("No interstitial changes of edema.", "edema"),
        ("No effusion or interval change.", "pleural effusion"),
        ("No clear consolidation.", "consolidation"),
        ("Effusion has resolved.", "pleural effusion"),
        ("Complete resolution of the effusion.", "pleural effusion"),
        ("The nodule near the hilum is not seen.", "nodule"),
        ("The effusion is no longer seen on the present film.", "pleural effusion"),
    ],
)
def test_what_is_gone_or_was_never_there_stays_denied(text, denied):
    assert (finding_labels(text), negated_labels(text)) == (set(), {denied})


@pytest.mark.parametrize(
    ("text", "affirmed", "denied"),
    [
        (
            "There is no pneumothorax and left pleural effusion is small.",
            {"left pleural effusion"},
            {"pneumothorax"},
        ),
        (
            "No pneumothorax is seen, left effusion persists.",
            {"left pleural effusion"},
            {"pneumothorax"},
        ),
        ("No pneumothorax is seen, atelectasis.", {"atelectasis"}, {"pneumothorax"}),
        ("No pneumothorax, cardiomegaly is present.", {"cardiomegaly"}, {"pneumothorax"}),
        ("No consolidation, atelectasis is noted.", {"atelectasis"}, {"consolidation"}),
        (
            "There is no consolidation, and atelectasis is present.",
            {"atelectasis"},
            {"consolidation"},
        ),
        (
            "No pneumothorax or effusion, enlarged heart.",
            {"cardiomegaly"},
            {"pneumothorax", "pleural effusion"},
        ),
        (
            "Cardiomegaly, no overt edema, left effusion.",
            {"cardiomegaly", "left pleural effusion"},
            {"edema"},
        ),
        (
            "No pneumothorax despite large left effusion.",
            {"left pleural effusion"},
            {"pneumothorax"},
        ),
        (
            "Resolved pneumothorax with persistent effusion.",
            {"pleural effusion"},
            {"pneumothorax"},
        ),
        (
            "No cardiomegaly with bilateral small pleural effusions.",
            {"left pleural effusion", "right pleural effusion"},
            {"cardiomegaly"},
        ),
        (
            "Small right pleural effusion, left pleural effusion has resolved.",
            {"right pleural effusion"},
            {"left pleural effusion"},
        ),
        ("No effusion, new nodule.", {"nodule"}, {"pleural effusion"}),
        ("Effusion is absent, mass.", {"mass"}, {"pleural effusion"}),
        ("Atelectasis, less likely pneumonia.", {"atelectasis"}, {"pneumonia"}),
        ("Atelectasis, pneumonia less likely.", {"atelectasis"}, {"pneumonia"}),
        (
            "Opacity is atelectasis rather than pneumonia.",
            {"opacity", "atelectasis"},
            {"pneumonia"},
        ),
        ("Opacity unlikely to represent pneumonia.", {"opacity"}, {"pneumonia"}),
        (
            "Heart size normal.No change in opacity.",
            {"opacity"},
            {"cardiomegaly"},
        ),
    ],
)
def test_a_denial_ends_where_a_new_clause_begins(text, affirmed, denied):
    assert (finding_labels(text), negated_labels(text)) == (affirmed, denied)


@pytest.mark.parametrize(
    "text",
    [
        "No pneumothorax, effusion, or mass is seen.",
        "No pneumothorax, effusion or mass is seen.",
        "No pneumothorax, large effusion, or mass.",
        "No pneumothorax, effusion and mass are seen.",
        "No pneumothorax, effusion, mass is seen.",
        "Pneumothorax, effusion and mass are absent.",
        "There is no pneumothorax and no effusion or mass is seen.",
        "The film does not show a pneumothorax, an effusion, or a mass.",
    ],
)
def test_a_list_is_denied_to_its_end(text):
    assert not finding_labels(text)
    assert negated_labels(text) | {"pleural effusion"} == {
        "pneumothorax",
        "pleural effusion",
        "mass",
    }
    assert negated_labels("No displaced, acute fractures are seen.") == {"fracture"}


@pytest.mark.parametrize(
    "text",
    [
        "Is there a mass in the left lung?",
        "A mass in the left lung?",
        "If there is a mass in the left lung.",
        "Were there a mass in the left lung, it would be seen.",
    ],
)
def test_what_is_asked_or_supposed_is_not_said(text):
    found = read_findings(text)
    assert (found.affirmed, found.denied, found.normal) == (set(), set(), False)
    assert found.asked == finding_labels(text) == {"left mass"}


def test_a_question_about_what_is_normal_denies_nothing():
    assert not read_findings("Is the heart normal?").denied
    assert not read_findings("Is the heart normal?").normal
    assert read_findings("Is there a mass? Yes.").affirmed == {"mass"}
    assert read_findings("If in doubt, there is a mass.").affirmed == {"mass"}
    assert read_findings("An opacity, ?pneumonia.").affirmed == {"opacity", "pneumonia"}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (
            "Small right and moderate left pleural effusions.",
            {"left pleural effusion", "right pleural effusion"},
        ),
        (
            "Pleural effusion is small on the right and moderate on the left.",
            {"left pleural effusion", "right pleural effusion"},
        ),
        (
            "Consolidation in the left lower lobe and right middle lobe.",
            {"left consolidation", "right consolidation"},
        ),
        (
            "Opacities in the right upper and left lower lobes.",
            {"left opacity", "right opacity"},
        ),
        (
            "No edema but small right and moderate left effusions.",
            {"left pleural effusion", "right pleural effusion"},
        ),
        ("Bibasilar atelectasis.", {"left atelectasis", "right atelectasis"}),
        ("Biapical fibrosis.", {"left fibrosis", "right fibrosis"}),
        (
            "Left apical and basal opacities and a right nodule.",
            {"left opacity", "right nodule"},
        ),
        (
            "Opacity in the left lower lobe and right pleural effusion.",
            {"left opacity", "right pleural effusion"},
        ),
        (
            "Effusion on the left and right pneumothorax.",
            {"left pleural effusion", "right pneumothorax"},
        ),
        ("A right mass with shift of the trachea and the aorta to the left.", {"right mass"}),
    ],
)
def test_both_sides_of_a_list_are_read(text, labels):
    assert finding_labels(text) == labels


def test_one_side_and_not_the_other():
    assert negated_labels("No left or right mass.") == {"left mass", "right mass"}
    text = "There is a right, but no left, pleural effusion."
    assert finding_labels(text) == {"right pleural effusion"}
    assert negated_labels(text) == {"left pleural effusion"}
    text = "No effusion on the right and small on the left."
    assert finding_labels(text) == {"left pleural effusion"}
    assert negated_labels(text) == {"right pleural effusion"}


@pytest.mark.parametrize(
    "text",
    [
        "Heart size is mildly increased.",
        "The heart is large.",
        "Mildly prominent heart.",
        "The heart is normal to mildly enlarged.",
        "The heart, previously normal, is now enlarged.",
        "The heart is not changed but is enlarged.",
    ],
)
def test_a_large_heart_is_one_in_other_words(text):
    assert (finding_labels(text), negated_labels(text)) == ({"cardiomegaly"}, set())


@pytest.mark.parametrize("kind", ["Subcutaneous", "Soft tissue", "Surgical", "Mediastinal"])
def test_air_outside_the_lung_is_no_emphysema(kind):
    assert not finding_labels(f"{kind} emphysema.")


@pytest.mark.parametrize("name", ["pneumo-thorax", "pneumo thorax", "Pneumothorax"])
def test_a_hyphen_hides_no_finding(name):
    assert finding_labels(f"Left {name}.") == {"left pneumothorax"}


@pytest.mark.parametrize(
    "text",
    [
        "The heart is not normal in size.",
        "The heart isn't normal.",
        "The lungs are not clear.",
        "The lungs are not entirely clear.",
        "The lungs are abnormal.",
        "Cavitary tuberculosis and metastases.",
        "Free air under the diaphragm.",
    ],
)
def test_what_is_not_normal_is_told(text):
    found = read_findings(text)
    assert found.abnormal
    assert not found.normal
    assert not found.denied


@pytest.mark.parametrize(
    "text",
    [
        "No acute cardiopulmonary abnormality.",
        "There is no free air beneath the diaphragm.",
        "The lungs are clear of metastases.",
        "No clear consolidation.",
        "The heart is not enlarged and is normal.",
        "The lungs are clear.",
    ],
)
def test_a_denial_of_what_is_abnormal_is_none_of_normality(text):
    assert not read_findings(text).abnormal


@pytest.mark.parametrize(
    "text",
    [
        "no change " * 4_000,
        "effusion " * 4_000 + " but" * 4_000,
        "No effusion on the left; small on the right; " * 800,
        "no left mass but right effusion, " * 2_000,
        "no mass and left is " * 2_000,
    ],
    ids=["no change", "turns", "ellipses", "sides", "clauses"],
)
def test_long_repetition_is_read_in_a_blink(text):
    started = process_time()
    read_findings(text)
    assert process_time() - started < 1


@pytest.mark.parametrize("words", ["heart ", "mass ", "normal ", "no ", "aorta ", "mass: "])
def test_a_long_text_without_a_stop_is_read(words):
    assert len(read_findings(words * 4_000).affirmed) <= 1
