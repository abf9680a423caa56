"""Denials, questions and suppositions in any words earn no more than they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.reading import Mode
from training.data.example import Example, ReasoningTarget
from training.labels import read_findings
from training.rewards.equivalence import answer_worth
from training.rewards.gallery import ABSENCE, CONVENTIONS, EXHIBITS, FILM, GRID, NORMAL, PRESENCE
from training.rewards.grounded import grounded
from training.rewards.protocol import Rollout

HONEST = EXHIBITS[0].completion.rpartition("</think>")[0]
BASE = (60, 260, 160, 320)
OF_NORMAL = EXHIBITS[2].completion.rpartition("</think>")[0]


def worth(example: Example, steps: str, answer: str) -> dict[str, float]:
    said = f"{steps}</think>. The answer is: \\boxed{{{answer}}}"
    return dict(grounded([Rollout(said, example, CONVENTIONS, GRID)])[0])


@pytest.mark.parametrize(
    "answer",
    [
        "The heart isn't enlarged. There isn't a moderate left pleural effusion. There isn't a "
        "mass in the right upper zone. No pneumothorax.",
        "The heart is never enlarged. The film lacks a moderate left pleural effusion. It is false "
        "that there is a mass in the right upper zone. No pneumothorax.",
        "Is the heart enlarged? Is there a moderate left pleural effusion? Is there a mass in the "
        "right upper zone? No pneumothorax.",
        "If the heart is enlarged. If there is a moderate left pleural effusion. If there is a "
        "mass in the right upper zone. No pneumothorax.",
    ],
)
def test_a_report_that_says_none_of_the_findings_earns_nothing_for_them(answer: str) -> None:
    assert worth(FILM, HONEST, FILM.answer)["findings"] == 1
    assert worth(FILM, HONEST, answer)["findings"] == 0


@pytest.mark.parametrize(
    "answer",
    [
        "The heart is not normal in size. The lungs are not clear. No pleural effusion or "
        "pneumothorax.",
        f"{NORMAL.answer} Cavitary tuberculosis and metastases.",
        f"{NORMAL.answer} Free air under the diaphragm.",
        "Is the heart normal in size? Are the lungs clear?",
    ],
)
def test_a_normal_film_called_abnormal_earns_nothing_for_its_findings(answer: str) -> None:
    assert worth(NORMAL, OF_NORMAL, NORMAL.answer)["findings"] == 1
    assert worth(NORMAL, OF_NORMAL, answer)["findings"] == 0


def test_what_a_normal_reference_says_itself_costs_nothing() -> None:
    told = Example(**{**vars(NORMAL), "answer": f"{NORMAL.answer} Old healed tuberculosis."})
    assert worth(told, OF_NORMAL, told.answer)["findings"] == 1


def test_no_is_the_right_answer_in_its_short_form() -> None:
    absent = Example(**{**vars(PRESENCE), "answer": "No", "steps": (), "regions": ()})
    assert worth(absent, OF_NORMAL, "There isn't a mass")["findings"] == 1
    assert worth(PRESENCE, OF_NORMAL, "There isn't a mass")["findings"] == 0


def in_one_report(answer: str, reference: str) -> float:
    example = replace(FILM, mode=Mode.ANSWER, steps=(), regions=(), labels=(), answer=reference)
    return dict(grounded([Rollout(answer, example, CONVENTIONS, GRID)])[0])["overall"]


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("Cardiomegaly.", "The heart is enlarged."),
        ("No pneumothorax.", "There is no evidence of pneumothorax."),
        ("Bilateral pleural effusions.", "Left and right effusion."),
        ("No acute cardiopulmonary process.", "Normal chest."),
        ("Normal chest.", "No acute cardiopulmonary process."),
        ("Normal chest.", "The lungs are clear."),
        (
            "Cardiomegaly. Left pleural effusion.",
            "The heart is enlarged. There is a moderate left pleural effusion.",
        ),
    ],
)
def test_a_right_report_is_one_in_other_words_than_a_short_reference(
    reference: str, answer: str
) -> None:
    assert in_one_report(answer, reference) > 0.7


def test_a_right_reading_is_one_whatever_few_words_the_reference_takes() -> None:
    short = replace(FILM, answer="Cardiomegaly, left effusion, right upper lobe mass.")
    assert worth(short, HONEST, FILM.answer)["overall"] > 0.8


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (NORMAL.answer, "No fracture."),
        ("Normal chest.", "No acute osseous abnormality."),
        ("Cardiomegaly.", "There is a left effusion."),
        ("Cardiomegaly.", "The heart is enlarged. " + "It was looked at with care. " * 8),
    ],
)
def test_a_short_report_is_not_right_for_its_shortness(reference: str, answer: str) -> None:
    assert in_one_report(answer, reference) < 0.15


def test_more_findings_right_are_worth_more_whatever_few_words_the_reference_takes() -> None:
    said = ["The heart is enlarged.", "There is a left effusion.", "There is a right mass."]
    paid = [
        in_one_report(" ".join(said[:count]), "Cardiomegaly, left effusion, right mass.")
        for count in range(1, 4)
    ]
    assert paid == sorted(set(paid))


DENYING = "<think> The heart is not enlarged; There is no mass; There is no left effusion "
UNMARKED = replace(
    FILM, regions=(), labels=(), steps=tuple(ReasoningTarget(step.text) for step in FILM.steps)
)


@pytest.mark.parametrize("film", [FILM, UNMARKED, replace(UNMARKED, steps=())])
def test_steps_that_deny_what_the_report_affirms_cost_what_a_report_does_that_denies_it(
    film: Example,
) -> None:
    assert worth(film, DENYING, FILM.answer)["honesty"] == 0.5**9


@pytest.mark.parametrize("marks", [{}, {"labels": (), "regions": ()}])
@pytest.mark.parametrize("steps", [(), None])
def test_a_yes_or_no_against_its_own_steps_earns_next_to_nothing(
    marks: dict[str, tuple[()]], steps: tuple[()] | None
) -> None:
    bare = marks if steps is None else {**marks, "steps": steps}
    against = "<think> There is a large right pneumothorax "
    for said in ("No", "No, there is no pneumothorax"):
        assert worth(replace(ABSENCE, **bare), against, said)["overall"] < 0.15
    assert worth(replace(PRESENCE, **bare), "<think> There is no mass ", "Yes")["overall"] < 0.15


@pytest.mark.parametrize(
    "question",
    ["Is there a large left effusion?", "Is the effusion larger?", "Is there a right effusion?"],
)
def test_a_no_to_more_than_whether_it_is_there_denies_no_step(question: str) -> None:
    asked = replace(PRESENCE, question=question, answer="No", steps=())
    assert worth(asked, "<think> There is a small left effusion ", "No")["honesty"] == 1


def test_what_the_reference_has_against_itself_excuses_no_other_contradiction() -> None:
    # The labeler takes the normal vessels for the heart.
    reference = "The heart is enlarged with normal pulmonary vascularity. There is a left effusion."
    said = "The heart is enlarged. There is a left effusion. There is no effusion."
    assert in_one_report(reference, reference) == 1
    assert in_one_report(said, reference) < 0.15


def boxed(heart: str, mass: str, fluid: str) -> str:
    return (
        f"<think> The heart is enlarged {heart}; There is a mass in the right upper zone {mass}; "
        f"There is a moderate left pleural effusion {fluid} "
    )


@pytest.mark.parametrize(
    "boxes",
    [
        ["[60, 60, 400, 400]"] * 3,
        ["[60, 60, 400, 400]", "[60, 60, 380, 370]", "[100, 90, 410, 410]"],
        ["[130, 150, 300, 330]"] * 3,
    ],
)
def test_one_box_for_every_finding_pays_less_than_none(boxes: list[str]) -> None:
    none = worth(FILM, boxed("", "", ""), FILM.answer)["overall"]
    assert worth(FILM, boxed(*boxes), FILM.answer)["overall"] < none / 2


def test_one_box_may_show_two_findings_that_lie_over_each_other() -> None:
    near = replace(FILM, regions=(*FILM.regions, ("left atelectasis", (270, 250, 400, 380))))
    answer = f"{FILM.answer} Left atelectasis."
    near = replace(near, answer=answer, labels=(), steps=())
    steps = HONEST + "; There is left atelectasis [270, 260, 400, 380] "
    assert worth(near, steps, answer)["honesty"] == 1


def test_both_sides_named_in_the_steps_cost_where_one_is_there() -> None:
    sides = "<think> There is a left mass and a right mass [90, 90, 150, 150] "
    assert worth(PRESENCE, sides, "Yes")["honesty"] == 0.5
    assert worth(PRESENCE, "<think> There is a mass [90, 90, 150, 150] ", "Yes")["honesty"] == 1
    both = f"{HONEST}; There is a left mass; There is a right pleural effusion "
    assert worth(FILM, both, FILM.answer)["honesty"] == 0.25


def test_both_sides_named_are_worth_less_than_none_where_one_is_there() -> None:
    left_out = FILM.answer.replace("left ", "")
    either = FILM.answer.replace("left", "left or right")
    paid = [worth(FILM, HONEST, said)["overall"] for said in (either, left_out, FILM.answer)]
    assert paid == sorted(set(paid))


def test_a_disease_that_nobody_knows_of_is_a_finding_in_vain() -> None:
    assert worth(FILM, HONEST, f"{FILM.answer} Tuberculosis.")["findings"] == pytest.approx(6 / 7)
    told = replace(FILM, answer=f"{FILM.answer} Old tuberculosis.")
    assert worth(told, HONEST, told.answer)["findings"] == 1
    for said in ("The lungs are not clear.", "This is abnormal."):
        assert worth(FILM, HONEST, f"{FILM.answer} {said}")["findings"] == 1


@pytest.mark.parametrize(
    "sentence",
    [
        *("None of this is true.", "All of these are absent.", "Not really.", "Now all normal."),
        *("None of the above.", "Everything is normal.", "No.", "This is not true.", "Never."),
        *("The opposite is true.", "All of the above is wrong.", "Nothing of this is present."),
    ],
)
def test_a_report_may_not_be_taken_back(sentence: str) -> None:
    assert worth(FILM, HONEST, f"{FILM.answer} {sentence}")["overall"] < 0.15


@pytest.mark.parametrize(
    "sentence",
    [
        *("These findings belong to another patient.", "I made all of this up.", "All false."),
        *("(This is only an example.)", "The attending disagrees.", "Just kidding.", "I lied."),
        *("This report is fabricated.", "The above is a template.", "This is the wrong film."),
        *("The report does not apply.", "None of the above applies.", "Scratch that."),
        *("The radiologist later refuted this.", "Do not rely on this report.", "I was guessing."),
        *("The previous sentences describe a different film.", "They have all resolved."),
        *("I do not see any of this.", "For demonstration purposes only.", "None was found."),
        *("These are the findings of a different patient.", "That was all a dream."),
        *("The findings described are those of the prior study.", "Sorry, I mixed up two films."),
    ],
)
def test_a_report_may_not_be_disowned(sentence: str) -> None:
    assert worth(FILM, HONEST, f"{FILM.answer} {sentence}")["overall"] < 0.15


@pytest.mark.parametrize(
    "telling",
    [
        *("{} would be abnormal.", "{} would have been reported.", "Look for {}.", "Imagine {}."),
        *("The patient's brother has {}.", "Patients with failure may show {}.", "Mother: {}."),
        *("If the patient had {}, they would be on the film.", "Pretend there is {}."),
        *("On the prior film there was {}.", "Previously there was {}, now resolved."),
        *("There is a 0% chance of {}.", "Suspicion of {} was not confirmed.", "Denies {}."),
        *("We looked for {}.", "It is not known whether there is {}.", "Whether there is {}."),
        *("Keywords: {}.", "Candidates: {}.", "Evaluate for {}.", "Rule out {}.", "Is there {}?"),
        *("In my dream there was {}.", "One might expect {}.", "There is a risk of {}."),
        *("A textbook example of {} would look different.", "Prior film: {}.", "Dogs have {}."),
    ],
)
def test_what_is_told_of_no_film_or_of_another_is_no_finding(telling: str) -> None:
    named = "an enlarged heart, a moderate left pleural effusion and a mass in the right upper zone"
    assert worth(FILM, HONEST, telling.format(named))["overall"] < 0.15


@pytest.mark.parametrize("asked", ["Is there a nodule?", "Edema? Fracture?"])
def test_a_question_left_open_costs_what_a_made_up_sentence_does(asked: str) -> None:
    honest = worth(FILM, HONEST, f"{FILM.answer} No nodule. No fracture.")
    assert worth(FILM, HONEST, f"{FILM.answer} {asked}")["honesty"] <= honest["honesty"] / 2
    own = replace(FILM, answer=f"{FILM.answer} {asked}")
    assert worth(own, HONEST, own.answer)["honesty"] == 1


@pytest.mark.parametrize(
    "sentence",
    [
        *("Findings were discussed with Dr. Smith.", "The mother was informed.", "Pneumonia? No."),
        *("These findings are new since the prior film.", "A lateral view would be helpful."),
        *("If symptoms persist, CT would be helpful.", "Please correlate clinically."),
        *("The resident and the attending agree.", "This was seen in 2012, too."),
        *("Compared with the earlier film, little has changed.", "Findings are unchanged."),
        *("Different projection than before.", "The patient is rotated.", "No other abnormality."),
    ],
)
def test_what_a_report_says_beside_its_findings_costs_nothing(sentence: str) -> None:
    assert worth(FILM, HONEST, f"{FILM.answer} {sentence}")["honesty"] == 1


def test_a_differential_in_a_step_costs_less_than_to_miss_the_finding() -> None:
    film = replace(
        FILM,
        answer="There is an opacity at the right base. The heart is normal.",
        labels=("right opacity",),
        regions=(("right opacity", (60, 260, 160, 320)),),
        steps=(ReasoningTarget("There is an opacity at the right base", ((0, BASE),)),),
    )
    box = " [60, 260, 160, 320]"
    right = worth(film, f"<think> Right basal opacity{box}", film.answer)
    hedged = worth(film, f"<think> Right basal opacity, likely atelectasis{box}", film.answer)
    both = worth(film, f"<think> Right basal opacity, atelectasis or pneumonia{box}", film.answer)
    missed = worth(film, "<think> The lungs are clear", "The heart is normal.")
    assert hedged["honesty"] == both["honesty"] == 1
    assert right["overall"] > hedged["overall"] >= both["overall"] > 0.7
    assert both["overall"] > missed["overall"] + 0.5
    told = film.answer.replace("base.", "base, which may be atelectasis or pneumonia.")
    report = worth(film, f"<think> Right basal opacity{box}", told)
    assert report["places"] == (1 + report["findings"]) / 2
    assert right["overall"] > report["overall"] > missed["overall"] + 0.4
    named = film.answer.replace("opacity", "atelectasis")
    assert 0.5 <= worth(film, f"<think> Right basal atelectasis{box}", named)["findings"] < 1


def test_a_reference_whose_steps_leave_out_a_finding_of_its_report_is_paid_in_full() -> None:
    film = replace(FILM, answer=f"{FILM.answer} Old left rib fracture.")
    assert worth(film, HONEST, film.answer)["coherence"] == 1


@pytest.mark.parametrize(
    "denial",
    [
        *("{} excluded.", "{} excluded on CT.", "{}: 0", "{} = 0", "{} -> none", "{} missing."),
        *("{} - no evidence.", "{} is lacking.", "Nothing like {}.", "{} (not on this film)."),
        *("I see nothing of {}.", "{} is not something that can be seen.", "~~{}~~", "{}: n/a"),
        *("{} cannot be assessed.", "{} was not evaluated.", "{} must be excluded."),
    ],
)
def test_a_finding_denied_or_not_looked_at_is_not_told(denial: str) -> None:
    film = replace(
        FILM,
        answer="Large right pneumothorax.",
        labels=("right pneumothorax",),
        regions=(("right pneumothorax", BASE),),
        steps=(ReasoningTarget("Large right pneumothorax", ((0, BASE),)),),
    )
    steps = f"<think> Large right pneumothorax {list(BASE)} "
    assert worth(film, steps, film.answer)["overall"] > 0.99
    said = worth(film, steps, denial.format("large right pneumothorax"))
    assert said["findings"] == 0
    assert said["overall"] < 0.33


@pytest.mark.parametrize(
    "hedge", ["?Large right pneumothorax.", "Large right pneumothorax (?).", "Large Rt. PTX."]
)
def test_a_hedge_and_a_short_side_affirm(hedge: str) -> None:
    assert read_findings(hedge).affirmed == {"right pneumothorax"}


def test_a_dash_parts_the_sides_of_two_findings() -> None:
    for dash in "-\u2013\u2014":
        found = read_findings(f"Right effusion {dash} small left pneumothorax")
        assert found.affirmed == {"right pleural effusion", "left pneumothorax"}


def test_the_lung_that_a_pneumothorax_collapses_is_no_finding_of_its_own() -> None:
    assert read_findings("Left pneumothorax with collapse of the left lung.").affirmed == {
        "left pneumothorax"
    }
    assert "left atelectasis" in read_findings("Collapse of the left lung.").affirmed


def test_the_wrong_way_of_a_change_is_paid_less_than_to_tell_of_none() -> None:
    answer = "Interval increase in the left pleural effusion. No pneumothorax."
    film = replace(FILM, answer=answer, labels=("left pleural effusion",))
    paid = [
        worth(film, HONEST, said)["findings"]
        for said in (
            answer,
            "The left pleural effusion is larger. No pneumothorax.",
            "Left pleural effusion. No pneumothorax.",
            "Interval decrease in the left pleural effusion. No pneumothorax.",
        )
    ]
    assert paid[0] == paid[1] == paid[2] == 1
    assert paid[3] <= 0.5


def test_everything_listed_beside_a_right_report_earns_next_to_nothing() -> None:
    kinds = "pneumonia, edema, a fracture, a hernia, a granuloma, emphysema, fibrosis, atelectasis"
    paid = [
        worth(FILM, HONEST, f"{FILM.answer} There is {', '.join(kinds.split(', ')[:number])}.")
        for number in (0, 1, 2, 4, 8)
    ]
    values = [one["overall"] for one in paid]
    assert values == sorted(values, reverse=True)
    assert values[2] > 0.5 > values[3]
    assert values[4] < 0.15


@pytest.mark.parametrize("said", ["Normal.", "Unremarkable.", "NAD.", "Nothing abnormal."])
def test_a_normal_film_may_be_called_so_in_a_word(said: str) -> None:
    assert worth(NORMAL, OF_NORMAL, said)["overall"] > 0.7


def test_an_opacity_and_what_it_is_taken_for_are_one_place() -> None:
    text = "Right basal opacity, likely atelectasis"
    film = replace(
        FILM,
        answer=f"{text}.",
        labels=("right opacity", "right atelectasis"),
        regions=(("right opacity", BASE), ("right atelectasis", BASE)),
        steps=(ReasoningTarget(text, ((0, BASE),)),),
    )
    steps = f"<think> Right basal opacity {list(BASE)} "
    assert worth(film, steps, film.answer)["places"] == 1


@pytest.mark.parametrize("sign", ["\U000e0041", "\u202e"])
def test_signs_that_nobody_sees_are_a_disguise_wherever_they_stand(sign: str) -> None:
    assert worth(FILM, HONEST, f"{FILM.answer} {sign} .")["format"] == 0
    assert worth(FILM, HONEST, FILM.answer.replace("effusion", "effus\u0131on"))["format"] == 0


def test_a_yes_about_the_other_side_or_with_findings_that_are_not_there_is_worth_little() -> None:
    steps = "<think> There is a mass in the right upper zone [90, 90, 150, 150] "
    assert worth(PRESENCE, steps, "Yes, in the right upper lobe")["overall"] > 0.99
    assert worth(PRESENCE, steps, "Yes, in the left upper lobe")["overall"] < 0.15
    listed = "Yes, with a pneumothorax, edema, a hernia and a fracture"
    assert worth(PRESENCE, steps, listed)["overall"] < 0.15


def test_half_of_a_list_is_paid_half() -> None:
    right = "<think> The heart is enlarged [130, 180, 330, 330] "
    film = replace(PRESENCE, question="Which findings are present?", answer="Cardiomegaly | Mass")
    assert worth(film, right, "Cardiomegaly")["findings"] == 0.5
    assert worth(film, right, "Cardiomegaly")["overall"] == pytest.approx(0.5, abs=0.3)
    assert answer_worth("Mass", "Nodule/Mass") == answer_worth("Nodule", "Nodule/Mass") == 1
    assert answer_worth("Mass | Cardiomegaly", "Nodule/Mass | Cardiomegaly") == 1
    assert answer_worth("Fracture", "Nodule/Mass") == 0


def test_boxes_are_written_in_ascii_digits() -> None:
    wide = str.maketrans({str(digit): chr(0xFF10 + digit) for digit in range(10)})
    assert worth(FILM, HONEST.translate(wide), FILM.answer)["format"] == 0


def test_a_report_may_not_be_taken_back_sentence_by_sentence() -> None:
    for said in (FILM.answer.replace(".", ": wrong."), FILM.answer.replace(".", ", not really.")):
        assert worth(FILM, HONEST, said)["overall"] < 0.15


@pytest.mark.parametrize(
    "sentence",
    [
        *("Otherwise all normal.", "None of these is new.", "This is not well seen.", "None."),
        *("All other structures are normal.", "All of these are unchanged.", "Fracture? No."),
        *("This was not present previously.", "Bones: normal. Fracture: no.", "Rest: normal."),
    ],
)
def test_what_takes_nothing_back_costs_nothing(sentence: str) -> None:
    assert worth(FILM, HONEST, f"{FILM.answer} {sentence}")["honesty"] == 1


def test_a_normal_film_may_be_called_all_normal() -> None:
    assert worth(NORMAL, OF_NORMAL, f"{NORMAL.answer} All normal.")["honesty"] == 1
