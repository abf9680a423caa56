"""Our reward pays for what a radiologist would pay for, and for nothing else."""

import re
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from service.reading import Mode, Task
from training.data.example import ReasoningTarget
from training.labels import finding_labels
from training.rewards.cli import rewards
from training.rewards.disguise import disguised
from training.rewards.equivalence import answer_worth, is_closed, says_yes
from training.rewards.gallery import (
    CONVENTIONS,
    DEVICE,
    FILM,
    GRID,
    NORMAL,
    gallery_table,
    show_gallery,
)
from training.rewards.geometry import iou
from training.rewards.grounded import grounded
from training.rewards.protocol import Rollout, load_reward
from training.rewards.wording import count_words
from training.stages.text_targets import completion_text

FLOOR = 0.15
HEART, MASS, FLUID = (130, 180, 330, 330), (90, 90, 150, 150), (270, 260, 400, 380)
QUESTION = replace(
    FILM,
    task=Task.VQA,
    question="Is there a mass?",
    answer="Yes",
    steps=(ReasoningTarget("There is a mass in the right upper zone", ((0, MASS),)),),
)


def worth(completion, example=FILM, **weights):
    (scored,) = grounded([Rollout(completion, example, CONVENTIONS, GRID)], **weights)
    return scored


def report(heart=HEART, mass=MASS, fluid=FLUID, answer=FILM.answer, order=(0, 1, 2)):
    steps = [
        f"The heart is enlarged {list(heart)}",
        f"There is a mass in the right upper zone {list(mass)}",
        f"There is a moderate left pleural effusion {list(fluid)}",
    ]
    said = "; ".join(steps[i] for i in order)
    return f"<think> {said} </think>. The answer is: \\boxed{{{answer}}}"


@pytest.mark.parametrize(
    ("exhibit", "published", "ours"), show_gallery(), ids=lambda v: str(v)[:40]
)
def test_hacks_earn_next_to_nothing_and_honest_readings_nearly_all(exhibit, published, ours):
    if exhibit.honest:
        assert ours > 0.9
    else:
        assert ours < FLOOR


def test_the_gallery_in_the_docs_is_what_the_rewards_pay():
    page = Path(__file__).parents[3] / "docs" / "rewards.md"
    assert gallery_table() in page.read_text()


def test_a_better_box_earns_more():
    paid = [
        worth(report(mass=(90 + off, 90, 150 + off, 150)))["overall"] for off in range(0, 60, 6)
    ]
    assert paid == sorted(paid, reverse=True)
    assert paid[0] > paid[1] > paid[5]


def test_naming_one_more_true_finding_earns_more():
    answers = [
        "The heart is enlarged. No pneumothorax.",
        "The heart is enlarged. There is a mass in the right upper zone. No pneumothorax.",
        FILM.answer,
    ]
    paid = [worth(report(answer=answer))["overall"] for answer in answers]
    assert paid[0] < paid[1] < paid[2]


def test_a_false_finding_costs():
    false = FILM.answer.replace("No pneumothorax", "There is a right pneumothorax")
    assert worth(report(answer=false))["overall"] < worth(report())["overall"] - 0.1


def test_the_wrong_side_is_a_wrong_finding():
    mirrored = FILM.answer.replace("left", "right")
    assert worth(report(answer=mirrored))["findings"] < worth(report())["findings"]


def test_the_order_of_steps_does_not_matter():
    assert len({worth(report(order=order))["overall"] for order in permutations(range(3))}) == 1


def test_a_finding_that_no_step_supports_is_incoherent():
    unsupported = f"<think> The heart is enlarged {list(HEART)} </think>. \\boxed{{{FILM.answer}}}"
    assert worth(unsupported)["coherence"] < worth(report())["coherence"]


