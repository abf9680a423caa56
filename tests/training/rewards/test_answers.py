"""Answers in sentences, lists in any form and closed questions are read as they are meant."""

from __future__ import annotations

import pytest

from training.labels import finding_labels
from training.rewards.equivalence import answer_worth


def worth(said: str, reference: str, question: str) -> float:
    return answer_worth(said, reference, finding_labels(question), question)


ASKED = (
    (
        "How large is the effusion?",
        "Small",
        ("The effusion is small", "Small pleural effusion", "a small one", "small left effusion"),
        (
            "The effusion is large",
            "small large",
            "small or large",
            "not small",
            "moderate",
            "small to moderate",
            "no effusion",
            "The effusion is not small",
            "effusion",
        ),
    ),
    (
        "Is the effusion small, moderate or large?",
        "Small",
        ("The effusion is small",),
        ("small large effusion", "small, moderate", "small or large", "large"),
    ),
    (
        "Where is the nodule?",
        "Right upper lobe",
        (
            "The nodule is in the right upper lobe.",
            "Right upper lobe nodule",
            "RUL",
            "A small nodule in the right upper lobe",
        ),
        (
            "left upper lobe",
            "right lower lobe nodule",
            "right upper and lower lobe",
            "right upper lower lobe",
            "the nodule is not in the right upper lobe",
            "nodule",
            "right left upper lobe",
        ),
    ),
    (
        "How many nodules are there?",
        "3",
        ("3 nodules", "There are three nodules", "three"),
        ("2 nodules", "3 4 nodules", "3 or 4 nodules", "one nodule"),
    ),
    (
        "Which view is this?",
        "PA",
        ("PA projection", "P.A.", "PA view", "The view is PA"),
        ("AP", "PA lateral", "PA and AP", "A.P."),
    ),
    (
        "What is the size of the nodule?",
        "1.5 cm",
        ("It measures 1.5 cm.", "1.5 cm", "15 mm", "about 1.5 cm"),
        ("It measures 2 cm", "1.5 cm 2 cm"),
    ),
    (
        "On which side is the pleural effusion?",
        "Left",
        (
            "A small left pleural effusion is present.",
            "Left, not right",
            "left base",
            "Only left",
            "The effusion is on the left",
            "The answer is left",
            "\\text{Left}",
            "left side",
        ),
        (
            "left and right",
            "left right",
            "Left, not left",
            "not left",
            "right, not left",
            "left mass",
            "left or right",
            "No left effusion",
            "bilateral",
            "Right",
            "left versus right",
        ),
    ),
    (
        "Is there a mass?",
        "Yes",
        (
            "\\text{Yes}",
            "The answer is yes",
            "The final answer is: Yes",
            "Answer: yes",
            "\\mathrm{Yes}",
            "the answer is: a mass is seen",
        ),
        ("The answer is no", "\\text{No}", "The answer is"),
    ),
    (
        "Which findings are present?",
        "Cardiomegaly | Pleural effusion",
        (
            "Cardiomegaly. Pleural effusion.",
            "1. Cardiomegaly 2. Pleural effusion",
            "Cardiomegaly with pleural effusion",
            "The findings are cardiomegaly and pleural effusion.",
            "Possible cardiomegaly, pleural effusion",
            "Cardiomegaly, pleural effusion, and no pneumothorax",
            "left pleural effusion and an enlarged heart",
        ),
        (
            "mass",
            "no cardiomegaly, no effusion",
            "cardiomegaly, no cardiomegaly, effusion",
            "Cardiomegaly, effusion, mass, nodule",
        ),
    ),
    (
        "Which findings are present?",
        "None",
        ("Normal", "The chest is normal", "No abnormalities", "none"),
        ("mass", "normal, mass", "Normal chest, mass"),
    ),
    ("Which device is present?", "None", ("None",), ("Normal",)),
    (
        "What finding is seen?",
        "Pleural effusion",
        ("left pleural effusion", "There is a pleural effusion."),
        ("no effusion", "effusion, mass", "effusion or mass", "pericardial effusion"),
    ),
    (
        "Which is larger, the left or the right effusion?",
        "Left",
        ("left", "the left effusion"),
        ("right", "left right", "the right effusion"),
    ),
    (
        "Where is the left nodule?",
        "Upper lobe",
        ("left upper lobe", "upper lobe"),
        ("right upper lobe", "left lower lobe"),
    ),
    ("Which side has no effusion?", "Right", ("right",), ("left",)),
    (
        "Is it mass or nodule?",
        "Mass",
        ("mass", "a mass"),
        ("nodule", "mass nodule", "mass or nodule"),
    ),
    (
        "What is the size of the heart?",
        "Enlarged",
        ("The heart is enlarged", "enlarged", "Enlarged heart"),
        ("normal", "The heart is normal", "not enlarged", "The heart is not enlarged", "heart"),
    ),
    (
        "What is the size of the heart?",
        "Normal",
        ("The heart is normal in size", "normal", "Normal heart size"),
        ("enlarged", "The heart is enlarged", "not normal"),
    ),
    (
        "Compared with image 2, is the left pleural effusion larger, smaller or unchanged?",
        "Larger",
        ("larger", "The effusion is larger"),
        ("smaller", "larger or smaller", "larger smaller"),
    ),
    (
        "Where is the consolidation?",
        "Left lower lobe",
        ("Consolidation in the left lower lobe",),
        ("consolidation", "left", "lower lobe"),
    ),
)
RIGHT = [(question, ref, said) for question, ref, right, _ in ASKED for said in right]
WRONG = [(question, ref, said) for question, ref, _, wrong in ASKED for said in wrong]


