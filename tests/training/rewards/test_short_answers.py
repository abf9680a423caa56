"""Short answers in the words that people use are paid; what hedges between two answers is not."""

from __future__ import annotations

import pytest

from training.labels import finding_labels
from training.rewards.equivalence import answer_worth, says_yes


def worth(said: str, reference: str, question: str) -> float:
    return answer_worth(said, reference, finding_labels(question), question)


OPEN = (
    (
        "What device is seen?",
        "Pacemaker",
        "There is a pacemaker on the left | dual-chamber pacemaker | cardiac pacemaker | PPM"
        " | Pacemaker with two leads | pacemaker device | pacemaker, left | single-lead pacemaker"
        " | Left chest wall pacemaker, leads in good position | probably a pacemaker",
        "endotracheal tube | pacemaker and endotracheal tube | pacemaker or ICD | leads | device"
        " | pacemaker with a chest tube | pacemaker leads and PICC | pacemaker endotracheal tube"
        " | not a pacemaker | unlikely a pacemaker | pacemaker with effusion | hardly a pacemaker",
    ),
    (
        "What type of device is present?",
        "Endotracheal tube",
        "endotracheal tube in good position | endotracheal tube 3 cm above the carina"
        " | ETT tip above carina | Endotracheal tube, tip in the trachea | ET tube"
        " | The endotracheal tube is appropriately positioned | endotracheal tubes",
        "tube | nasogastric tube | endotracheal and nasogastric tube | chest tube | ETT, NGT"
        " | endotracheal or tracheostomy tube | endotracheal nasogastric tube | carina"
        " | no endotracheal tube",
    ),
    (
        "What device is on the right?",
        "Chest tube",
        "right chest tube | thoracostomy tube | A chest tube on the right",
        "left chest tube | tube | endotracheal tube | chest tube, pacemaker",
    ),
    (
        "What device is present?",
        "Central venous catheter",
        "CVC | central line | right central venous catheter",
        "PICC | catheter | no central line | central venous catheter and PICC",
    ),
    (
        "How far above the carina is the tip?",
        "3 cm",
        "30 mm | 3 cm above the carina | The tip is 3 cm above the carina",
        "4 cm | 3 mm | 3 or 4 cm | 5 cm above the carina",
    ),
    (
        "Which view is this?",
        "PA",
        "PA chest radiograph | frontal PA | PA frontal view | upright PA | PA, upright | erect PA"
        " | Frontal radiograph, PA projection | PA chest X-ray, standing | probably PA",
        "AP | lateral | frontal | AP or PA | PA/AP | PA lateral | upright | portable | chest"
        " | frontal, lateral, PA | either PA or AP | anything but PA | AP, not PA",
    ),
    (
        "Which view is this?",
        "AP",
        "portable AP | AP portable chest radiograph | AP supine | AP semi-erect | bedside AP"
        " | This is a portable AP radiograph.",
        "PA | portable | supine | AP or PA | AP lateral | frontal",
    ),
    (
        "Is it a frontal or a lateral view?",
        "Frontal",
        "It is a frontal radiograph | frontal chest x-ray",
        "lateral | frontal or lateral | frontal lateral",
    ),
    (
        "What is the position of the patient?",
        "Supine",
        "supine position | lying supine | AP supine",
        "upright | erect | supine or upright | AP",
    ),
    (
        "What is the abnormality in the left lower lung?",
        "Consolidation",
        "consolidation with air bronchograms | dense consolidation | airspace consolidation"
        " | a focal consolidation with air bronchogram",
        "pneumonia | air bronchograms | right lower lobe consolidation | consolidation, not"
        " | consolidation with effusion | consolidation with a pacemaker | mass or consolidation"
        " | consolidation with tuberculosis | consolidation pacemaker | hardly a consolidation"
        " | anything but consolidation",
    ),
    (
        "What is the finding in the spine?",
        "Scoliosis",
        "mild scoliosis | thoracic scoliosis | Scoliosis of the thoracic spine",
        "no scoliosis | kyphosis | scoliosis and kyphosis | spine",
    ),
    (
        "What organ is enlarged?",
        "Heart",
        "the heart | heart",
        "lung | heart and lung | heart, left lung | aorta",
    ),
    (
        "Where is the opacity?",
        "Right lower lobe",
        "posterior right lower lobe | right lower lobe, behind the heart | right lower lung"
        " | right lower lobe, posteriorly | right lower lobe (retrocardiac) | Right lower zone"
        " | the superior segment of the right lower lobe",
        "left lower lobe | right lower lobe, left | right lower lobe, hilum | behind the heart"
        " | posterior | lower lobe | right | right lower lobe or middle lobe | both lower lobes"
        " | right upper and lower lobe | not the right lower lobe | right lower lobe, trachea",
    ),
    (
        "Where is the nodule?",
        "Right apex",
        "right lung apex | right apical region | at the apex of the right lung",
        "left apex | right base | apex | right apex, right base",
    ),
    (
        "On which side is the effusion?",
        "Left",
        "on the left, layering | left pleural space | mainly left | left costophrenic angle",
        "right | left or right | left mass | anything but left | never left | opposite of left",
    ),
    (
        "What is the size of the effusion?",
        "Moderate",
        "medium | medium-sized | moderate, loculated | moderate layering effusion"
        " | moderate amount",
        "moderately large | small to moderate | not moderate | less than moderate | large",
    ),
    (
        "What is the severity of the edema?",
        "Mild",
        "Mild interstitial | mild interstitial edema | mild pulmonary edema | minor"
        " | It is of mild degree",
        "moderate | mild to moderate | mild or severe | interstitial | more than mild | no edema",
    ),
    (
        "What type of edema is seen?",
        "Interstitial",
        "interstitial pulmonary edema | mild interstitial edema",
        "alveolar | interstitial and alveolar | edema | not interstitial",
    ),
    (
        "What is the size of the heart?",
        "Normal",
        "within normal limits | WNL | No cardiomegaly | not enlarged | Normal heart size",
        "enlarged | large | normal or enlarged | large normal | not within normal limits"
        " | cardiomegaly | mildly enlarged | not no cardiomegaly",
    ),
    (
        "What is the size of the heart?",
        "Enlarged",
        "cardiomegaly | big | mildly enlarged | dilated | The heart is large",
        "normal | small | not enlarged | no cardiomegaly | enlarged or normal",
    ),
    (
        "How has the effusion changed?",
        "Larger",
        "progressed | interval increase | increase in size | It has grown | it has worsened",
        "smaller | unchanged | larger or smaller | no increase | improved",
    ),
    (
        "How has the effusion changed?",
        "Unchanged",
        "similar | no significant interval change | stable in size",
        "larger | changed | stable or larger | not stable",
    ),
    (
        "How many nodules are there?",
        "1",
        "a single nodule | solitary | only one",
        "two | 11 | 1 or 2 | one, many | a few | no nodule",
    ),
    (
        "How many nodules are there?",
        "0",
        "none | zero | no nodules | There are no nodules",
        "one | many | ten",
    ),
    (
        "What is the gender of the patient?",
        "F",
        "She is female | lady | woman",
        "male | male or female | not female",
    ),
    (
        "Where is the mass? (a) right upper lobe (b) left lower lobe",
        "right upper lobe",
        "a | (a) | option a | (a) right upper lobe | RUL",
        "b | c | (b) right upper lobe | a or b | right upper lobe, left lower lobe",
    ),
    (
        "What is wrong with the pleura?",
        "Pleural thickening",
        "thickened pleura | thickening of the pleura | the pleura is thickened",
        "no thickened pleura | the pleura is not thickened | thickened pleura and effusion",
    ),
    (
        "Which abnormalities does the film show?",
        "No finding",
        "Nothing abnormal | Nothing abnormal is seen | Nothing of note | All normal | No pathology"
        " | No abnormality detected",
        "Cardiomegaly | Nothing but cardiomegaly | Nothing is normal | no normal findings"
        " | no doubt a finding | no lack of findings | no other abnormality | not nothing"
        " | Nothing abnormal except an effusion | nothing can be excluded",
    ),
)
PAID = [(q, ref, said) for q, ref, right, _ in OPEN for said in right.split(" | ")]
UNPAID = [(q, ref, said) for q, ref, _, wrong in OPEN for said in wrong.split(" | ")]


