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


@pytest.mark.parametrize(
    "text",
    [
        *("Nothing to suggest {}.", "Nothing here suggests {}.", "Inconsistent with {}."),
        *("The clear apex argues strongly against {}.", "This is evidence against {}."),
        *("The expanded lung rules out {}.", "A normal film excludes {}.", "Ruling out {}."),
        *("{} is doubtful.", "{} seems doubtful.", "It is doubtful that there is {}.", "{}-free."),
        "Insufficient evidence of {}.",
        *("Skin fold simulating {}.", "An artifact mimicking {}.", "{} is denied."),
        *("{} has been treated and is gone.", "It would be wrong to call this {}."),
        *(
            "Not consistent with {}.",
            "The line isn't compatible with {}.",
            "Not in keeping with {}.",
        ),
    ],
)
@pytest.mark.parametrize("named", ["pneumothorax", "a pneumothorax", "left pneumothorax"])
def test_a_denial_in_other_words_is_one(text, named):
    found = read_findings(text.format(named))
    assert not found.affirmed
    assert {kind_of(label) for label in found.denied} == {"pneumothorax"}


def test_what_may_be_mimicked_is_hedged():
    text = "Edema can mimic pneumonia, so pneumonia cannot be excluded."
    assert _read(text) == ({"edema", "pneumonia"}, set())
    assert _read("A fold mimics pneumothorax, mass seen.") == ({"mass"}, {"pneumothorax"})
    assert _read("No opacity simulating pneumonia, mass or edema.")[0] == set()


def test_non_denies_what_it_stands_before_alone():
    assert negated_labels("Non-consolidated lung.") == {"consolidation"}
    assert finding_labels("Non-displaced fracture.") == {"fracture"}
    assert finding_labels("A non-calcified nodule.") == {"nodule"}


@pytest.mark.parametrize(
    "text",
    [
        *("Not inconsistent with {}.", "No evidence against {}.", "Cannot exclude {}."),
        *("This does not argue against {}.", "Nothing speaks against {}.", "Doubtful {}."),
        *("This does not speak against {}.", "This does not really weigh against {}."),
        *("None of this weighs against {}.", "There is a doubtful {}."),
        *("A fold mimics a mass, so {} is not excluded.", "A fold mimics a mass and there is {}."),
        *("Screening for cancer shows {}.", "Watch for growth now there is {}."),
        *("Looking for metastases reveals {}.", "Evaluated for edema but has {}."),
        "Difficult to completely exclude {}.",
        *("Without ruling out {}.", "The film is not sensitive enough to rule out {}."),
        *("Consistent with {}.", "Findings consistent with the patient's history of {}."),
        *("{} has increased and is not resolved.", "No effusion, consistent with a {}."),
    ],
)
def test_what_only_looks_like_a_denial_is_none(text):
    assert "pneumothorax" in finding_labels(text.format("pneumothorax"))


@pytest.mark.parametrize(
    "text",
    [
        *("History of pneumonia.", "CT to exclude pneumonia.", "Exclude pneumonia."),
        *("The patient is at risk of pneumonia.", "Look for pneumonia.", "Watch for pneumonia."),
        *("Evaluate for edema and pneumonia.", "Screening for pneumonia shows nothing."),
        "Consider oblique films to rule out an early pneumonia.",
    ],
)
def test_what_is_looked_for_or_past_is_neither_affirmed_nor_denied(text):
    assert finding_labels(text) == negated_labels(text) == set()