@pytest.mark.parametrize(("question", "reference", "said"), RIGHT)
def test_a_right_answer_is_right_in_a_sentence_too(
    question: str, reference: str, said: str
) -> None:
    assert worth(said, reference, question) == 1


@pytest.mark.parametrize(("question", "reference", "said"), WRONG)
def test_a_wrong_answer_or_several_are_wrong_in_a_sentence_too(
    question: str, reference: str, said: str
) -> None:
    assert worth(said, reference, question) == 0


PNEUMOTHORAX = "Is there a pneumothorax?"


@pytest.mark.parametrize("said", ["Indeed.", "Yes, indeed.", "Certainly.", "Of course."])
def test_an_affirmation_alone_is_a_yes(said: str) -> None:
    assert worth(said, "Yes", PNEUMOTHORAX) == 1
    assert worth(said, "No", PNEUMOTHORAX) == 0


@pytest.mark.parametrize(
    "said",
    [
        *("It cannot be seen.", "It can't be seen.", "I cannot see one.", "It cannot be found."),
        *("Nothing to suggest a pneumothorax.", "Indeed not."),
        *("I cannot see it.", "I cannot see any."),
        *("I cannot see a pneumothorax.", "I cannot see the pneumothorax.", "I cannot see a PTX."),
        *("I cannot see a pneumothorax on this film.", "A pneumothorax cannot be seen."),
    ],
)
def test_what_cannot_be_seen_is_a_no(said: str) -> None:
    assert worth(said, "No", PNEUMOTHORAX) == 1
    assert worth(said, "Yes", PNEUMOTHORAX) == 0


@pytest.mark.parametrize(
    "said",
    [
        *(
            "It cannot be seen clearly.",
            "I cannot see it well.",
            "I cannot see whether there is one.",
        ),
        *("I cannot see the film.", "I cannot see.", "It cannot be seen on this view."),
        *("I cannot see any image.", "I can't see this x-ray.", "The film cannot be seen."),
        *("I cannot see the lungs.", "I cannot see it on this film.", "I cannot see anything."),
        "I cannot find any of the films.",
    ],
)
def test_what_cannot_be_seen_well_is_no_answer(said: str) -> None:
    assert worth(said, "No", PNEUMOTHORAX) == worth(said, "Yes", PNEUMOTHORAX) == 0


def test_a_finding_denied_is_no_abnormality() -> None:
    asked = "Is there any abnormality on the image?"
    assert worth("Nothing to suggest a nodule.", "Yes", asked) == 0


@pytest.mark.parametrize(
    ("question", "reference", "said", "other"),
    [
        ("How large is the effusion?", "moderate", "moderately sized", "largely sized"),
        ("How large is the effusion?", "Moderate", "It is moderate in size", "small in size"),
        ("What are the symptoms?", "chest pain", "Thoracic pain", "abdominal pain"),
        ("Which side is it on?", "left", "left thorax", "right thorax"),
    ],
)
def test_a_word_of_the_same_meaning_is_the_same_answer(
    question: str, reference: str, said: str, other: str
) -> None:
    assert worth(said, reference, question) == 1
    assert worth(other, reference, question) == 0


@pytest.mark.parametrize(
    "said",
    ["cardiomegaly", "Cardiomegaly, effusion, mass", "Cardiomegaly, effusion, a pacemaker"],
)
def test_what_a_list_leaves_out_or_names_in_vain_takes_from_it(said: str) -> None:
    wanted = "Cardiomegaly | Pleural effusion"
    assert worth(said, wanted, "Which findings are present?") == 0.5


