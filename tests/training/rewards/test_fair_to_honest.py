"""An honest reading is paid at least what a poorer one is, whatever the finding or its words."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from service.reading import Mode, Task
from training.data.example import Example, ReasoningTarget
from training.evaluation.grounding import kinds_of_region
from training.rewards.agreement import label_f1
from training.rewards.gallery import CONVENTIONS, FILM, GRID
from training.rewards.grounded import grounded
from training.rewards.protocol import Rollout
from training.unlisted import affirms, listed_kinds

SPOT, AREA, ELSEWHERE = (100, 90, 180, 170), (250, 240, 360, 380), (300, 40, 380, 120)


def paid(example: Example, answer: str, *steps: str) -> dict[str, float]:
    said = f"<think> {'; '.join(steps)} </think>. The answer is: \\boxed{{{answer}}}"
    if example.mode is Mode.ANSWER:
        said = answer
    return dict(grounded([Rollout(said, example, CONVENTIONS, GRID)])[0])


def overall(example: Example, answer: str, *steps: str) -> float:
    return paid(example, answer, *steps)["overall"]


def film_of(answer: str, **marks: tuple[int, int, int, int]) -> Example:
    """A film whose regions, and steps, are marked in the words of a data set."""
    regions = tuple((label.replace("_", " "), box) for label, box in marks.items())
    steps = tuple(ReasoningTarget(label, ((0, box),)) for label, box in regions)
    labels = tuple(label for label, _ in regions)
    return replace(FILM, answer=answer, regions=regions, labels=labels, steps=steps)


def asked(**marks: tuple[int, int, int, int]) -> Example:
    """A question of VinDr-CXR's on such a film."""
    example = film_of(" | ".join(label.replace("_", " ") for label in marks), **marks)
    return replace(example, task=Task.VQA, question="Which abnormalities does the film show?")


UNLISTED = ("Infiltration", "Calcification", "Enlarged PA", "Lung cavity", "Lung cyst", "ILD")


@pytest.mark.parametrize("label", [*UNLISTED, "Lung Opacity", "Support_Devices"])
def test_an_exact_box_earns_more_than_none_whatever_the_finding_is_called(label: str) -> None:
    example = asked(**{label.replace(" ", "_"): SPOT})
    name = example.answer
    assert not (label in UNLISTED and listed_kinds(label))
    exact = paid(example, name, f"{name} {list(SPOT)}")
    assert exact["overall"] > 0.95
    assert exact["places"] > 0.95
    none = overall(example, name, name)
    assert overall(example, name, f"{name} {list(ELSEWHERE)}") < none < exact["overall"] - 0.2


def test_a_near_miss_of_a_finding_without_a_kind_earns_more_the_nearer_it_is() -> None:
    example = asked(Calcification=SPOT)
    boxes = [[100 + off, 90, 180 + off, 170] for off in (0, 12, 24, 36)]
    worth = [overall(example, "Calcification", f"There is calcification {box}") for box in boxes]
    assert worth == sorted(set(worth), reverse=True)


def test_a_denied_finding_without_a_kind_is_not_pointed_at() -> None:
    example = asked(Calcification=SPOT)
    assert paid(example, "Calcification", f"No calcification {list(SPOT)}")["honesty"] < 1


def test_a_box_that_fits_a_region_is_not_around_nothing_in_whatever_words() -> None:
    example = asked(Enlarged_PA=SPOT)
    said = paid(example, "Enlarged PA", f"The main vessel is wide {list(SPOT)}")
    assert said["honesty"] == 1
    assert said["places"] == pytest.approx(0.5)
    again = ["The main vessel is wide", "It is very wide"]
    twice = paid(example, "Enlarged PA", *[f"{step} {list(SPOT)}" for step in again])
    assert twice["honesty"] < 1
    clips = replace(FILM, steps=(*FILM.steps, ReasoningTarget("Surgical clips", ((0, ELSEWHERE),))))
    shown = [f"{step.text} {list(step.boxes[0][1])}" for step in clips.steps]
    assert paid(clips, clips.answer, *shown)["honesty"] == 1