def test_what_is_there_beside_what_is_past_is_affirmed():
    found = read_findings("Patient with history of pneumonia with a left effusion.")
    assert (found.affirmed, found.denied) == ({"left pleural effusion"}, set())
    assert finding_labels("Question of pneumonia.") == {"pneumonia"}  # a hedge


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Right hydrothorax.", {"right pleural effusion"}),
        ("Air in the left pleural space.", {"left pneumothorax"}),
        ("A small right apical pleural air collection.", {"right pneumothorax"}),
        ("A lung tumour.", {"mass"}),
        ("Neoplasm in the right upper lobe.", {"right mass"}),
        ("Coin lesion in the left lung.", {"left nodule"}),
        ("Airspace densities in the left lung.", {"left opacity"}),
        (
            "Hazy density at the right base, haziness on the left.",
            {"left opacity", "right opacity"},
        ),
        ("Patchy pulmonary infiltration.", {"opacity"}),
        ("Kerley B lines.", {"edema"}),
        ("Vascular cephalization.", {"congestion"}),
        ("Vascular redistribution.", {"congestion"}),
        ("Pneumonitis of the left lung.", {"left pneumonia"}),
        ("A broken right rib.", {"right fracture"}),
        ("A cardio-thoracic ratio above normal.", {"cardiomegaly"}),
        # Each of these may be another finding, or none.
        ("Radiation pneumonitis.", set()),
        ("Fatty infiltration of the liver.", set()),
        ("Infiltration", set()),
        ("Blunting of the left costophrenic angle.", set()),
        ("Volume loss after lobectomy.", set()),
        ("Hyperinflated lungs. COPD.", set()),
        ("Interstitial lung disease.", set()),
        ("Decreased bone density. Fluid overload.", set()),
        ("Brain tumor. Free air below the diaphragm.", set()),
    ],
)
def test_other_names_of_a_finding_are_read_where_they_leave_no_doubt(text, labels):
    assert finding_labels(text) == labels


def test_a_name_that_is_narrower_denies_no_more_than_its_kind():
    found = read_findings("No airspace process. Linear opacity at the left base.")
    assert found.affirmed == {"left opacity"}
    assert not contradictions("No airspace process. Linear opacity at the left base.")


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
        ("Mild edema and a small left effusion.", {"edema", "left pleural effusion"}),
        (
            "Edema with a left-sided effusion and right nodule.",
            {"edema", "left pleural effusion", "right nodule"},
        ),
        ("A left nodule and a small left effusion.", {"left nodule", "left pleural effusion"}),
        (
            "Collapse of the left lower lobe and a small right effusion.",
            {"left atelectasis", "right pleural effusion"},
        ),
        (
            "A broken left rib and a small left pneumothorax.",
            {"left fracture", "left pneumothorax"},
        ),
        (
            "Neoplasm in the right upper lobe and a small right effusion.",
            {"right mass", "right pleural effusion"},
        ),
        (
            "Air in the left pleural space and a small right effusion.",
            {"left pneumothorax", "right pleural effusion"},
        ),
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


def _read(text):
    found = read_findings(text)
    return found.affirmed, found.denied


@pytest.mark.parametrize(
    "text",
    [
        "The heart is enlarged with normal pulmonary vascularity.",
        "The heart is enlarged and the pulmonary vascularity is normal.",
        "The heart is mildly enlarged, pulmonary vasculature is normal.",
        "The heart is enlarged and the mediastinum is unremarkable.",
        "The heart is enlarged but the mediastinal contour is normal.",
        "The lungs are normal but the heart is enlarged.",
        "Normal lung volumes with an enlarged heart.",
        "Normal mediastinal contours, heart is enlarged.",
        "The heart is enlarged since the prior normal study.",
        "The heart is larger than normal.",
        "The heart size is above normal.",
        "Heart size is slightly above the upper limit of normal.",
        "Increased heart size.",
        "The cardiothoracic ratio is increased.",
        "The heart is massively dilated.",
    ],
)
def test_a_large_heart_is_not_normal_for_what_is_normal_beside_it(text):
    assert _read(text) == ({"cardiomegaly"}, set())


@pytest.mark.parametrize(
    "text",
    [
        "The heart is obscured and the mediastinum is normal.",
        "The lungs are normal, and the heart is not well seen.",
        "The heart is larger than before.",
    ],
)
def test_a_heart_of_which_nothing_is_said_is_neither(text):
    assert _read(text) == (set(), set())


