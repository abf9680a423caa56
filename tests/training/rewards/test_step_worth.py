"""Each part of a completion is worth what it gets right by itself."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from service.reading import Mode, Task
from service.settings import EMBEDDED_CHECKPOINT
from training.rewards.gallery import CONVENTIONS, FILM, GRID
from training.rewards.geometry import iou
from training.rewards.protocol import Rollout
from training.rewards.step_worth import step_worths, worth_of_number
from training.stages.rollout_rewards import ScoredRollouts
from training.stages.step_credit import StepCredit, expected_worths, token_ends
from training.stages.text_targets import completion_text

REFERENCE = completion_text(FILM, CONVENTIONS, GRID)
MOVED = REFERENCE.replace("[130", "[150")


def rollout(text=REFERENCE, example=FILM):
    return Rollout(text, example, CONVENTIONS, GRID)


def worths(text, example=FILM):
    (found,) = step_worths([rollout(text, example)])
    return found


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)


def test_the_reference_is_worth_everything():
    found = worths(REFERENCE)
    assert {part.subject[0] for part in found} >= {"words", "finding", "number", "answer"}
    assert all(part.value > 0.9 for part in found)


def test_parts_do_not_overlap_and_lie_in_the_text():
    spans = sorted((part.begin, part.end) for part in worths(REFERENCE))
    assert spans[0][0] >= 0
    assert spans[-1][1] <= len(REFERENCE)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_of_a_box_only_the_number_that_was_moved_loses_and_what_is_between():
    lost = [
        (was.subject, MOVED[now.begin : now.end].strip())
        for was, now in zip(worths(REFERENCE), worths(MOVED), strict=True)
        if now.value < was.value
    ]
    assert {written for subject, written in lost if subject[0] == "number"} == {"150"}
    assert {subject for subject, _ in lost if subject[0] != "number"} == {
        ("finding", "cardiomegaly", "None", "0")
    }


def test_two_boxes_in_any_order_are_held_against_the_nearest():
    second = (300, 90, 360, 150)
    film = replace(FILM, regions=(*FILM.regions, ("right mass", second)))
    both = [list(FILM.regions[1][1]), list(second)]
    for boxes in (both, both[::-1]):
        text = f"<think> There is a mass in the right lung {boxes[0]} {boxes[1]} </think>. "
        found = worths(text + f"The answer is: \\boxed{{{FILM.answer}}}", film)
        assert sum(part.subject[0] == "number" for part in found) == 8
        assert all(p.value == 1 for p in found if p.subject[0] in {"number", "finding"})


def test_a_finding_left_out_of_the_answer_costs_the_sentences_of_its_side():
    said = FILM.answer
    short = said.replace("left pleural effusion", "left lung that is clear")
    assert short != said
    found = {p.subject: p.value for p in worths(REFERENCE.replace(said, short))}
    assert found["answer", "left"] < 1
    assert found["answer", "right"] == 1


def test_nothing_is_known_of_an_answer_without_reasoning():
    assert worths("Yes", replace(FILM, mode=Mode.ANSWER, task=Task.VQA, question="Mass?")) == []


@given(st.text(alphabet="<think>/ [0,9]; mass left heart.\\boxed{}é", max_size=120))
def test_any_text_has_worths_within_bounds(text):
    for part in worths(text):
        assert 0 <= part.begin <= part.end <= len(text)
        assert 0 <= part.value <= 1


def test_tokens_end_where_their_characters_do(tokenizer):
    ids = tokenizer(REFERENCE, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    ends = token_ends(ids, REFERENCE, tokenizer)
    assert ends is not None
    begins = [0, *ends[:-1]]
    for begin, end, token in zip(begins[:-1], ends[:-1], ids[:-1], strict=True):
        assert REFERENCE[begin:end] == tokenizer.decode([token])


def test_text_that_tokens_cannot_be_placed_in_has_no_credit(tokenizer):
    ids = tokenizer("opacité", add_special_tokens=False)["input_ids"]
    assert token_ends(ids, "opacité", tokenizer) is None


def credits_of(texts, tokenizer):
    rows = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
    ids = torch.full((len(texts), max(map(len, rows))), tokenizer.pad_token_id)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = torch.tensor(row)
    latest = ScoredRollouts([rollout(text) for text in texts])
    return ids, StepCredit(latest, weight=2.0)(ids, tokenizer)


def test_credit_falls_on_the_number_that_differs_and_sums_to_nothing(tokenizer):
    ids, credit = credits_of([REFERENCE, MOVED], tokenizer)
    better, worse = credit.numbers
    assert tokenizer.decode(ids[0][better != 0]) == "130"
    assert tokenizer.decode(ids[1][worse != 0]) == "150"
    assert better.max() == -worse.min() > 0


def test_what_stands_round_a_better_box_is_credited_too(tokenizer):
    ids, credit = credits_of([REFERENCE, MOVED], tokenizer)
    assert "180" not in tokenizer.decode(ids[0][credit.words[0] != 0])
    assert credit.words[0].max() == -credit.words[1].min() > 0


def test_completions_that_are_alike_have_no_credit(tokenizer):
    for count in (2, 3, 10):
        _, credit = credits_of([MOVED] * count, tokenizer)
        assert not credit.words.any()
        assert not credit.numbers.any()


def test_one_outlier_among_many_is_bounded(tokenizer):
    _, credit = credits_of([REFERENCE] * 19 + [MOVED], tokenizer)
    assert credit.numbers.abs().max() == 2.0 * 3.0


def test_a_stake_tells_what_any_number_is_worth(tokenizer):
    ids, credit = credits_of([MOVED], tokenizer)
    moved = tokenizer.encode("150", add_special_tokens=False)[0]
    place = (ids[0] == moved).nonzero()[0, 0]
    stake = credit.stakes[0, place].tolist()
    true = FILM.regions[0][1]
    for edge in (0, 100, 130, 150, 329, 330, 400):
        box = (edge, *true[1:])
        expected = iou(box, true) if edge < true[2] else 0.0
        assert worth_of_number(edge, *stake) == pytest.approx(expected)


def test_a_flagged_or_unfinished_text_has_no_worths():
    assert worths(REFERENCE.removesuffix("}")) == []
    assert worths(REFERENCE.replace("[130", "[430")) == []


def test_a_finding_boxed_again_is_worth_nothing():
    steps = REFERENCE.split("; ")
    again = "; ".join([steps[0], steps[1], steps[1].replace("There is a", "A"), *steps[2:]])
    found = [p for p in worths(again) if p.subject[:2] == ("finding", "mass")]
    assert found[0].value > 0.9
    assert found[-1].value == 0


@given(
    st.floats(0, 500),
    st.floats(1, 300) | st.floats(-300, -1),
    st.lists(st.floats(0.01, 1), min_size=12, max_size=12),
)
def test_what_is_expected_is_the_mean_over_all_numbers(opposite, length, weights):
    chances = torch.tensor([weights], dtype=torch.float64) / sum(weights)
    (expected,) = expected_worths(chances, torch.tensor([[opposite, length]]).double())
    each = [worth_of_number(number, opposite, length) for number in range(12)]
    assert float(expected) == pytest.approx(
        sum(p * worth for p, worth in zip(chances[0].tolist(), each, strict=True)), abs=1e-4
    )