CLOSED = (
    ("Are the lungs clear?", "No acute disease", 1, 0),
    ("Is the chest normal?", "No findings", 1, 0),
    ("Is the chest normal?", "No.", 0, 1),
    ("Are the lungs clear?", "No", 0, 1),
    ("Is there any abnormality?", "No findings", 0, 1),
    ("Is the heart normal?", "No abnormality", 1, 0),
    ("Are there bilateral pleural effusions?", "Left effusion", 0, 1),
    ("Are there bilateral pleural effusions?", "Bilateral effusions", 1, 0),
    ("Are there bilateral pleural effusions?", "No, only on the left", 0, 1),
    ("Are there bilateral pleural effusions?", "Yes, left effusion", 0, 0),
    ("Are there bilateral pleural effusions?", "No effusion", 0, 1),
    ("Are there bilateral pleural effusions?", "No left effusion", 0, 1),
    ("Are there bilateral pleural effusions?", "Yes, there are effusions on both sides", 1, 0),
    ("Are there bilateral pleural effusions?", "There are left and right effusions", 1, 0),
    ("Is there an effusion or pneumothorax?", "There is an effusion but no pneumothorax", 1, 0),
    ("Is there an effusion or pneumothorax?", "No effusion or pneumothorax", 0, 1),
    ("Is there an effusion or pneumothorax?", "Neither", 0, 1),
    ("Is there an effusion or pneumothorax?", "No", 0, 1),
    ("Is there an effusion or pneumothorax?", "Yes, an effusion", 1, 0),
    ("Is there an effusion or pneumothorax?", "There is a pneumothorax", 1, 0),
    ("Are there a mass and a nodule?", "There is a mass but no nodule", 0, 1),
    ("Are there a mass and a nodule?", "There are a mass and a nodule", 1, 0),
    ("Is there a pleural effusion?", "No, except a small one on the left", 0, 0),
    ("Is there a pleural effusion?", "No, but a small one on the right", 0, 0),
    ("Is there a pleural effusion?", "No left effusion", 0, 0),
    ("Is there a pleural effusion?", "No right pleural effusion is seen", 0, 0),
    ("Is there a pleural effusion?", "Yes, but not large", 1, 0),
    ("Is there a pleural effusion?", "No left or right effusion", 0, 1),
    ("Is there a pleural effusion?", "No, there is no effusion", 0, 1),
    ("Is there a pleural effusion?", "No pleural effusion", 0, 1),
    ("Is there a pleural effusion?", "No, but there is a mass", 0, 1),
    ("Is there a pleural effusion?", "Yes, but small", 1, 0),
    ("Is there a pleural effusion?", "Yes, it has not resolved", 1, 0),
    ("Is there a pleural effusion?", "Yes, not seen previously", 1, 0),
    ("Is there a pleural effusion?", "Yes, not previously seen", 1, 0),
    ("Is there a pleural effusion?", "It is not absent", 0, 0),
    ("Has the effusion resolved?", "It has not resolved", 0, 1),
    ("Has the effusion resolved?", "Yes, it has resolved", 1, 0),
    ("Is the effusion larger than before?", "No change", 0, 1),
    ("Is the effusion larger?", "No change", 0, 1),
    ("Has the effusion changed?", "No change", 0, 1),
    ("Is the effusion unchanged?", "No change", 1, 0),
    ("Is there a pacemaker?", "There is a pacemaker", 1, 0),
    ("Is there a pacemaker?", "A pacemaker is present", 1, 0),
    ("Is there a pacemaker?", "No pacemaker", 0, 1),
    ("Is the heart enlarged?", "It is enlarged", 1, 0),
    ("Is the heart enlarged?", "heart", 0, 0),
    ("Is the heart enlarged?", "The heart is not enlarged", 0, 1),
    ("Is it an AP view?", "AP", 1, 0),
    ("Is it an AP view?", "PA", 0, 0),
    ("Is it an AP view?", "It is not AP", 0, 1),
    ("Is there a pacemaker?", "pacemaker or not", 0, 0),
    ("Is there a pacemaker?", "Pacemaker: no", 0, 1),
    ("Is there a pacemaker?", "Pacemaker: present", 1, 0),
    ("Is there a pleural effusion?", "Pleural effusion: no", 0, 1),
    ("Is there a mass in the right lung?", "The lung is seen", 0, 0),
    ("Is there a pacemaker in the left chest?", "left", 0, 0),
    ("Is there a pacemaker in the left chest?", "There is a pacemaker", 1, 0),
    ("Does the film show a pacemaker?", "It shows a pacemaker", 1, 0),
    ("Is the tip of the tube in the trachea?", "The tip is seen", 0, 0),
    ("Is the tip of the tube in the trachea?", "The tip of the tube is in the trachea", 1, 0),
    ("Is there a pacemaker?", "Is there a pacemaker", 0, 0),
    ("Is there a pacemaker?", "maybe a pacemaker", 0, 0),
    ("Is the tube placed correctly?", "The tube is placed", 0, 0),
    ("Is the tube placed correctly?", "The tube is correctly placed", 1, 0),
    ("Is the nodule calcified?", "The nodule is calcified", 1, 0),
    ("Is there a pacemaker?", "There was never a pacemaker", 0, 1),
    ("Is there a left pleural effusion?", "No left effusion, but on the right", 0, 1),
    ("Is there a left or right pleural effusion?", "Left effusion", 1, 0),
)


@pytest.mark.parametrize(("question", "said", "yes", "no"), CLOSED)
def test_a_closed_question_is_answered_by_what_says_so(
    question: str, said: str, yes: float, no: float
) -> None:
    assert worth(said, "Yes", question) == yes
    assert worth(said, "No", question) == no