@pytest.mark.parametrize(
    "text",
    [
        "The heart, lungs and mediastinum are normal.",
        "Heart size and mediastinal contours are within normal limits.",
        "The heart is stable and normal in size.",
        "Normal mediastinum and heart.",
        "Normal size of the heart.",
        "The cardiothoracic ratio is normal.",
        "The heart is no larger than normal.",
        "The heart is not larger than normal.",
        "The heart and the aorta are not enlarged.",
    ],
)
def test_a_normal_heart_is_one_in_other_words(text):
    assert _read(text) == (set(), {"cardiomegaly"})


def test_heart_and_aorta_are_enlarged_together():
    assert finding_labels("The heart and the aorta are enlarged.") == {
        "cardiomegaly",
        "aortic enlargement",
    }


_IN_A_LUNG = {"consolidation", "nodule", "mass", "opacity", "pneumonia"}


@pytest.mark.parametrize(
    "text",
    [
        "The lungs are otherwise clear.",
        "The remaining lungs are clear.",
        "Elsewhere the lungs are clear.",
        "The rest of the lungs are clear.",
        "The remainder of the lungs is clear.",
        "The upper lungs are clear.",
        "The right upper lung is clear.",
        "The lungs are clear, with the exception of the left base.",
        "The lungs are clear but for the left base.",
        "Clear lung bases.",
    ],
)
def test_part_of_the_lungs_called_clear_denies_nothing(text):
    assert _read(text) == (set(), set())


@pytest.mark.parametrize(
    "text",
    [
        "Lungs clear.",
        "Clear lungs.",
        "Lungs: clear.",
        "The lungs appear clear.",
        "The lungs remain clear.",
        "The lungs are grossly clear.",
        "Both lungs are well expanded and clear.",
    ],
)
def test_lungs_are_clear_in_other_words(text):
    assert _read(text) == (set(), _IN_A_LUNG)


def test_a_clear_lung_is_one_on_its_side_and_but_for_what_is_told():
    assert negated_labels("Clear right lung.") == {f"right {kind}" for kind in _IN_A_LUNG}
    assert _read("The lungs are clear but for a left nodule.") == ({"left nodule"}, set())
    assert _read("The lungs are clear with a small nodule.") == ({"nodule"}, set())
    assert contradictions("Clear lungs. There is a left mass.") == {"left mass"}


@pytest.mark.parametrize(
    ("text", "affirmed"),
    [
        ("Old healed left rib fractures. No acute fracture.", {"left fracture"}),
        ("Old fracture, no displaced fracture.", {"fracture"}),
        ("Calcified nodule in the right lung. No suspicious nodule.", {"right nodule"}),
        ("Small left pneumothorax. No tension pneumothorax.", {"left pneumothorax"}),
        (
            "Linear left basilar opacity is atelectasis. No focal infiltrate.",
            {"left opacity", "left atelectasis"},
        ),
        ("Linear left opacity. No infiltrate.", {"left opacity"}),
        ("Left effusion. No empyema or hemothorax.", {"left pleural effusion"}),
        ("Left effusion without free effusion.", {"left pleural effusion"}),
        ("Mild edema. No frank edema.", {"edema"}),
    ],
)
def test_what_is_denied_of_a_kind_is_no_contradiction(text, affirmed):
    assert _read(text) == (affirmed, set())


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("No acute fracture.", "fracture"),
        ("No focal infiltrate.", "opacity"),
        ("No overt edema.", "edema"),
        ("No empyema.", "pleural effusion"),
    ],
)
def test_what_is_denied_of_a_kind_is_denied_where_none_is_affirmed(text, denied):
    found = read_findings(text)
    assert (found.affirmed, found.denied, found.of_a_kind) == (set(), {denied}, {denied})


@pytest.mark.parametrize(
    "text",
    [
        "Left effusion. No effusion.",
        "Left effusion. No definite effusion.",
        "Left effusion. No acute effusion. No effusion.",
        "Left effusion. The lungs are free of effusion.",
        "Left effusion. No focal opacity or effusion.",
    ],
)
def test_what_is_denied_altogether_contradicts(text):
    assert contradictions(text) == {"left pleural effusion"}