@pytest.mark.parametrize(("question", "reference", "said"), PAID)
def test_a_detail_beside_the_right_answer_and_another_word_for_it_cost_nothing(
    question: str, reference: str, said: str
) -> None:
    assert worth(said, reference, question) == 1


@pytest.mark.parametrize(("question", "reference", "said"), UNPAID)
def test_another_answer_beside_the_right_one_or_a_detail_alone_is_not_paid(
    question: str, reference: str, said: str
) -> None:
    assert worth(said, reference, question) == 0


VINDR = "Aortic enlargement | Cardiomegaly | Pleural thickening"


@pytest.mark.parametrize(
    "said",
    [
        "enlarged aorta, enlarged heart, thickened pleura",
        "widened aorta, cardiomegaly, thickening of the pleura",
        "dilated aorta; cardiomegaly; pleural thickening",
        "the aorta is widened, the heart is enlarged and the pleura is thickened",
    ],
)
def test_findings_of_a_list_are_known_by_their_other_names(said: str) -> None:
    assert worth(said, VINDR, "Which abnormalities does the film show?") == 1


def test_an_item_of_a_list_in_unknown_words_costs_itself_and_one_named_in_vain() -> None:
    said = "Aortic enlargement, cardiomegaly, a woolly pleura"
    asked = "Which abnormalities does the film show?"
    assert worth(said, VINDR, asked) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("said", "worth_of_it"),
    [
        ("Left lung, right hilar region", 1),
        ("the left lung; the hilum on the right", 1),
        ("right hilar area and left lung", 1),
        ("right lung, left hilum", 0),
        ("none", 0),
    ],
)
def test_regions_of_a_list_are_known_by_their_adjectives(said: str, worth_of_it: float) -> None:
    assert worth(said, "Left lung | Right hilum", "List the abnormal regions.") == worth_of_it