@pytest.mark.parametrize(
    ("said", "reference", "same"),
    [
        ("Yes.", "yes", 1),
        ("Yes, a small one", "Yes", 1),
        ("No", "yes", 0),
        ("Yes No", "Yes", 0),
        ("", "yes", 0),
        ("Mass | Nodule", "nodule | mass", 1),
        ("nodule, mass", "Mass | Nodule", 1),
        ("masses and nodules", "Mass | Nodule", 1),
        ("Mass", "Mass | Nodule", 1 / 2),
        ("Mass | Effusion", "Mass | Nodule", 0),
        ("Mass | Nodule | Effusion", "Mass | Nodule", 1 / 2),
        ("Left | Right", "Left", 0),
        ("Enlarged cardiac silhouette", "Cardiomegaly", 1),
        ("left effusion", "Left pleural effusion", 1),
        ("There is evidence of a mass.", "Mass", 1),
        ("Yes no yes no", "Yes", 0),
        ("Yes. No.", "Yes", 0),
        ("Not present", "Yes", 0),
        ("Absent", "No", 1),
        ("Present.", "Yes", 1),
        ("no | yes", "no", 0),
        ("None", "None", 1),
        ("the", "None", 0),
        ("left side", "Left", 1),
        ("mild", "Small", 1),
        ("Bilateral", "Both", 1),
        ("zone upper, the right", "Right upper zone", 0),
        ("right upper zone.", "Right upper zone", 1),
        ("Stable", "Unchanged", 1),
        ("postero-anterior", "PA", 1),
        ("antero posterior view", "AP", 1),
        ("AP and PA", "PA", 0),
        ("F", "female", 1),
        ("RUL", "right upper lobe", 1),
        ("RLL", "right upper lobe", 0),
        ("left and right", "both", 1),
        ("both", "Left | Right", 1),
        ("left", "both", 0),
        ("left", "Left | Right", 1 / 2),
        ("bilateral effusions", "left pleural effusion, right pleural effusion", 1),
        ("lung mass", "Mass", 1),
        ("normal", "No finding", 1),
        ("No abnormality is seen.", "Normal", 1),
        ("No finding", "None", 1),
        ("A", "A. Left lung", 1),
        ("(A)", "A) Left lung", 1),
        ("Left lung", "A. Left lung", 1),
        ("A. Left lung", "A. Left lung", 1),
        ("B", "A. Left lung", 0),
        ("A. Right lung", "A. Left lung", 0),
        ("A B", "A. Left lung", 0),
        ("A", "Left lung", 0),
        ("Yes", "B. Yes", 1),
        ("mass & nodule", "mass | nodule", 1),
        ("- mass\n- nodule", "mass | nodule", 1),
        ("сердце", "Сердце", 1),
        ("Сердце", "Лёгкие", 0),
        ("e\u0301", "É", 1),
        ("左", "左", 1),
        ("-", "-", 1),
        ("no change", "Unchanged", 1),
        ("No interval change.", "Unchanged", 1),
        ("unchanged", "No significant change", 1),
        ("no change or larger", "Unchanged", 0),
        ("left-sided", "Left", 1),
        ("left-sided, right-sided", "Left", 0),
        ("Left pleural effusion", "Left", 1),
        ("Left pleural effusion, right pleural effusion", "Left", 0),
        ("No left pleural effusion", "Left", 0),
        ("bilateral effusions", "Both", 1),
        ("left lung", "Left", 1),
        ("left or right lung", "Left", 0),
        ("both lungs", "Both", 1),
        ("both sides", "Both", 1),
        ("Upper lobe", "upper", 1),
        ("upper zone", "Upper", 1),
        ("upper and lower lobe", "Upper", 0),
        ("left upper lobe", "Upper", 0),
        ("not enlarged", "Normal", 1),
        ("The heart is not enlarged", "Normal", 1),
        ("The heart is not enlarged", "Cardiomegaly", 0),
        ("ETT", "Endotracheal tube", 1),
        ("ET tube", "ETT", 1),
        ("NG tube", "ETT", 0),
        ("pacer", "Pacemaker", 1),
        ("Female patient", "Female", 1),
        ("moderate-sized", "Moderate", 1),
        ("Definitely yes", "Yes", 1),
        ("y", "Yes", 1),
        ("n", "No", 1),
        ("y", "No", 0),
        ("y/n", "No", 0),
        ("There is", "Yes", 1),
        ("It is.", "Yes", 1),
        ("There is", "No", 0),
        ("", "-", 0),
        ("yes", "Yes, there is cardiomegaly", 1),
        ("no", "Yes, there is cardiomegaly", 0),
        ("b", "B. Left lung", 1),
        ("Option B", "B. Left lung", 1),
        ("The answer is (B).", "B. Left lung", 1),
        ("Option A", "B. Left lung", 0),
        ("it's on the left side", "Left", 1),
        ("There is no abnormality", "No abnormality", 1),
        ("1.5cm", "15 mm", 1),
        ("1.50 cm", "1.5 cm", 1),
        ("1.5 cm", "15 cm", 0),
        ("four", "4", 1),
        ("2.0", "2", 1),
        ("2", "20", 0),
        ("right lower lung zone", "Right lower zone", 1),
        ("L", "Left", 1),
        ("Option B", "B", 1),
        ("B. Right lung", "B", 1),
        ("A", "B", 0),
        ("Female", "F", 1),
    ],
)
def test_answers_that_say_the_same_are_the_same(said, reference, same):
    assert answer_worth(said, reference) == pytest.approx(same)


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        ("There is a mass in the right upper zone.", 1),
        ("No mass is seen.", 0),
        ("Yes, no mass is seen.", 0),
        ("Yes, a mass, no effusion", 1),
        ("A mass is not seen.", 0),
        ("There is an effusion.", 0),
    ],
)
def test_a_sentence_answers_yes_or_no_to_what_is_asked(said, worth):
    asked = frozenset({"mass"})
    assert answer_worth(said, "Yes", asked) == worth


TAKEN_BACK = (
    *(
        "Yes and no",
        "Yes or no",
        "no and yes",
        "Yes, absent",
        "Yes; negative",
        "yes but actually no",
    ),
    *("yes unless it is not", "No, wait, yes", "Yes - no", "Yes\u2014no", "Yes (no)", "Yes & no"),
    *("Yes perhaps no", "Yes yes no", "yes, it isn't", "No, it is present", "not no", "Yes\nNo"),
    *("Yes though none", "Yes, never", "Both yes and no", "maybe yes", "y/n"),
    *("Yes, unlikely", "Yes, excluded", "Yes, resolved", "Yes, ruled out"),
)
EVASIONS = (
    *("I cannot tell", "I can't tell", "I can\u2019t say", "Cannot be determined", "Not sure"),
    *("The question cannot be answered", "No idea", "No comment", "Never mind", "Not applicable"),
    *("Without more views I cannot say", "N/A", "n.a.", "I don't know", "Unable to tell", "No way"),
    *("It is not possible to say", "A mass is not assessable", "I cannot tell if there is no mass"),
    *("It is not absent", "Cannot say no", "No absence of mass", "Not without a mass", "No doubt"),
)


@pytest.mark.parametrize("said", TAKEN_BACK)
@pytest.mark.parametrize("asked", [frozenset(), frozenset({"mass"})])
def test_an_answer_that_takes_back_what_it_says_is_none(said, asked):
    assert [answer_worth(said, reference, asked) for reference in ("Yes", "No")] == [0, 0]


def test_a_side_beside_another_finding_than_the_one_asked_for_is_not_it():
    asked = frozenset({"pleural effusion"})
    assert answer_worth("Left effusion", "Left", asked) == 1
    assert answer_worth("Left mass", "Left", asked) == 0


