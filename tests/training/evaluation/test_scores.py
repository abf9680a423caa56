"""Figures of sums agree with what other packages say, and with what can be counted by hand."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu

from service.reading import Task
from tests.training.small_store import BOX, example, right
from training.evaluation.chexpert import FIVE, OBSERVATIONS, present
from training.evaluation.columns import columns_of
from training.evaluation.grounding import size_of
from training.evaluation.scores import bleu, macro_f1, micro_f1, scores_of
from training.evaluation.sums import Table
from training.systems.prediction import Failure, PredictedStep, Prediction

SENTENCES = (
    "The heart is enlarged.",
    "There is a left pleural effusion.",
    "No pleural effusion or pneumothorax.",
    "Right lower lobe consolidation, possibly pneumonia.",
    "The lungs are clear.",
    "Mild interstitial edema.",
    "A fracture of the left seventh rib.",
    "",
)
TEXTS = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4).map(" ".join)


def told(said: str, truth: str, number: int = 0):
    asked = example(number, answer=truth, regions=(), labels=())
    return columns_of(asked, Prediction("", "", text=said, answer=said, complete=True))


def table(pairs: list[tuple[str, str]]) -> Table:
    return Table([str(n) for n in range(len(pairs))], [told(*pair) for pair in pairs])


def value(of: Table, name: str) -> float:
    (score,) = [score for score in scores_of(of) if score.name == name]
    return of.value(score.figure)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_bleu_is_that_of_nltk_on_the_whole_corpus(pairs: list[tuple[str, str]]) -> None:
    words = [[re.findall(r"\w+", text.lower()) for text in pair] for pair in pairs]
    said, truth = [s for s, _ in words], [[t] for _, t in words]
    found = table(pairs)
    for order in (1, 2, 3, 4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of n-grams that nothing has in common
            reference = corpus_bleu(truth, said, weights=[1 / order] * order)
        # Where nothing is in common, nltk puts the smallest float in place of 0.
        wanted = reference if reference > 1e-50 else 0
        assert found.value(bleu(order)) == pytest.approx(wanted, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
def test_f1_is_that_of_the_pooled_and_of_the_single_observations(
    pairs: list[tuple[str, str]],
) -> None:
    found = table(pairs)
    for names in (OBSERVATIONS, FIVE):
        each, hits, size = [], 0, 0
        for name in names:
            marks = [
                (name in present(said) and bool(said.strip()), name in present(truth))
                for said, truth in pairs
            ]
            both = sum(a and b for a, b in marks)
            either = sum(a + b for a, b in marks)
            each.append(2 * both / either if either else 0)
            hits, size = hits + both, size + either
        assert found.value(macro_f1(names)) == pytest.approx(np.mean(each))
        if size:
            assert found.value(micro_f1(names)) == pytest.approx(2 * hits / size)


def test_the_reference_itself_is_perfect() -> None:
    some = [example(n, task) for n in range(6) for task in (Task.FINDINGS, Task.VQA)]
    for task in (Task.FINDINGS, Task.VQA):
        own = [e for e in some if e.task is task]
        found = Table([e.id for e in own], [columns_of(e, right(e)) for e in own])
        for score in scores_of(found):
            # Its steps leave out what has no box; most observations are not there.
            if score.better and score.group != "reasoning" and "macro" not in score.name:
                told = found.value(score.figure)
                assert np.isnan(told) or told == pytest.approx(1, abs=0.01), score.name


def test_silence_and_failure_are_worth_nothing() -> None:
    asked = [example(n) for n in range(3)]
    nothing = Prediction("", "", failure=Failure.TIMEOUT)
    found = Table([e.id for e in asked], [columns_of(e, nothing) for e in asked])
    assert value(found, "failed") == 1
    for name in ("parsed", "BLEU-4", "ROUGE-L", "CheXpert micro-F1, 14", "matched IoU"):
        assert value(found, name) == 0, name


def test_boxes_are_matched_by_finding_and_surplus_ones_cost() -> None:
    asked = example(0)
    x0, y0, x1, y1 = map(float, BOX)
    half = (x0, y0, x1, (y0 + y1) / 2)

    def grounding(*steps: PredictedStep) -> Table:
        said = replace(right(asked), steps=steps)
        return Table(["e"], [columns_of(asked, said)])

    whole = (x0, y0, x1, y1)
    effusion, mass = "There is a left pleural effusion.", "There is a mass."
    good = grounding(PredictedStep(effusion, ((0, whole),)))
    assert value(good, "matched IoU") == 1
    assert value(good, "step support") == value(good, "pointing game") == 1
    fit = grounding(PredictedStep(effusion, ((0, half),)))
    assert value(fit, "matched IoU") == pytest.approx(0.5)
    assert value(fit, "box recall at 0.5") == 1
    assert value(fit, "box recall at 0.75") == 0
    two = grounding(PredictedStep(effusion, ((0, whole), (0, (0.0, 0.0, 5.0, 5.0)))))
    assert value(two, "matched IoU") == pytest.approx(0.5)
    assert value(two, "box precision at 0.5") == pytest.approx(0.5)
    assert value(two, "step support") == 0
    other = grounding(PredictedStep(mass, ((0, whole),)))
    assert value(other, "matched IoU") == 0


def test_steps_and_answer_are_held_against_each_other() -> None:
    asked = example(0)
    steps = (PredictedStep("There is a mass.", ()), PredictedStep("The heart is enlarged.", ()))
    said = Prediction(
        "",
        "",
        text="...",
        answer="Cardiomegaly. There is an effusion.",
        steps=steps,
        complete=True,
    )
    found = Table(["e"], [columns_of(asked, said)])
    assert value(found, "findings of the answer that a step claims") == 0.5
    assert value(found, "findings of the steps that the answer keeps") == 0.5


@pytest.mark.parametrize("image", [-1, 1, 7])
def test_a_box_on_a_film_that_there_is_not_is_one_too_many(image: int) -> None:
    asked = example(0)
    box = tuple(map(float, BOX))
    step = PredictedStep("There is a left pleural effusion.", ((0, box), (image, box)))
    found = Table(["e"], [columns_of(asked, replace(right(asked), steps=(step,)))])
    assert value(found, "matched IoU") == pytest.approx(0.5)
    assert value(found, "box precision at 0.5") == pytest.approx(0.5)


OTHER_LABELS = (
    *("ILD", "Infiltration", "Calcification", "Lung cavity", "Lung cyst", "Enlarged PA"),
    *("Mediastinal shift", "Other lesion", "Nodule/Mass", "Pleural thickening", "vascular_redness"),
)


@pytest.mark.parametrize("label", OTHER_LABELS)
@pytest.mark.parametrize("task", [Task.FINDINGS, Task.VQA])
def test_perfect_boxes_are_perfect_whatever_the_source_calls_the_finding(label, task) -> None:
    asked = example(
        0,
        task,
        regions=((label, BOX),),
        answer=label,
        question="Which abnormalities does the film show?",
        source="vindr-cxr",
    )
    step = PredictedStep(label, ((0, tuple(map(float, BOX))),))
    found = Table(["e"], [columns_of(asked, replace(right(asked), steps=(step,)))])
    for name in ("matched IoU", "mAP at 0.5", "pointing game", "step support"):
        assert value(found, name) == 1, name
    denied = replace(step, text=f"There is no {label}.")
    found = Table(["e"], [columns_of(asked, replace(right(asked), steps=(denied,)))])
    assert value(found, "matched IoU") == 0


def test_a_box_of_a_finding_of_vindrs_own_that_is_not_there_is_one_too_many() -> None:
    asked = example(0, source="vindr-cxr")
    wrong = PredictedStep("Calcification.", ((0, (1.0, 1.0, 5.0, 5.0)),))
    said = replace(right(asked), steps=(*right(asked).steps, wrong))
    assert columns_of(asked, said)["said"] == 2
    # Elsewhere nobody marks calcifications, and none is wrong.
    assert columns_of(replace(asked, source="made"), said)["said"] == 1


def test_a_question_wants_the_boxes_of_what_it_asks_about() -> None:
    heart = (5, 5, 60, 70)
    both = (("left pleural effusion", BOX), ("cardiomegaly", heart))
    asked = example(1, Task.VQA, question="Where is the pneumonia?", answer="Left base.")
    located = replace(asked, regions=(("Pneumonia", BOX),))
    step = PredictedStep("A left basal opacity.", ((0, tuple(map(float, BOX))),))
    said = Prediction("", "", text="...", answer="Left base.", steps=(step,), complete=True)
    assert value(Table(["e"], [columns_of(located, said)]), "matched IoU") == 1
    effusion = replace(
        asked, question="Is there an effusion?", answer="Yes", regions=both, labels=()
    )
    steps = tuple(PredictedStep(f"{label}.", ((0, tuple(map(float, box))),)) for label, box in both)
    told = replace(said, steps=steps)
    columns = columns_of(effusion, told)
    assert (columns["boxes"], columns["iou"]) == (1, 1)
    view = replace(effusion, question="Which view is this?", answer="PA")
    assert "boxes" not in columns_of(view, told)


LISTS = st.lists(
    st.sampled_from(["atelectasis", "pleural effusion", "mass", "left lung", "rib fracture"]),
    min_size=2,
    max_size=4,
    unique=True,
)


@given(LISTS, st.randoms(), st.sampled_from([" | ", ", ", " and ", "; ", "\n"]))
def test_a_list_is_the_same_list_however_it_is_written(items, chance, between) -> None:
    said = list(items)
    chance.shuffle(said)
    asked = example(0, Task.VQA, answer=" | ".join(items))
    columns = columns_of(asked, Prediction("", "", answer=between.join(said).capitalize()))
    assert (columns["normalised"], columns["set f1"]) == (1, 1)
    part = columns_of(asked, Prediction("", "", answer=between.join(said[1:])))
    assert part["set f1"] == pytest.approx(2 * (len(items) - 1) / (2 * len(items) - 1))


@pytest.mark.parametrize("said", ["Yes, no", "Yes and no", "No, or yes; who knows?"])
def test_hedging_between_two_answers_earns_nothing(said: str) -> None:
    asked = example(0, Task.VQA, answer="Yes")
    columns = columns_of(asked, Prediction("", "", answer=said))
    assert (columns["normalised"], columns["set f1"]) == (0, 0)


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        ("I cannot help with that.", 0),
        ("As an AI, I am unable to read films.", 0),
        ("...", 0),
        ("The lungs are clear.", 1),
        ("No acute cardiopulmonary abnormality.", 1),
        ("No pneumothorax.", 1),
        ("No radiographic evidence of acute cardiopulmonary disease.", 1),
        ("Normal chest.", 1),
    ],
)
def test_a_refusal_does_not_say_that_nothing_is_there(said: str, worth: float) -> None:
    found = table([(said, "The heart is normal. The lungs are clear.")])
    assert value(found, "F1, No Finding") == worth


def test_sure_and_wrong_is_badly_calibrated() -> None:
    asked = [example(n, Task.VQA) for n in range(10)]
    says = [replace(right(e), answer="Yes", confidence=0.9) for e in asked]
    found = Table(
        [e.id for e in asked], [columns_of(e, p) for e, p in zip(asked, says, strict=True)]
    )
    rate = np.mean([e.answer == "Yes" for e in asked])
    assert value(found, "expected calibration error") == pytest.approx(abs(0.9 - rate))
    assert value(found, "Brier score") == pytest.approx(rate * 0.01 + (1 - rate) * 0.81)


@pytest.mark.parametrize(
    ("side", "size"), [(20, "small"), (32, "medium"), (95, "medium"), (96, "large")]
)
def test_sizes_are_those_of_coco_on_a_film_of_1024(side: int, size: str) -> None:
    assert size_of((0, 0, side, side), 1024 * 1024) == size


def test_intervals_draw_studies_not_examples() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(40)
    rows = [{"n": 1.0, "parsed": float(truth[n // 5] > 0.5)} for n in range(200)]
    (score,) = [s for s in scores_of(Table(["x"] * 200, rows)) if s.name == "parsed"]
    by_study = Table([str(n // 5) for n in range(200)], rows).estimate(score.figure)
    by_example = Table([str(n) for n in range(200)], rows).estimate(score.figure)
    assert by_study.value == by_example.value
    wide, narrow = (e.high - e.low for e in (by_study, by_example))
    # Five equal examples a study: an interval by example would be too narrow by the root of five.
    assert wide / narrow == pytest.approx(5**0.5, rel=0.15)
    assert by_study.studies == 40


def test_a_paired_test_finds_what_two_intervals_hide_and_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(1)
    easy = rng.random(300)
    studies = [str(n) for n in range(300)]

    def system(skill: float, seed: int) -> Table:
        luck = np.random.default_rng(seed).normal(0, 0.05, 300)
        return Table(
            studies,
            [
                {"n": 1.0, "parsed": float(e + skill + k > 0.5)}
                for e, k in zip(easy, luck, strict=True)
            ],
        )

    one, better, same = system(0, 2), system(0.06, 3), system(0, 4)
    (score,) = [s for s in scores_of(one) if s.name == "parsed"]
    gain = better.difference(one, score.figure)
    assert gain.value > 0
    assert gain.low > 0
    assert gain.p < 0.01
    assert one.estimate(score.figure).high > better.estimate(score.figure).low
    nothing = same.difference(one, score.figure)
    assert nothing.low <= 0 <= nothing.high
    assert nothing.p > 0.05
    backwards = Table(studies[::-1], [{"n": 1.0, "parsed": 1.0}] * 300)
    assert backwards.difference(backwards, score.figure).value == 0
    with pytest.raises(ValueError, match="same studies"):
        one.difference(Table(["other"], [{"n": 1.0}]), score.figure)