EFFUSION = "Is there a pleural effusion?"
LIKELY = (
    *("Probably yes", "Most likely", "likely", "Yes, maybe", "Yes, possibly", "Probably"),
    *("I think so", "I believe there is", "It is likely", "probable", "Yes (likely)"),
    *("more likely than not", "Possible effusion", "There probably is"),
)
UNLIKELY = (
    *("Probably not", "likely not", "unlikely", "very unlikely", "I don't think so"),
    *("I think not", "Probably no", "Likely no effusion", "No, probably not", "not likely"),
)
NEITHER = (
    *("maybe", "Possibly", "possible", "perhaps", "uncertain", "not sure", "Possibly not"),
    *("less likely", "I think", "I guess", "as likely as not", "likely or not", "maybe not"),
    *("Yes?", "yes, no?", "Yes or is it?", "Yes; the answer could equally be no"),
    *("Yes but I cannot tell", "Yes, if visible", "Yes, although unlikely"),
    *("probably, but not", "Most likely a mass", "No (likely)", "No, most likely"),
)
NO_BUT = (
    *("No, but possible", "No, though one is suspected", "No, not excluded", "No; possible"),
    *("No, but it may be present", "no, possibly small", "No, but I suspect one"),
    *("No, however likely", "No, but a small one is suspected", "No, though maybe"),
    *("No, although an effusion is suspected", "No, but probably yes", "not unlikely"),
)


@pytest.mark.parametrize("said", LIKELY)
def test_likely_presence_is_a_yes(said: str) -> None:
    assert says_yes(said, finding_labels(EFFUSION), EFFUSION) is True


@pytest.mark.parametrize("said", UNLIKELY)
def test_likely_absence_is_a_no(said: str) -> None:
    assert says_yes(said, finding_labels(EFFUSION), EFFUSION) is False


@pytest.mark.parametrize("said", NEITHER)
def test_doubt_alone_or_both_ways_is_no_answer(said: str) -> None:
    assert says_yes(said, finding_labels(EFFUSION), EFFUSION) is None


@pytest.mark.parametrize("said", NO_BUT)
def test_a_no_after_which_the_same_is_possible_is_no_answer(said: str) -> None:
    assert says_yes(said, finding_labels(EFFUSION), EFFUSION) is None


@pytest.mark.parametrize(
    "said",
    [
        *("No, but possible pneumonia", "No, although a mass is suspected", "No, likely a mass"),
        *("No. A mass is possible.", "No, perhaps", "No, though the heart may be enlarged"),
    ],
)
def test_a_no_stays_one_where_something_else_is_possible(said: str) -> None:
    assert says_yes(said, finding_labels(EFFUSION), EFFUSION) is False


TIP, PACER = "Can the tube's tip be seen?", "Is there a pacemaker?"
IN_TRACHEA, LEFT = "Is the tip of the tube in the trachea?", "Is there a left pleural effusion?"
RESOLVED, HEART = "Has the effusion resolved?", "Is the heart enlarged?"


@pytest.mark.parametrize(
    ("question", "said", "verdict"),
    [
        (TIP, "It can be seen", True),
        (TIP, "visible", True),
        (TIP, "The tip is seen at the carina", True),
        (TIP, "It is not visible", False),
        (TIP, "hardly visible", None),
        (TIP, "The tube is seen", None),
        (IN_TRACHEA, "It can be seen", None),
        (IN_TRACHEA, "visible", None),
        (PACER, "There is a pacemaker on the left", True),
        (PACER, "A dual-chamber pacemaker is present", True),
        (PACER, "probably a pacemaker", True),
        (PACER, "There is a pacemaker on the prior film", None),
        (PACER, "There is a tube on the left", None),
        ("Is there an endotracheal tube?", "ETT 3 cm above the carina", True),
        ("Is there an endotracheal tube?", "no ETT", False),
        ("Is there an endotracheal tube?", "There is a nasogastric tube", None),
        ("Is there a chest tube?", "A chest tube is in place", True),
        ("Is there a chest tube?", "tube", None),
        ("Is there a chest tube on the right?", "There is a chest tube on the left", None),
        (LEFT, "visible", True),
        (LEFT, "visible on the right", None),
        (RESOLVED, "It is still visible", False),
        (RESOLVED, "It can no longer be seen", True),
        (RESOLVED, "Probably", True),
        (HEART, "visible", None),
        (HEART, "mildly enlarged", True),
        (HEART, "within normal limits", False),
        (EFFUSION, "normal", False),
        (EFFUSION, "Clear.", False),
        (EFFUSION, "not clear", None),
        ("Are the pleura thickened?", "thickened pleura", True),
        ("Does the aorta look widened?", "The aorta is dilated", True),
        ("Does the aorta look widened?", "The aorta is not dilated", False),
        ("Are the lungs clear?", "Nothing abnormal", True),
    ],
)
def test_what_is_seen_answers_a_question_for_it_and_no_other(
    question: str, said: str, verdict: bool | None
) -> None:
    assert says_yes(said, finding_labels(question), question) is verdict