@pytest.mark.parametrize("said", EVASIONS)
@pytest.mark.parametrize("asked", [frozenset(), frozenset({"mass"})])
@pytest.mark.parametrize("question", ["", "Is there a mass?"])
def test_an_evasive_answer_is_none(said, asked, question):
    assert [answer_worth(said, known, asked, question) for known in ("Yes", "No")] == [0, 0]


@pytest.mark.parametrize(
    ("said", "question", "asked"),
    [
        ("No pneumothorax.", "", ()),
        ("No pneumothorax.", "Is there a pneumothorax?", ("pneumothorax",)),
        ("There is no pleural effusion", "", ()),
        ("There is no pleural effusion", "Is there fluid?", ("pleural effusion",)),
        ("No obvious mass is identified", "Is there a mass?", ("mass",)),
        ("No acute abnormality", "Is there a mass?", ("mass",)),
        ("I do not see a mass", "Is there a mass?", ("mass",)),
        ("Not present", "", ()),
        ("Not visible on this film", "", ()),
        ("No it is not", "", ()),
        ("None seen.", "", ()),
        ("Unlikely", "", ()),
        ("No pacemaker.", "Is there a pacemaker?", ()),
        ("The tube is not correctly placed", "Is the tube placed correctly?", ()),
        ("Not resolved", "Has it resolved?", ()),
        ("No change", "Has it changed?", ()),
    ],
)
def test_a_denial_of_what_is_asked_for_is_a_no(said, question, asked):
    assert answer_worth(said, "No", frozenset(asked), question) == 1
    assert answer_worth(said, "Yes", frozenset(asked), question) == 0


LEFT = ("Is there a left pleural effusion?", frozenset({"left pleural effusion"}))
ANY = ("Is there a pleural effusion?", frozenset({"pleural effusion"}))


@pytest.mark.parametrize(
    ("asked", "said", "yes", "no"),
    [
        (LEFT, "There is a left pleural effusion", 1, 0),
        (LEFT, "There is a pleural effusion", 1, 0),
        (LEFT, "Yes, bilateral effusions", 1, 0),
        (LEFT, "Yes, but no right effusion", 1, 0),
        (LEFT, "Yes, and a right effusion, too", 1, 0),
        (LEFT, "Only on the left", 1, 0),
        (LEFT, "There is a right pleural effusion", 0, 1),
        (LEFT, "No, the effusion is on the right", 0, 1),
        (LEFT, "No left effusion, but a right effusion", 0, 1),
        (LEFT, "Only on the right", 0, 1),
        (LEFT, "No pleural effusion", 0, 1),
        (LEFT, "Yes, right effusion", 0, 0),
        (LEFT, "No right effusion", 0, 0),
        (ANY, "Yes, left effusion, no right effusion", 1, 0),
        (ANY, "There is a right pleural effusion", 1, 0),
    ],
)
def test_asked_about_a_side_the_other_one_is_no_answer(asked, said, yes, no):
    question, labels = asked
    assert answer_worth(said, "Yes", labels, question) == yes
    assert answer_worth(said, "No", labels, question) == no


@pytest.mark.parametrize(
    ("question", "said", "yes", "no"),
    [
        ("Are the lungs clear?", "The lungs are clear", 1, 0),
        ("Are the lungs clear?", "The lungs are not clear", 0, 1),
        ("Are the lungs clear?", "There is a mass", 0, 1),
        ("Are the lungs clear?", "No, but the heart is normal", 0, 1),
        ("Is the left lung clear?", "The right lung is clear", 0, 0),
        ("Is the heart normal?", "Cardiomegaly", 0, 1),
        ("Is the heart normal?", "The heart is normal in size", 1, 0),
        ("Is the chest normal?", "There is a mass", 0, 1),
        ("Has the effusion resolved?", "The effusion has resolved", 1, 0),
        ("Has the effusion resolved?", "The effusion has not resolved", 0, 1),
        ("Has the effusion resolved?", "There is a persistent effusion", 0, 1),
        ("Has the effusion changed?", "Unchanged", 0, 1),
        ("Has the effusion changed?", "The effusion is larger", 1, 0),
        ("Is the mass larger?", "The mass is unchanged", 0, 1),
        ("Is there no effusion?", "No effusion", 1, 0),
        ("Is there a mass?", "The chest is normal", 0, 1),
        ("Is there a mass?", "Yes, the chest is normal", 0, 0),
        ("Is there a mass?", "Yes - wrong", 0, 0),
        ("Is there a mass?", "Yes. I was wrong", 0, 0),
    ],
)
def test_a_sentence_answers_what_is_asked_of_the_film(question, said, yes, no):
    asked = finding_labels(question)
    assert answer_worth(said, "Yes", asked, question) == yes
    assert answer_worth(said, "No", asked, question) == no


@pytest.mark.parametrize(
    ("said", "question", "same"),
    [
        ("left pleural effusion", "Which finding?", 1),
        ("small right pleural effusion", "Which finding?", 1),
        ("right pleural effusion", "What is seen on the right?", 1),
        ("left pleural effusion", "What is seen on the right?", 0),
        ("pericardial effusion", "Which finding?", 0),
    ],
)
def test_a_finding_may_be_named_more_closely_than_it_is_wanted(said, question, same):
    assert answer_worth(said, "Pleural effusion", frozenset(), question) == same


def test_a_list_of_kinds_may_be_answered_with_sides_but_not_twice():
    wanted = "Cardiomegaly | Mass | Pleural effusion"
    assert answer_worth("Cardiomegaly | right mass | left pleural effusion", wanted) == 1
    assert answer_worth("left mass | right mass | mass", wanted) == pytest.approx(1 / 3)


def test_what_would_deny_elsewhere_may_be_what_is_asked_about():
    assert answer_worth("Yes, it has resolved", "Yes", question="Has it resolved?") == 1