def test_nodular_densities_are_nodules_and_no_kind_of_them():
    assert read_findings("No nodular densities.").flatly_denied == {"nodule"}
    assert not read_findings("No hazy densities.").flatly_denied


def test_congestion_is_no_edema():
    text = "Mild pulmonary vascular congestion without overt edema."
    assert _read(text) == ({"congestion"}, {"edema"})
    assert not contradictions("Vascular congestion. No edema.")
    assert contradictions("Edema. No edema.")


_FURTHER = (
    *("possible", "probable", "likely", "suspected", "questionable", "patchy", "hazy", "linear"),
    *("increased", "increasing", "worsening", "improving", "improved", "multiple", "several"),
    *("scattered", "old", "healed", "calcified", "chronic"),
)


@pytest.mark.parametrize("word", _FURTHER)
@pytest.mark.parametrize("joint", [", ", " with ", " and "])
def test_a_denial_ends_where_a_finding_is_described(word, joint):
    text = f"No pneumothorax{joint}{word} opacity at the left base."
    assert _read(text) == ({"left opacity"}, {"pneumothorax"})


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("No effusion, pneumothorax, or consolidation.", {"pleural effusion", "pneumothorax"}),
        ("No effusion, scattered nodules, or masses.", {"pleural effusion", "nodule", "mass"}),
        ("No focal, patchy opacity.", {"opacity"}),
        ("No acute and healed fracture.", {"fracture"}),
        ("No old, healed fractures.", {"fracture"}),
    ],
)
def test_a_described_item_of_a_list_stays_denied(text, denied):
    assert not finding_labels(text)
    assert negated_labels(text) >= denied


def test_a_denial_of_what_is_new_goes_on():
    assert not finding_labels("No new or increased effusion.")
    assert _read("The heart is not enlarged, mild edema.") == ({"edema"}, {"cardiomegaly"})


@pytest.mark.parametrize(
    ("text", "affirmed", "denied"),
    [
        ("Small left effusion which is not loculated.", {"left pleural effusion"}, set()),
        ("The effusion is not loculated.", {"pleural effusion"}, set()),
        ("Right rib fracture that is not displaced.", {"right fracture"}, set()),
        ("Nodule is not a mass.", {"nodule"}, {"mass"}),
        ("The opacity is not typical for pneumonia.", {"opacity"}, {"pneumonia"}),
        ("The mass is not enlarged.", {"mass"}, set()),
        ("The effusion is not fully visualized.", {"pleural effusion"}, set()),
        ("The effusion does not appear loculated.", {"pleural effusion"}, set()),
        ("The effusion is no longer loculated.", {"pleural effusion"}, set()),
    ],
)
def test_what_is_not_so_is_there(text, affirmed, denied):
    assert _read(text) == (affirmed, denied)


@pytest.mark.parametrize(
    "said",
    [
        *("is not seen", "is not present", "is not evident", "is not there", "is not"),
        *("is not definitely identified", "is not likely", "is not suspected", "has not recurred"),
        *("is not thought to be present", "does not appear to be present", "isn't visible"),
        *("is gone", "has disappeared", "has now gone", ", no", "no", ": no", "(-)", "-"),
    ],
)
def test_what_is_not_there_is_denied(said):
    assert _read(f"The mass {said}.") == (set(), {"mass"})


@pytest.mark.parametrize(
    "text",
    [
        "Excluded: a mass.",
        "Excluded: there is a mass.",
        "I doubt a mass.",
        "I doubt there is a mass.",
        "It fails to show a mass.",
        "There is zero mass.",
        "Nothing suggests there is a mass.",
    ],
)
def test_a_denial_before_is_one_in_other_words(text):
    assert _read(text) == (set(), {"mass"})


def test_what_is_there_or_not_is_neither():
    assert _read("There is a mass in the right upper zone, or not.") == (set(), set())
    assert _read("The heart is enlarged, or not.") == (set(), set())


