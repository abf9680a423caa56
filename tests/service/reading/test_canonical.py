"""The short way through a text in the ordinary form gives what the long way gives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.reading import Mode, StreamParser, parse_text
from service.reading.canonical import read_canonical

EXTENTS = [(224, 196)]
TEXT = (
    "<think> The heart is enlarged [59, 73, 163, 154]; There are multiple masses in the left lung "
    "[130, 26, 154, 54] [130, 59, 154, 87]; The right lung is clear </think>. The answer is: "
    "\\boxed{The heart is enlarged. Multiple masses in the left lung.}."
)


def the_long_way(text):
    parser = StreamParser(mode=Mode.THINK, extents=EXTENTS)
    for character in text:
        parser.feed(character)
    return parser.finish()


PARTICULAR = (
    "the heart lung Mass a of at in and with on see box image Film first step III x no e g Dr vs cm"
    " coordinates bbox within consolidation approx 3 1, mass, image2 film1 mid-zone - -on step3 -x"
)
WORDS = st.sampled_from(["", *PARTICULAR.split(" ")])
BOX = st.lists(st.integers(0, 230), min_size=4, max_size=4)
STEP = st.tuples(st.lists(WORDS, min_size=1, max_size=6), st.lists(BOX, max_size=3)).map(
    lambda step: (
        "A " + " ".join(step[0]) + "".join(f" [{', '.join(map(str, box))}]" for box in step[1])
    )
)
ANSWER = st.text("ab Yes,.|%-19:;/'()", min_size=1, max_size=24)


BETWEEN = st.sampled_from(["; ", "; ", ".\n", "\n", ".\n- ", "\n- ", ";\n", ". "])
OPENING = st.sampled_from([" ", " ", "\n", " - ", "\n- ", ""])
CLOSING = st.sampled_from([" ", " ", "\n", ".\n", ". ", "; "])


@given(
    st.lists(st.tuples(BETWEEN, STEP), min_size=1, max_size=4),
    OPENING,
    CLOSING,
    ANSWER,
    st.sampled_from([".", "", " "]),
)
@settings(max_examples=3000)
def test_a_text_in_the_ordinary_form_is_read_as_ever(steps, opening, closing, answer, end):
    block = (
        opening
        + "".join(f"{between}{step}" for between, step in steps)[len(steps[0][0]) :]
        + closing
    )
    text = f"<think>{block}</think>. The answer is: \\boxed{{{answer}}}{end}"
    read = read_canonical(text, extents=EXTENTS)
    assert read is None or read == the_long_way(text)


@pytest.mark.parametrize("answer", ["A (1, 2, 3, 4).", "A (1,2) (3,4)", "A (image 2).", "(a)."])
def test_round_brackets_of_numbers_are_told_of_either_way(answer):
    text = f"<think> A step [1, 2, 3, 4] </think>. The answer is: \\boxed{{{answer}}}"
    assert parse_text(text, mode=Mode.THINK, extents=EXTENTS) == the_long_way(text)


@given(st.integers(0, len(TEXT)), st.integers(0, 6), st.text(max_size=3))
@settings(max_examples=400)
def test_a_text_with_anything_changed_is_read_as_ever(at, length, instead):
    text = TEXT[:at] + instead + TEXT[at + length :]
    assert parse_text(text, mode=Mode.THINK, extents=EXTENTS) == the_long_way(text)


@pytest.mark.parametrize("last", ["Zone a", "The left lung vs", "A Dr", "Level approx", "A no"])
def test_a_last_word_whose_stop_ends_no_sentence_is_read_as_ever(last):
    text = f"<think> The heart is large; {last}. </think>. The answer is: \\boxed{{1}}."
    assert parse_text(text, mode=Mode.THINK, extents=EXTENTS) == the_long_way(text)


def test_the_ordinary_form_is_taken_the_short_way():
    read = read_canonical(TEXT, extents=EXTENTS)
    assert read is not None
    assert [len(step.boxes) for step in read.steps] == [1, 2, 0]
    assert read.complete


@pytest.mark.parametrize("apart", ["\n", ".\n", "\n- ", ".\n- "])
def test_so_is_a_step_on_a_line_of_its_own(apart):
    text = TEXT.replace("; ", apart)
    read = read_canonical(text, extents=EXTENTS)
    assert read is not None
    assert [len(step.boxes) for step in read.steps] == [1, 2, 0]
    assert read == the_long_way(text)


@pytest.mark.parametrize("box", ["[9, 9, 5, 12]", "[0, 0, 225, 10]", "[5, 5, 5, 9]"])
def test_a_flagged_box_is_left_to_the_parser_that_flags(box):
    text = TEXT.replace("[59, 73, 163, 154]", box)
    assert read_canonical(text, extents=EXTENTS) is None
    assert parse_text(text, mode=Mode.THINK, extents=EXTENTS).notices