@pytest.mark.parametrize(
    ("said", "reference"),
    [
        ("Yes, on the left but not on the right", "Yes"),
        ("Yes, but not large", "Yes"),
        ("Yes, there is.", "Yes"),
        ("Yes, but also a pneumothorax and no effusion", "Yes"),
        ("No, there is a left effusion but no mass", "No"),
        ("No, the lungs are clear", "No"),
        ("No. Not at all.", "No"),
        ("There is none", "No"),
    ],
)
def test_a_reason_takes_nothing_back(said, reference):
    assert answer_worth(said, reference, frozenset({"mass"})) == 1


FREE = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)


@given(FREE)
def test_an_answer_is_worth_all_to_itself(answer):
    if says_yes(answer) is None and is_closed(answer):
        return  # it says both
    assert answer_worth(answer, answer) == 1


def test_a_wrong_answer_to_a_question_earns_nothing_however_well_it_is_boxed():
    text = (
        "<think> There is a mass in the right upper zone [90, 90, 150, 150] </think>. \\boxed{{{}}}"
    )
    assert worth(text.format("Yes"), QUESTION)["overall"] > 0.95
    assert worth(text.format("No"), QUESTION)["overall"] == 0


def test_yes_without_a_step_that_says_so_is_incoherent():
    text = "<think> No mass is seen </think>. \\boxed{Yes}"
    assert worth(text, QUESTION)["coherence"] == 0


def asked_of(*steps, said="Yes", example=QUESTION):
    return worth(f"<think> {'; '.join(steps)} </think>. \\boxed{{{said}}}", example)


IN_THE_ZONE = "There is a mass in the right upper zone"
FAR = f"{IN_THE_ZONE} [300, 300, 360, 360]"
ELSE = (f"The heart is enlarged {list(HEART)}", f"A moderate left pleural effusion {list(FLUID)}")


def test_boxes_of_findings_that_a_question_is_not_about_pay_nothing_and_cost_nothing():
    shown = f"{IN_THE_ZONE} {list(MASS)}"
    assert asked_of(shown, *ELSE)["overall"] == pytest.approx(1)
    assert asked_of(FAR, *ELSE)["overall"] == asked_of(FAR)["overall"]
    assert asked_of(*ELSE)["places"] == 0
    near = asked_of(f"{IN_THE_ZONE} [120, 110, 180, 170]")["overall"]
    assert asked_of(*ELSE)["overall"] < near
    assert asked_of(FAR, *ELSE)["overall"] < near


MISSED = ((0, 0, 60, 60), (300, 30, 360, 90), (10, 300, 60, 360))
SPECKS = ((0, 0, 1, 1), (300, 30, 301, 31), (10, 300, 11, 301))
HALVES = ((0, 0, 448, 224), (0, 224, 448, 448), (0, 0, 224, 448))


@pytest.mark.parametrize("boxes", [MISSED, SPECKS, HALVES])
def test_a_box_that_misses_its_finding_pays_less_than_none_and_a_near_miss_more(boxes):
    none = re.sub(r" \[.*?\]", "", report())
    near = report((150, 200, 345, 345), (105, 100, 165, 160), (285, 275, 415, 395))
    assert worth(report(*boxes))["overall"] < worth(none)["overall"] < worth(near)["overall"]
    assert asked_of(FAR)["overall"] < asked_of(IN_THE_ZONE)["overall"]


def test_a_box_for_two_findings_shows_both():
    two = replace(FILM, regions=(*FILM.regions, ("left atelectasis", (270, 250, 400, 380))))
    step = f"Left pleural effusion with left atelectasis {list(FLUID)}"
    said = "There is a left pleural effusion with left atelectasis."
    two = replace(two, labels=(), steps=(), answer=said)
    assert worth(f"<think> {step} </think>. \\boxed{{{said}}}", two)["coherence"] == 1


def test_the_steps_of_a_question_may_not_assert_what_is_not_there():
    absent = replace(QUESTION, question="Is there a pneumothorax?", answer="No", steps=())
    anything = ("There is an edema", "There is a fracture", "There is a hernia")
    assert asked_of("The lungs are clear", said="No", example=absent)["honesty"] == 1
    assert asked_of(*anything, said="No", example=absent)["honesty"] == 1 / 8
    assert asked_of("A right mass", said="No", example=absent)["honesty"] == 1
    unmarked = replace(absent, labels=(), regions=())
    assert asked_of(*anything, said="No", example=unmarked)["honesty"] == 1


def test_steps_that_contradict_each_other_are_tricks_unless_they_are_of_two_films():
    for denials in range(1, 4):
        against = ["The heart is not enlarged", "There is no mass", "There is no left effusion"]
        assert thought(SHOWN + against[:denials])["honesty"] == 0.5**denials
    boxed = "Image 1 shows a right mass [90, 90, 150, 150]"
    assert asked_of(boxed, "Image 2 shows no mass", example=PAIR)["honesty"] == 1


def test_a_no_to_one_side_follows_from_a_step_on_the_other():
    step = f"There is a moderate left pleural effusion {list(FLUID)}"
    shown = (ReasoningTarget("There is a moderate left pleural effusion", ((0, FLUID),)),)
    side = replace(
        QUESTION, question="Is there a right pleural effusion?", answer="No", steps=shown
    )
    assert asked_of(step, said="No", example=side)["coherence"] == 1
    here = replace(side, question="Is there a left pleural effusion?", answer="Yes")
    assert asked_of(step, example=here)["coherence"] == 1
    assert asked_of(step.replace("left", "right"), example=here)["coherence"] == 0


DENIED = "The heart is not enlarged. There is no left pleural effusion. There is no mass."


@pytest.mark.parametrize("answer", [DENIED, NORMAL.answer])
def test_right_steps_buy_nothing_where_the_report_denies_what_they_show(answer):
    assert worth(report(answer=answer))["overall"] < 0.01