@pytest.mark.parametrize(
    "text",
    [
        "No doubt there is a mass.",
        "There is no doubt about a mass.",
        "The mass is nearly gone.",
        "Mass: yes, pneumothorax: no.",
        "No pneumothorax: no change in the mass.",
    ],
)
def test_no_doubt_is_no_denial(text):
    assert finding_labels(text) == {"mass"}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("The left lower lobe is consolidated.", {"left consolidation"}),
        ("Collapse of the left lower lobe.", {"left atelectasis"}),
        ("The left lung is collapsed.", {"left atelectasis"}),
        ("Infiltrations on the left.", {"left opacity"}),
        ("Left bronchopneumonia.", {"left pneumonia"}),
        ("Left hemothorax.", {"left pleural effusion"}),
        ("Left haemothorax.", {"left pleural effusion"}),
        ("Left hemo-thorax.", {"left pleural effusion"}),
        ("Left haemo-thorax.", {"left pleural effusion"}),
        ("Left empyema.", {"left pleural effusion"}),
        ("Left air space disease.", {"left opacity"}),
        ("Left air space densities.", {"left opacity"}),
        ("Pulmonary vascular engorgement.", {"congestion"}),
        ("Heart size and pulmonary vascular engorgement appear within limits of normal.", set()),
        ("Pleural collection on the left.", {"left pleural effusion"}),
        ("Fluid in the left pleural space.", {"left pleural effusion"}),
        ("CHF.", {"edema"}),
        ("Congestive heart failure with an enlarged heart.", {"edema", "cardiomegaly"}),
        ("Vertebral collapse.", set()),
        ("No hemothorax.", set()),
    ],
)
def test_a_finding_goes_by_other_names(text, labels):
    assert finding_labels(text) == labels


@pytest.mark.parametrize("name", ["Lung abscess", "Tuberculosis", "Bronchiectasis"])
def test_what_has_no_kind_is_abnormal(name):
    assert read_findings(f"{name}.").abnormal
    assert not read_findings(f"No {name.lower()}.").abnormal


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("RLL pneumonia.", {"right pneumonia"}),
        ("Mod L effusion. RUL mass. No PTX.", {"left pleural effusion", "right mass"}),
        ("Opacity in the LUL and RML.", {"left opacity", "right opacity"}),
        ("(R) effusion.", {"right pleural effusion"}),
        ("R-sided effusion.", {"right pleural effusion"}),
        ("B/L effusions.", {"left pleural effusion", "right pleural effusion"}),
        ("L1 fracture.", {"fracture"}),
        ("L-spine fracture.", {"fracture"}),
        ("Fracture of L 3.", {"fracture"}),
        ("On 2 L of oxygen, effusion.", {"pleural effusion"}),
    ],
)
def test_sides_are_read_in_letters(text, labels):
    assert finding_labels(text) == labels


L_EFFUSION, R_EFFUSION = "left pleural effusion", "right pleural effusion"


@pytest.mark.parametrize(
    ("text", "affirmed", "denied"),
    [
        ("Effusions: right small, left moderate.", {L_EFFUSION, R_EFFUSION}, set()),
        ("Pleural effusions: small right, moderate left.", {L_EFFUSION, R_EFFUSION}, set()),
        ("Effusion: small on the right, none on the left.", {R_EFFUSION}, {L_EFFUSION}),
        ("Effusion: left; mass: right.", {L_EFFUSION, "right mass"}, set()),
        ("The right effusion has resolved; the left persists.", {L_EFFUSION}, {R_EFFUSION}),
        ("The right effusion has resolved, the left is stable.", {L_EFFUSION}, {R_EFFUSION}),
        ("The right effusion has resolved. The left is stable.", {L_EFFUSION}, {R_EFFUSION}),
        ("The right effusion persists; the left has resolved.", {R_EFFUSION}, {L_EFFUSION}),
        ("Bilateral effusions, now resolved on the right.", {L_EFFUSION}, {R_EFFUSION}),
        ("Bilateral effusions, the right has resolved.", {L_EFFUSION}, {R_EFFUSION}),
        ("Bilateral effusions, the right is larger.", {L_EFFUSION, R_EFFUSION}, set()),
        ("Both effusions have resolved.", set(), {L_EFFUSION, R_EFFUSION}),
        ("The effusion is on the right, the left is clear.", {R_EFFUSION}, set()),
        ("Right effusion, left large mass.", {R_EFFUSION, "left mass"}, set()),
    ],
)
def test_a_finding_left_out_is_that_of_the_other_side(text, affirmed, denied):
    assert _read(text) == (affirmed, denied)