def test_a_region_of_alternatives_is_shown_by_any_of_them() -> None:
    example = asked(**{"Nodule/Mass": SPOT, "Lung_Opacity": AREA})
    for name in ("Nodule/Mass", "There is a nodule", "There is a mass"):
        steps = (f"{name} {list(SPOT)}", f"Lung opacity {list(AREA)}")
        assert paid(example, example.answer, *steps)["places"] > 0.95


def test_one_box_stands_for_two_findings_that_lie_over_each_other() -> None:
    fluid = (("left pleural effusion", AREA), ("left atelectasis", AREA))
    text = "There is a left pleural effusion with atelectasis"
    example = replace(
        *(FILM,),
        answer=f"{text}.",
        regions=fluid,
        labels=("left pleural effusion", "left atelectasis"),
        steps=(ReasoningTarget(text, ((0, AREA),)),),
    )
    assert paid(example, f"{text}.", f"{text} {list(AREA)}")["places"] > 0.95
    fluid_alone = f"There is a left pleural effusion {list(AREA)}"
    assert paid(example, f"{text}.", fluid_alone)["places"] < 0.6
    apart = replace(example, regions=(fluid[0], ("left atelectasis", SPOT)))
    assert paid(apart, f"{text}.", f"{text} {list(AREA)}")["places"] < 0.6


@pytest.mark.parametrize(
    ("text", "name", "there"),
    [
        ("The aorta is tortuous.", "tortuous aorta", True),
        ("Blunting of the left costophrenic angle.", "costophrenic angle blunting", True),
        ("The lungs are hyperinflated", "hyperinflated lung", True),
        ("No tortuous aorta.", "tortuous aorta", False),
        ("PA view. The heart is enlarged, PA projection.", "enlarged pa", False),
        ("The aorta is normal. A tortuous trachea.", "tortuous aorta", False),
        ("The heart on PA is enlarged.", "enlarged pa", False),
        ("The PA is enlarged.", "enlarged pa", True),
        ("Fluid in the pleural cavity.", "lung cavity", False),
        ("A tube within the thoracic cavity. The chest cavity is full.", "lung cavity", False),
        ("A thick-walled cavity in the left upper lobe.", "lung cavity", True),
    ],
)
def test_a_name_is_found_in_the_order_of_a_sentence(text: str, name: str, there: bool) -> None:
    assert affirms(text, name) is there


def test_a_label_without_a_kind_is_a_kind_without_its_side() -> None:
    assert kinds_of_region("Left  Calcification") == {"calcification"}
    assert kinds_of_region("Pleural_Other") == {"pleural other"}


AIR = replace(
    film_of(
        "Large left pneumothorax. The right lung is clear. No pleural effusion. The heart size is "
        "normal.",
        left_pneumothorax=AREA,
    ),
    steps=(ReasoningTarget("There is a large left pneumothorax", ((0, AREA),)),),
)
SHOWN = f"There is a large left pneumothorax {list(AREA)}"
PARAPHRASES = (
    "There is a large pneumothorax on the left. Right lung clear. No effusion. Normal heart size.",
    "Normal heart size. Clear right lung. No effusion. Large pneumothorax, left.",
    "Pneumothorax, left, large. Lung right clear. Heart normal size.",
)


@pytest.mark.parametrize("said", PARAPHRASES)
def test_a_complete_paraphrase_is_paid_more_than_an_incomplete_or_a_wrong_one(said: str) -> None:
    honest = overall(AIR, said, SHOWN)
    assert honest > overall(AIR, "Left pneumothorax. Normal heart.", SHOWN)
    false = "Large left pneumothorax. There is a right mass. No pleural effusion. Normal heart."
    assert honest > overall(AIR, false, SHOWN)


@pytest.mark.parametrize(
    "salad",
    [
        "pneumothorax. right lung large the is clear heart size no",
        "large pneumothorax left is the. is lung right clear the. effusion no. size the heart is.",
        "left clear pneumothorax heart. large right no size. pleural is normal. effusion lung the.",
    ],
)
def test_words_in_no_order_are_a_salad_and_logged_as_one(salad: str) -> None:
    said = paid(AIR, salad, SHOWN)
    assert said["overall"] < 0.15
    assert said["readable"] < 0.5
    assert paid(AIR, AIR.answer, SHOWN)["readable"] == 1