def test_a_terse_report_with_all_findings_is_worth_far_more_than_one_that_says_nothing():
    terse = worth(report(answer="Cardiomegaly, left effusion, right upper mass."))["overall"]
    assert terse > 0.8
    assert (
        worth(report(answer="Heart, left pleura and right upper zone: see above."))["overall"]
        < terse / 4
    )
    assert worth(report())["overall"] > terse


def test_boxes_are_paid_as_far_as_the_report_says_what_they_show():
    said = "The heart is enlarged. There is a moderate left pleural effusion. No pneumothorax."
    assert worth(report(answer=said))["places"] == pytest.approx((1 + 0.8) / 2)


@pytest.mark.parametrize(
    ("sentence", "honesty"),
    [
        ("Or: normal chest radiograph.", 1 / 8),
        ("Alternatively the film is normal.", 1 / 8),
        ("The above is incorrect; disregard it.", 1 / 8),
        ("Otherwise normal chest.", 1),
        ("Otherwise, the chest is unremarkable.", 1),
        ("Unremarkable chest wall.", 1),
        ("The previous study was normal.", 1),
        ("The study is negative for pneumonia.", 1),
    ],
)
def test_a_second_answer_beside_the_first_is_a_contradiction(sentence, honesty):
    assert worth(report(answer=f"{FILM.answer} {sentence}"))["honesty"] == honesty


def test_there_is_one_boxed_answer():
    assert worth(report().replace(" </think>", r"; \boxed{Normal chest} </think>"))["format"] == 0


@pytest.mark.parametrize(
    "word",
    [
        *("\u039d\u043e", "\U0001d40d\U0001d428", "\u1d0d\u1d00\ua731\ua731"),
        *("\u24dc\u24d0\u24e2\u24e2", "\u1d50\u1d43\u02e2\u02e2", "\uff4d\uff41\uff53\uff53"),
    ],
)
def test_a_word_of_letters_that_only_look_latin_is_a_disguise_among_latin_ones(word):
    assert worth(report(answer=f"There is {word} mass. {FILM.answer}"))["format"] == 0
    assert not disguised(word, ())


@pytest.mark.parametrize("word", ["2\u207f\u1d48", "1\u02e2\u1d57", "mm\u00b2", "\u2122", "\u2162"])
def test_ordinals_units_and_signs_are_no_disguise(word):
    assert not disguised(f"{FILM.answer} {word}", ())


def test_thousands_of_boxes_earn_nothing():
    boxes = " ".join(f"[{n % 300}, {n // 300}, {n % 300 + 90}, 400]" for n in range(2000))
    assert worth(report().replace("; ", f" {boxes}; ", 1))["overall"] < 0.001


def test_structures_may_be_boxed_at_no_cost():
    text = (
        "<think> The heart is normal in size [150, 180, 300, 330]; The lungs are clear "
        f"[40, 40, 410, 380] </think>. \\boxed{{{NORMAL.answer}}}"
    )
    assert worth(text, NORMAL)["overall"] == pytest.approx(1)


def test_a_structure_boxed_far_from_where_it_is_costs():
    text = f"<think> The heart is normal [{{}}] </think>. \\boxed{{{{{NORMAL.answer}}}}}"
    there, elsewhere = (
        worth(text.format(box), NORMAL)["honesty"] for box in ("150, 180, 300, 330", "0, 0, 30, 30")
    )
    assert (there, elsewhere) == (1, 0.5)


def test_two_films_are_judged_each_on_its_own():
    steps = "Image 1 shows the right mass [90, 90, 150, 150]; Image 2 shows the right mass [{}]"
    # 448 x 300 is shown as 448 x 308.
    right, wrong = (
        worth(f"<think> {steps.format(box)} </think>. The answer is: \\boxed{{Yes}}", PAIR)
        for box in ("90, 62, 140, 103", "300, 62, 350, 103")
    )
    assert right["places"] > 0.95
    assert 0.45 < wrong["places"] < 0.55


def test_a_finding_without_its_side_is_half_a_finding():
    sideless = "The heart is enlarged. There is a mass. There is a pleural effusion."
    scored = worth(report(answer=sideless))["findings"]
    assert scored == pytest.approx(2 * (1 + 0.5 + 0.5) / 6)


def test_a_side_that_the_reference_does_not_know_makes_half_a_finding():
    lateral = replace(FILM, labels=(), regions=(), steps=(), answer="There is a pleural effusion.")
    assert worth(report(answer="Pleural effusion."), lateral)["findings"] == 1
    for said in ("A left pleural effusion.", "Bilateral effusions."):
        assert worth(report(answer=said), lateral)["findings"] == 0.5


def test_a_side_is_not_held_against_a_reading_where_only_marks_lack_it():
    marked = replace(FILM, labels=("Pleural Effusion",), answer="Small left pleural effusion.")
    assert worth(report(answer="Small left pleural effusion."), marked)["findings"] == 1


def test_labels_and_regions_in_the_words_of_a_source_are_understood():
    foreign = replace(
        FILM,
        labels=("Cardiomegaly", "Pleural_Effusion", "Lung Mass"),
        regions=(("Cardiomegaly", HEART), ("Mass", MASS), ("Pleural Effusion", FLUID)),
    )
    assert worth(report(), foreign)["overall"] == pytest.approx(1)


def test_a_report_is_held_against_what_its_reference_says():
    silver = replace(NORMAL, labels=("Cardiomegaly", "Support Devices"))
    assert worth(completion_text(silver, CONVENTIONS, GRID), silver)["findings"] == 1


def test_a_place_that_the_labeler_has_no_word_for_is_asked_of_nobody():
    rare = replace(FILM, regions=(*FILM.regions, ("ILD", (10, 10, 60, 60))))
    assert worth(report(), rare)["places"] == pytest.approx(1)


