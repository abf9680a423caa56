"""The published rule, held against what its original gives."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.rewards.paper import _NUMBER, in_form, score, without_space_around_markup

REPORT = "The heart is enlarged. There is a moderate left pleural effusion. No pneumothorax."
CLEAR = "The lungs are clear without focal consolidation, effusion or pneumothorax."
FROM_THE_ORIGINAL = [
    (
        "<think> The heart is enlarged [59, 73, 163, 154] </think>. The answer is: "
        "\\boxed{The heart is enlarged. Left effusion.}",
        REPORT,
        (0.6849683094057216, 1.0, 0.5944092326730239, 0.05),
    ),
    (
        "<think> a [9, 9, 1, 1]; b [-5, 0, 600, 2]; c [1,2,3,512] </think> "
        "\\boxed{mass | Nodule | mass}",
        "Mass | nodule | effusion",
        (0.9, 1.0, 1.0, -0.1),
    ),
    ("<think> x [1 , 2, 3, 4] </think> \\boxed{{a}", "yes", (0.1, 1.0, 0.0, 0.0)),
    ("no tags \\boxed{Lungs are clear.}", CLEAR, (0.22953026679883318, 0, 0.2550336297764813, 0)),
    ("< think > a [1, 2, 3, 4] < / think > \\boxed{ Yes }", "yes", (1.5, 1.0, 1.5, 0.05)),
    (
        "<think>a</think>\\boxed{The weather is fine in the north today and it will rain tomorrow "
        "in the evening.}",
        CLEAR,
        (0.49147843155324356, 1.0, 0.4349760350591595, 0.0),
    ),
    ("", "", (0.0, 0.0, 0.0, 0.0)),
]
"""Values that the published function gave, with the packages that it imports."""


@pytest.mark.parametrize(("completion", "reference", "parts"), FROM_THE_ORIGINAL)
def test_parts_are_those_of_the_original(completion, reference, parts):
    given_parts = score(completion, reference)
    assert list(given_parts) == ["overall", "format", "accuracy", "coordinate"]
    assert tuple(given_parts.values()) == pytest.approx(parts, abs=1e-9)


def test_boxes_around_nothing_and_an_empty_answer_earn_a_quarter():
    text = "<think> [1, 1, 1, 1] [1, 1, 1, 1] [1, 1, 1, 1] </think> \\boxed{}"
    assert score(text, "yes")["overall"] == pytest.approx(0.25)


def test_a_stop_makes_a_short_answer_wrong_and_case_does_not():
    assert score("\\boxed{Yes.}", "yes")["accuracy"] == 0
    assert score("\\boxed{YES}", "yes")["accuracy"] == 1.5


def test_the_last_boxed_counts_and_one_left_open_is_none():
    assert score("\\boxed{no} \\boxed{yes}", "yes")["accuracy"] == 1.5
    assert score("\\boxed{yes} \\boxed{no", "None")["accuracy"] == 1.5


def test_an_item_named_twice_lowers_precision():
    once = score("\\boxed{mass | nodule}", "mass | nodule")["accuracy"]
    twice = score("\\boxed{mass | nodule | mass}", "mass | nodule")["accuracy"]
    assert (once, twice) == (1.5, pytest.approx(1.2))


def test_only_the_first_think_block_is_searched_for_boxes():
    text = "<think> a </think><think> [1, 2, 3, 4] </think>"
    assert score(text, "yes")["coordinate"] == 0
    assert score("<think>" + "[1, 2, 3, 600]" * 4 + "</think>", "yes")["coordinate"] == (
        pytest.approx(-0.8)
    )


@pytest.mark.parametrize("space", ["", " ", "\n", "\u00a0", "\u2003", "\x1c"])
def test_any_white_space_may_stand_before_a_number(space):
    text = f"<think> [1,{space}2,{space}3,{space}4] </think>"
    assert score(text, "yes")["coordinate"] == pytest.approx(0.05)


def test_long_numbers_are_read_at_once():
    """The published pattern tries each digit of each number again: minutes for these."""
    numbers = ", ".join(["7" * 500] * 4)
    assert score(f"<think>[{numbers} </think>", "yes")["coordinate"] == 0
    assert score(f"<think>[{'7' * 20_000} </think>", "yes")["coordinate"] == 0


@given(st.text("0123456789.+-", max_size=12))
def test_numbers_are_those_of_the_published_pattern(text):
    published = re.compile(r"[-+]?\d*\.?\d+")
    assert re.findall(_NUMBER, text) == published.findall(text)
    assert bool(re.fullmatch(_NUMBER, text)) == bool(published.fullmatch(text))


def test_long_texts_of_tags_and_spaces_are_scored_at_once():
    for text in ("<think>" * 5_000, "</think>" * 5_000, " " * 200_000, "<think></think>" * 5_000):
        assert score("<think>" + text + "\\boxed{", "yes")["format"] == 0


PIECES = (
    "<think>",
    "</think>",
    "< think >",
    "</ think>",
    "\\boxed{",
    "}",
    "{",
    " ",
    "\n",
    "/",
    "a",
)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@settings(max_examples=500)
def test_form_and_white_space_are_those_of_the_published_patterns(text):
    plain = re.sub(r"\s*(<|>|/)\s*", r"\1", text)
    pattern = re.compile(r"<think>.*</think>.*\\boxed\{.*\}.*", re.DOTALL)
    assert without_space_around_markup(text) == plain
    assert in_form(plain) == bool(pattern.fullmatch(plain))


@given(st.text(), st.text())
def test_any_text_is_scored_within_bounds(completion, reference):
    parts = score(completion, reference)
    assert parts["format"] in (0, 1)
    assert 0 <= parts["accuracy"] <= 1.5 + 1e-9
    assert parts["overall"] <= 1.6 + 1e-9