UNREAD = replace(
    FILM,
    mode=Mode.ANSWER,
    steps=(),
    regions=(),
    labels=(),
    answer="Blunting of the left costophrenic angle. Hyperinflated lungs. Tortuous aorta. "
    "Pacemaker with leads in the right atrium and right ventricle.",
)


def test_what_no_kind_stands_for_may_not_be_denied() -> None:
    denied = " ".join(f"No {sentence.lower()}." for sentence in UNREAD.answer[:-1].split(". "))
    assert overall(UNREAD, denied) < 0.1
    assert overall(UNREAD, UNREAD.answer) == pytest.approx(1)


def test_a_finding_named_where_the_reference_is_unread_costs_but_not_all() -> None:
    clear = overall(UNREAD, "The lungs are clear. The heart is normal. No pleural effusion.")
    read = overall(
        UNREAD,
        "There is a small left pleural effusion. The lungs are hyperinflated. The aorta is "
        "tortuous. A dual-chamber pacemaker has leads in the right atrium and ventricle.",
    )
    assert 2 * clear < read
    more = [
        overall(UNREAD, UNREAD.answer + made_up) for made_up in ("", " A mass.", " A mass. Edema.")
    ]
    assert more == sorted(set(more), reverse=True)


def test_another_word_of_the_family_is_paid_half() -> None:
    answer = "Right lower lobe consolidation, concerning for pneumonia. No pleural effusion."
    example = film_of(answer, right_consolidation=SPOT)
    worth = [
        overall(example, answer.replace("consolidation", word), f"A right {word} {list(SPOT)}")
        for word in ("consolidation", "airspace opacity", "nodule")
    ]
    assert worth == sorted(set(worth), reverse=True)
    assert paid(example, answer, f"A right opacity {list(SPOT)}")["places"] > 0.4
    assert worth[1] > worth[2] + 0.2


TWO = film_of(
    "Moderate cardiomegaly. Small left pleural effusion. No pneumothorax.",
    cardiomegaly=AREA,
    left_pleural_effusion=SPOT,
)
BOTH = (f"Cardiomegaly {list(AREA)}", f"Left pleural effusion {list(SPOT)}")


def test_what_the_reference_denies_costs_more_than_what_it_knows_nothing_of() -> None:
    said = "Moderate cardiomegaly. Small left pleural effusion. {}"
    against, beside = (
        paid(TWO, said.format(more), *BOTH)["findings"]
        for more in ("Left pneumothorax.", "Left fracture.")
    )
    assert against < beside


def test_to_contradict_the_reference_is_paid_less_than_to_leave_a_finding_out() -> None:
    omitted = overall(TWO, "Moderate cardiomegaly. No pneumothorax.", *BOTH)
    denied = "Moderate cardiomegaly. No pleural effusion. No pneumothorax."
    assert overall(TWO, denied, BOTH[0]) < overall(
        TWO, "Moderate cardiomegaly. No pneumothorax.", BOTH[0]
    )
    invented = f"Left pneumothorax {list(ELSEWHERE)}"
    said = "Moderate cardiomegaly. Left pneumothorax."
    assert overall(TWO, said, BOTH[0], invented) < omitted


SHADOWS = ("opacity", "consolidation", "pneumonia")


@pytest.mark.parametrize(("true", "near", "far"), list(permutations(SHADOWS)))
def test_of_two_words_of_the_family_the_one_boxed_best_counts(
    true: str, near: str, far: str
) -> None:
    example = film_of(f"Right {true}.", **{f"right_{true}": SPOT})
    steps = (f"Right {near} {list(SPOT)}", f"Right {far} {list(AREA)}")
    for said in (steps, steps[::-1]):
        assert paid(example, f"Right {near} and right {far}.", *said)["places"] == pytest.approx(
            1 / 6
        )