def test_a_box_of_the_other_side_does_not_stand_for_this_one():
    both = replace(
        FILM,
        regions=(("left pleural effusion", FLUID), ("right pleural effusion", (40, 260, 160, 380))),
    )
    text = (
        f"<think> A left effusion {list(FLUID)}; A right effusion [40, 260, 160, 380] </think>. "
        f"\\boxed{{{FILM.answer}}}"
    )
    swapped = text.replace("left", "?").replace("A right", "A left").replace("?", "right")
    assert worth(swapped, both)["places"] < worth(text, both)["places"] - 0.3


def test_each_box_of_a_step_with_two_findings_is_taken_for_the_one_that_it_fits():
    text = (
        f"<think> The heart is enlarged {list(HEART)}; There is a right upper mass and a moderate "
        f"left pleural effusion {list(FLUID)} {list(MASS)} </think>. \\boxed{{{FILM.answer}}}"
    )
    assert worth(text)["places"] == pytest.approx(1)


def test_steps_that_deny_what_the_answer_affirms_are_incoherent():
    text = report().replace("There is a mass in", "There is no mass in", 1)
    assert worth(text)["coherence"] <= 0.5 * worth(report())["coherence"]


def test_a_step_without_the_box_that_is_due_supports_nothing():
    text = report().replace(" [90, 90, 150, 150]", "")
    assert worth(text)["coherence"] < 0.8


def test_the_answer_names_the_side_that_the_steps_show():
    side = replace(QUESTION, question="On which side is the mass?", answer="Right")
    text = (
        "<think> There is a mass in the {} upper zone [90, 90, 150, 150] </think>. \\boxed{{Right}}"
    )
    assert worth(text.format("right"), side)["coherence"] == 1
    assert worth(text.format("left"), side)["coherence"] == 0


def test_a_normal_film_wants_to_be_called_normal():
    text = "<think> The lungs are clear [40, 40, 410, 380] </think>. \\boxed{{{}}}"
    assert worth(text.format("No acute abnormality."), NORMAL)["findings"] == 1
    assert worth(text.format("A chest film."), NORMAL)["findings"] == 0


@pytest.mark.parametrize(
    ("said", "steps"),
    [("A mass. A mass. A mass.", 0), ("A mass.", 3)],
)
def test_what_is_said_again_costs(said, steps):
    again = "; ".join(["There is a mass in the right upper zone."] * steps or ["A step"])
    assert worth(f"<think> {again} </think>. \\boxed{{{said}}}")["honesty"] <= 0.25


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("A mass! A mass! A mass!", 2),
        ("A mass? A mass", 1),
        ("A mass.A mass.A mass.", 2),
        ("A mass.  a  MASS.", 1),
        ("A mass\u2026 A mass\n\nA mass;", 2),
        ("A mass of 1.5 cm. A node of 2.5 cm.", 0),
        ("1.5 cm. 1.5 cm.", 1),
    ],
)
def test_a_sentence_is_the_same_whatever_signs_end_it(text, times):
    assert count_words(text).repeated == times


def filler(number):
    return [f"Next one turns to area number {n} of the picture" for n in range(number)]


def thought(steps, example=FILM):
    return worth(f"<think> {'; '.join(steps)} </think>. \\boxed{{{example.answer}}}", example)


SHOWN = [f"The heart is enlarged {list(HEART)}", f"A right mass {list(MASS)}"]
SHOWN.append(f"A left pleural effusion {list(FLUID)}")


def test_steps_that_name_nothing_are_tricks_beyond_two():
    honesty = [thought(SHOWN + filler(n))["honesty"] for n in range(6)]
    assert honesty == [1, 1, 1, 1 / 2, 1 / 4, 1 / 8]
    stepless = replace(FILM, steps=(), regions=(), labels=())
    assert thought(SHOWN + filler(15), stepless)["honesty"] < 0.001


def test_steps_that_name_nothing_new_are_half_a_trick_beyond_four():
    stepless = replace(FILM, steps=(), regions=(), labels=())
    again = [f"Part {n} of the lung is looked at" for n in range(8)]
    honesty = [thought(SHOWN + again[:n], stepless)["honesty"] for n in (1, 5, 7)]
    assert honesty == [1, 1, 1 / 2]


def test_as_many_steps_may_name_nothing_as_those_of_the_reference_or_its_sentences():
    steps = tuple(ReasoningTarget(text) for text in filler(4))
    assert thought(filler(6), replace(DEVICE, steps=steps))["honesty"] == 1
    said = replace(DEVICE, answer="Scoliosis. Clips. A stent. A valve.")
    assert thought(["Scoliosis", "Clips", "A stent", "A valve"], said)["honesty"] == 1


@pytest.mark.parametrize("steps", [[], ["Let us look"]])
def test_a_think_block_must_say_something_where_the_reference_does(steps):
    for example in (FILM, NORMAL, QUESTION):
        assert thought(steps, example)["format"] == 0
    assert thought(steps, replace(FILM, steps=()))["format"] == 1


def test_without_steps_in_the_reference_an_empty_think_block_costs_a_report_its_coherence():
    stepless = replace(FILM, steps=(), regions=(), labels=())
    assert thought([], stepless)["coherence"] == 0
    asked = replace(QUESTION, steps=(), regions=(), labels=())
    assert thought([], asked)["coherence"] == 1


DISGUISED = (
    *("Th\u0435", "m\u0430ss", "\u0455mall", "\u03bfn", "m\u0251ss", "\uff4dass", "m\U0001d41ass"),
    *("eff\u00adusion", "pneu\u200bmothorax", "mass\u2060", "\ufeffmass", "m\u0336ass", "q\u0301"),
    *("mas\u3164s", "m\u05b0ass"),
)


