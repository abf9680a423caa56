"""Length that says nothing is paid for nowhere, in whatever signs it comes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.example import Example, ReasoningTarget
from training.rewards.gallery import CONVENTIONS, DEVICE, FILM, GRID, NORMAL, PRESENCE
from training.rewards.grounded import grounded
from training.rewards.padding import bulk_of
from training.rewards.protocol import Rollout
from training.stages.text_targets import completion_text

FLOOR = 0.15
UNITS = {
    "stops": ".",
    "dashes": " -",
    "underscores": "_",
    "pictures": "\U0001fac1",
    "pictures apart": " \U0001fac1",
    "one long word": "x",
    "short words": " zq",
    "numbers": " 123",
    "ideographs": "\u5fc3",
    "line ends": "\n",
    "no-break spaces": "\u00a0",
}


def right(example: Example) -> str:
    return completion_text(example, CONVENTIONS, GRID)


def paid(completion: str, example: Example = FILM) -> float:
    (scored,) = grounded([Rollout(completion, example, CONVENTIONS, GRID)])
    return scored["overall"]


def in_answer(completion: str, padding: str) -> str:
    return completion[:-1] + padding + completion[-1]


def in_a_step(completion: str, padding: str) -> str:
    return completion.replace(" [", f"{padding} [", 1)


def as_a_step(completion: str, padding: str) -> str:
    return completion.replace(" </think>", f"; so {padding} </think>", 1)


PLACES = (in_answer, in_a_step, as_a_step)


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("example", [FILM, NORMAL, PRESENCE], ids=lambda e: e.id)
def test_two_thousand_units_of_padding_leave_next_to_nothing(unit, place, example):
    assert paid(right(example), example) > 0.99
    assert paid(place(right(example), unit * 2000), example) < FLOOR


@settings(max_examples=60, deadline=None)
@given(
    unit=st.sampled_from(list(UNITS.values())),
    place=st.sampled_from(PLACES),
    few=st.integers(0, 400),
    more=st.integers(0, 400),
)
def test_more_padding_never_earns_more(unit, place, few, more):
    text = right(FILM)
    assert paid(place(text, unit * (few + more))) <= paid(place(text, unit * few)) + 1e-9


def test_a_hundred_idle_words_in_one_step_are_too_many():
    text = right(FILM)
    assert paid(in_a_step(text, " and so one looks on" * 20)) < FLOOR
    assert paid(as_a_step(text, "and so one looks on " * 20)) < FLOOR


def test_a_step_may_be_told_at_some_length():
    """As a radiologist reasons: some thirty words."""
    told = (
        "The cardiac silhouette is enlarged, its greatest width being well above half of the inner "
        "width of the thorax, with a rounded left border [130, 180, 330, 330]"
    )
    text = right(FILM).replace("The heart is enlarged [130, 180, 330, 330]", told)
    assert told in text
    assert paid(text) > 0.95


def test_a_paraphrase_twice_as_long_is_no_padding():
    answer = (
        "The cardiac silhouette is enlarged, with a cardiothoracic ratio above one half. There is "
        "a pleural effusion of moderate size on the left side. There is a mass in the upper zone "
        "of the right lung. There is no pneumothorax on either side."
    )
    text = right(FILM).replace(FILM.answer, answer)
    scored = grounded([Rollout(text, FILM, CONVENTIONS, GRID)])[0]
    assert scored["honesty"] == 1
    assert scored["overall"] > 0.85


def test_what_the_reference_does_itself_is_no_padding():
    signs = "Sternal wires [**] >>> ### (+++) --- *** === ~~~ ___ $$$"
    long_winded = "and so one looks on " * 20 + "and the heart is enlarged"
    example = replace(
        FILM,
        answer=f"{FILM.answer} {signs}",
        steps=(ReasoningTarget(long_winded, FILM.steps[0].boxes), *FILM.steps[1:]),
    )
    assert grounded([Rollout(right(example), example, CONVENTIONS, GRID)])[0]["honesty"] == 1


def test_a_set_without_reasoning_leaves_room_for_some():
    steps = [f"The {part} is as it was before" for part in ("heart", "aorta", "trachea", "spine")]
    text = f"<think> {'; '.join(steps)} </think>. \\boxed{{{DEVICE.answer}}}"
    assert paid(text, DEVICE) > 0.9


@given(st.text())
def test_the_bulk_of_a_text_is_its_bytes_and_signs_are_part_of_them(text):
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = bulk_of(text).size
    bulk = bulk_of(text)
    assert bulk.size == size
    assert 0 <= bulk.signs <= bulk.size