@pytest.mark.parametrize(
    "text",
    [
        "Pneumonia is less likely than atelectasis.",
        "Atelectasis is more likely than pneumonia.",
        "More likely atelectasis than pneumonia.",
        "Atelectasis is favored over pneumonia.",
        "Atelectasis instead of pneumonia.",
    ],
)
def test_what_is_less_likely_is_denied(text):
    assert _read(text) == ({"atelectasis"}, {"pneumonia"})


@pytest.mark.parametrize(
    "text",
    [
        "On the prior film there was no effusion.",
        "No effusion was seen on the prior film.",
        "The previous radiograph showed no effusion.",
        "Previously, there was no effusion.",
    ],
)
def test_what_an_earlier_film_did_not_show_is_not_denied(text):
    assert _read(text) == (set(), set())
    assert _read(f"{text} There is now a left effusion.") == ({L_EFFUSION}, set())


@pytest.mark.parametrize(
    "text",
    [
        "Compared with the prior film, there is no effusion.",
        "No residual of the effusion on the prior film.",
        "No effusion, as on the prior film.",
        "On the prior film there was a mass, but now there is no effusion.",
        "Previously seen effusion has resolved.",
    ],
)
def test_what_this_film_does_not_show_is_denied_beside_an_earlier_one(text):
    assert negated_labels(text) == {"pleural effusion"}


@pytest.mark.parametrize(
    ("text", "affirmed", "denied"),
    [
        ("Effusion\uff1anone", set(), {"pleural effusion"}),
        ("No effusion\u3002Left mass is present\u3002", {"left mass"}, {"pleural effusion"}),
        ("No effusion\uff1bleft mass\u3002", {"left mass"}, {"pleural effusion"}),
        ("No mass.Left effusion.", {"left pleural effusion"}, {"mass"}),
        (
            "Consolidation yes, effusion no, pneumothorax no",
            {"consolidation"},
            {"pleural effusion", "pneumothorax"},
        ),
        ("Effusion no, pneumothorax yes.", {"pneumothorax"}, {"pleural effusion"}),
        ("effusion (-)", set(), {"pleural effusion"}),
        ("Consolidation (+), effusion (-).", {"consolidation"}, {"pleural effusion"}),
        ("Effusion: small, pneumothorax: none.", {"pleural effusion"}, {"pneumothorax"}),
        ("Effusion, pneumothorax: none.", set(), {"pleural effusion", "pneumothorax"}),
        ("A 2.5 cm mass.", {"mass"}, set()),
    ],
)
def test_punctuation_of_any_kind_parts_findings(text, affirmed, denied):
    assert _read(text) == (affirmed, denied)


@pytest.mark.parametrize(
    ("before", "again", "after"),
    [
        ("left right ", "mass, ", ""),
        ("left right ", "mass and ", ""),
        ("no ", "mass, ", " is seen left right"),
        ("No effusion ", ", small on the left", ""),
        ("", "left and right mass, no right, ", ""),
        ("", "no effusion, the left is stable ", ""),
        ("", "bilateral effusions, ", "resolved on the left"),
        ("", "effusion: left small, right small ", ""),
        ("", "heart and lungs normal ", ""),
        ("", "lungs and ", "clear"),
        ("", "favored ", "over mass"),
        ("", "R L ", "mass"),
        ("on ", "prior ", "no mass"),
    ],
)
def test_a_hundred_thousand_characters_are_read(before, again, after):
    read_findings(before + again * (100_000 // len(again)) + after)


def test_emphasis_in_markdown_parts_no_words():
    assert finding_labels("**Heart:** enlarged. __Left__ **effusion**") == {
        "cardiomegaly",
        "left pleural effusion",
    }