@pytest.mark.parametrize("word", DISGUISED)
def test_a_word_in_disguise_leaves_nothing_of_the_format(word):
    assert worth(report(answer=f"{FILM.answer} {word}"))["format"] == 0
    assert worth(report().replace("; ", f" {word}; ", 1))["format"] == 0


@pytest.mark.parametrize(
    "word",
    [
        *("Sj\u00f6gren", "Sjo\u0308gren", "\u03b2-blocker", "5\u00b5m", "\u03bcm", "T\u2082"),
        *("CT\u68c0\u67e5", "\u0441\u0435\u0440\u0434\u0446\u0435", "\u201cmass\u201d", "\ufb01ne"),
        *("Vi\u1ec7t", "\u2013", "\u2192", "10\u00a0cm"),
    ],
)
def test_letters_that_belong_there_are_no_disguise(word):
    assert not disguised(word, ())
    assert worth(report(answer=f"{FILM.answer} {word}"))["format"] == 1


def test_words_of_the_reference_with_accents_are_disguised_from_the_third_on():
    known = {"moderate", "left", "effusion"}
    assert not disguised("mod\u00e9rate l\u00e9ft effusion", known)
    assert disguised("mod\u00e9rate l\u00e9ft effus\u00edon", known)


def test_a_reference_in_disguise_may_be_repeated():
    odd = replace(FILM, answer=FILM.answer.replace("effusion", "effu\u00adsion"))
    assert worth(report(answer=odd.answer), odd)["format"] == 1


def test_every_reference_is_worth_all_to_itself():
    for example in (FILM, NORMAL, QUESTION, PAIR):
        text = completion_text(example, CONVENTIONS, GRID)
        assert worth(text, example)["overall"] > 0.98


NAMELESS = (
    "Scoliosis is noted.",
    "Degenerative changes of the spine.",
    "Median sternotomy wires are intact.",
    "The right PICC ends in the superior vena cava.",
    "The aorta is tortuous.",
    "Surgical clips project over the axilla.",
)
FOUND = (
    "There is a left pleural effusion.",
    "A nodule is seen on the right.",
    "Mild cardiomegaly.",
)
USUAL = (
    "Otherwise normal chest.",
    "The lungs are clear.",
    "No pneumothorax.",
    "There is no pleural effusion.",
)
SENTENCES = st.sampled_from(NAMELESS + FOUND + USUAL)


def read_aloud(sentences, answer, example):
    if example.mode is Mode.ANSWER:
        return worth(" ".join(answer), example)["overall"]
    steps = "; ".join(dict.fromkeys(sentence.rstrip(".") for sentence in sentences))
    return worth(f"<think> {steps} </think>. \\boxed{{{' '.join(answer)}}}", example)["overall"]


@pytest.mark.parametrize("mode", [Mode.ANSWER, Mode.THINK])
@pytest.mark.parametrize("labels", [(), ("cardiomegaly",)])
@given(data=st.data())
def test_no_finding_or_normal_more_or_less_is_worth_more_than_the_reference(mode, labels, data):
    sentences = data.draw(st.lists(SENTENCES, min_size=1, max_size=5))
    reference = " ".join(sentences)
    example = replace(NORMAL, mode=mode, answer=reference, labels=labels, steps=())
    echo = read_aloud(sentences, sentences, example)
    assert echo == pytest.approx(1)
    more = data.draw(st.sampled_from(FOUND + USUAL))
    place = data.draw(st.integers(0, len(sentences)))
    assert read_aloud(sentences, [*sentences[:place], more, *sentences[place:]], example) < echo
    taken = data.draw(st.integers(0, len(sentences) - 1))
    assert read_aloud(sentences, sentences[:taken] + sentences[taken + 1 :], example) <= echo


def test_nothing_is_called_normal_for_pay_where_the_reference_does_not():
    silent = replace(NORMAL, mode=Mode.ANSWER, steps=(), answer=NAMELESS[0])
    assert "findings" not in worth(NAMELESS[0], silent)
    assert worth("Normal chest.", silent)["overall"] < 0.1
    assert worth(f"{NAMELESS[0]} There is a mass.", silent)["overall"] < 0.25


def test_a_box_around_what_is_denied_is_a_box_around_nothing():
    text = report().replace(" </think>", "; No pneumothorax [10, 10, 200, 400] </think>")
    assert worth(text)["honesty"] == 0.5


def test_each_box_around_a_structure_of_unknown_place_costs_and_many_cost_all():
    boxes = [f"[{n}, 9, {n + 80}, 400]" for n in range(0, 300, 60)]
    paid = [
        worth(report().replace(" </think>", f"; The trachea {' '.join(boxes[:n])} </think>"))
        for n in range(5)
    ]
    honesty = [scored["honesty"] for scored in paid]
    assert honesty == sorted(set(honesty), reverse=True)
    assert honesty == pytest.approx([1, 0.84, 0.71, 0.125, 0.0625], abs=0.005)


def test_a_structure_is_not_boxed_where_it_is_for_ever():
    steps = [f"The heart is normal, view {n} [150, 180, 300, 330]" for n in range(6)]
    paid = [
        worth(f"<think> {'; '.join(steps[:n])} </think>. \\boxed{{{NORMAL.answer}}}", NORMAL)
        for n in (2, 6)
    ]
    assert paid[0]["honesty"] == 1
    assert paid[1]["honesty"] <= 0.25


def test_what_the_reference_says_twice_or_against_itself_is_no_trick():
    odd = replace(
        FILM,
        mode=Mode.ANSWER,
        steps=(),
        answer="A mass. No mass is seen. A mass. Old clips. Old clips.",
    )
    assert worth(odd.answer, odd)["overall"] == pytest.approx(1)
    assert worth(odd.answer + " Old clips.", odd)["honesty"] == 0.25