@pytest.mark.parametrize(("one", "another", "third"), list(permutations(SHADOWS)))
def test_words_of_the_family_are_matched_so_that_most_fit(
    one: str, another: str, third: str
) -> None:
    sides = frozenset((f"left {one}", f"right {one}"))
    others = frozenset((f"left {another}", third))
    assert label_f1(sides, others) == label_f1(others, sides) == 0.5


@pytest.mark.parametrize(
    ("reference", "against", "beside"),
    [
        ("Small left pleural effusion.", "No pleural effusion.", "Normal heart size."),
        ("Small left pleural effusion.", "No left pleural effusion.", "Normal heart size."),
        ("No pleural effusion.", "Small left pleural effusion.", "Left fracture."),
        ("There is a small left pleural effusion.", "There is no pleural effusion.", "Fracture."),
        (
            "Small left pleural effusion. Normal heart size.",
            "No left pleural effusion. Normal heart size.",
            "Normal heart size.",
        ),
    ],
)
def test_to_contradict_is_paid_no_more_than_to_leave_out_where_nothing_else_is_right(
    reference: str, against: str, beside: str
) -> None:
    example = replace(UNREAD, answer=reference)
    assert overall(example, against) <= overall(example, beside)
    assert overall(example, against) < 0.1


@pytest.mark.parametrize("steps", [(), ("Sternotomy wires",)])
def test_a_finding_made_up_where_the_reference_is_unread_never_pays(steps: tuple[str, ...]) -> None:
    mode = Mode.THINK if steps else Mode.ANSWER
    wires = replace(UNREAD, answer="Median sternotomy wires are intact.", mode=mode)
    for said in (wires.answer, "The wires are intact.", "Wires. Median sternotomy."):
        made_up = overall(wires, f"{said} A mass.", *steps)
        assert made_up < overall(wires, said, *steps)
        assert made_up <= 0.5


@pytest.mark.parametrize(
    ("step", "places", "honesty"),
    [
        ("Calcification", 1, 1),
        ("Something here", 0.5, 1),
        ("Likely old scar", 0.5, 1),
        ("It looks like an old scar", 0.5, 1),
        ("A dense spot in the left upper lobe", 0.5, 1),
        ("Old scar without change", 0.5, 1),
        ("Tortuous aorta", 0, 1),
        ("Infiltration", 0, 1),
        ("The lungs are clear", 0, 1),
        ("No calcification", 0, 0.5),
        ("Calcification is absent", 0, 0.5),
        ("Nothing here", 0, 0.5),
    ],
)
def test_a_box_on_a_region_is_paid_as_far_as_its_step_says_what_it_shows(
    step: str, places: float, honesty: float
) -> None:
    said = paid(asked(Calcification=SPOT), "Calcification", f"{step} {list(SPOT)}")
    assert (said["places"], said["honesty"]) == pytest.approx((places, honesty))


def test_a_step_by_another_word_of_the_family_is_half_right_and_no_trick() -> None:
    question = replace(asked(Consolidation=SPOT), regions=(("right consolidation", SPOT),))
    report = film_of("Right consolidation. No pleural effusion.", right_consolidation=SPOT)
    for example in (question, report):
        worth = [
            overall(example, example.answer, f"Right {word} {list(SPOT)}")
            for word in ("consolidation", "opacity", "nodule")
        ]
        assert worth[0] == pytest.approx(1)
        assert 0.6 < worth[1] < 0.9
        assert worth[2] < worth[1] / 2


@pytest.mark.parametrize("labels", [("Nodule/Mass",), ()])
def test_what_shows_one_of_two_alternatives_shows_the_other(labels: tuple[str, ...]) -> None:
    example = replace(
        film_of("Mass.", **{"Nodule/Mass": SPOT}),
        labels=labels,
        steps=(ReasoningTarget("There is a mass", ((0, SPOT),)),),
    )
    said = paid(example, "Nodule.", f"There is a nodule {list(SPOT)}")
    assert said["coherence"] == said["findings"] == 0.5  # as far as the answer is right
    assert said["places"] == pytest.approx(0.75)  # the boxes in full, what is said of them half
    marked = replace(example, task=Task.VQA, question="What does the film show?", answer="Nodule")
    assert overall(marked, "Nodule", f"There is a nodule {list(SPOT)}") == pytest.approx(1)