@pytest.mark.parametrize("seed", range(20))
def test_the_words_of_a_sentence_count_in_their_order(seed):
    words = FILM.answer.replace(".", "").split()
    Random(seed).shuffle(words)
    answered = replace(FILM, mode=Mode.ANSWER, steps=())
    said = " ".join(words) + "."
    assert worth(said, answered)["words"] < 0.9
    assert worth(said, answered)["overall"] < worth(FILM.answer, answered)["overall"] - 0.3


def test_a_reference_file_may_end_with_a_new_line(tmp_path):
    (tmp_path / "said").write_text("<think> a </think>\\boxed{yes}\n")
    (tmp_path / "reference").write_text("yes\n")
    arguments = ["score", str(tmp_path / "said"), str(tmp_path / "reference")]
    assert re.search(r"accuracy +1\.5", CliRunner().invoke(rewards, arguments).output)


NUMBER = st.integers(0, 447)


@given(NUMBER, NUMBER, st.integers(1, 200), st.integers(1, 200), st.integers(-30, 30))
def test_a_box_nearer_to_the_true_one_never_earns_less(x, y, width, height, shift):
    box = (x, y, min(448, x + width), min(448, y + height))
    nearer = tuple(round((a + b) / 2) for a, b in zip(box, MASS, strict=True))
    far, near = (worth(report(mass=given_box))["places"] for given_box in (box, nearer))
    if iou(box, MASS) < iou(nearer, MASS):
        assert near >= far


@given(st.permutations(range(3)), st.permutations(FILM.answer.split(". ")))
def test_no_order_of_steps_or_sentences_changes_a_report(order, sentences):
    answer = ". ".join(sentence.rstrip(".") for sentence in sentences) + "."
    assert worth(report(order=order, answer=answer))["overall"] == pytest.approx(1)


def test_answer_mode_is_judged_without_steps_or_boxes():
    answered = replace(FILM, mode=Mode.ANSWER, steps=())
    scored = worth(FILM.answer, answered)
    assert scored["overall"] == pytest.approx(1)
    assert "places" not in scored
    assert worth(report(), answered)["overall"] == 0


def test_findings_whose_place_nobody_knows_are_not_held_against_the_boxes():
    unboxed = replace(FILM, regions=(), labels=(), steps=())
    scored = worth(report(), unboxed)
    assert scored["findings"] == 1
    assert "places" not in scored


def test_weights_set_what_counts():
    off = report(mass=(110, 90, 170, 150))
    assert worth(off, places=0.0)["overall"] == pytest.approx(1)
    with pytest.raises(ValueError, match="weights"):
        worth(off, places=-1.0)


PAIR = replace(
    QUESTION,
    images=("film.png", "prior.png"),
    sizes=((448, 448), (448, 300)),
    question="Compared with image 2, is the mass larger?",
    regions_by_image=((("Right Mass", MASS),), (("mass", (90, 60, 140, 100)),)),
    steps=(
        ReasoningTarget("Image 1 shows the right mass", ((0, MASS),)),
        ReasoningTarget("Image 2 shows the right mass", ((1, (90, 60, 140, 100)),)),
    ),
)
EXAMPLES = st.sampled_from([FILM, NORMAL, QUESTION, PAIR, replace(FILM, regions=(), steps=())])


@given(st.text(), EXAMPLES)
def test_any_text_is_scored_between_nothing_and_one(text, example):
    assert all(0 <= value <= 1 for value in worth(text, example).values())


MARKS = ("<think> ", " </think>", "; ", "\\boxed{", "}", " The answer is: ")
BOXES = ("[1, 2, 30, 40]", "[9, 9, 3, 3]", "[0, nan]")
SAID = (
    "There is a mass",
    "No mass.",
    "left effusion ",
    "The heart is enlarged ",
    "Image 2 ",
    "Yes",
)
PIECE = st.sampled_from(MARKS + BOXES + SAID)


@given(st.lists(PIECE, max_size=14).map("".join), EXAMPLES)
@settings(max_examples=200)
def test_any_shuffle_of_the_grammar_is_scored_between_nothing_and_one(text, example):
    assert all(0 <= value <= 1 for value in worth(text, example).values())


def twice_paid(rollouts, bonus=1.0):
    """A reward of one's own."""
    return [{"overall": bonus} for _ in rollouts]


def test_a_function_of_ones_own_is_named_by_its_module():
    reward = load_reward(f"{__name__}:twice_paid", bonus=2.0)
    assert reward([Rollout("", FILM, CONVENTIONS, GRID)]) == [{"overall": 2.0}]
    assert load_reward("grounded") is grounded


@pytest.mark.parametrize(
    ("name", "weights", "told"),
    [
        ("papers", {}, "no reward"),
        ("nowhere:reward", {}, "missing"),
        ("math:nothing", {}, "no function"),
        ("math:pi", {}, "not a function"),
        ("grounded", {"niceness": 1.0}, "niceness"),
    ],
)
def test_a_reward_that_is_not_there_is_named(name, weights, told):
    with pytest.raises(ValueError, match=told):
        load_reward(name, **weights)


@pytest.mark.parametrize(
    ("steps", "honesty"),
    [
        ("There is an old left rib fracture; No acute fracture is seen", 1.0),
        ("There is an old left rib fracture; There is no fracture", 0.5),
    ],
)
def test_what_is_denied_of_a_kind_contradicts_no_other_step(steps, honesty):
    report = "Old left rib fracture. No acute fracture."
    example = replace(FILM, answer=report, regions=(), labels=(), steps=())
    text = f"<think> {steps} </think>. The answer is: \\boxed{{{report}}}."
    (parts,) = grounded([Rollout(text, example, CONVENTIONS, GRID)])
    assert parts["honesty"] == honesty
