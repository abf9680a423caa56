"""What is read off a text, whole or as it comes."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.reading import (
    AnswerDelta,
    Mode,
    ParsedText,
    StepRead,
    StreamParser,
    parse_text,
    write_grounded_text,
)

EXTENT = [(224.0, 196.0)]

_FRAGMENTS = st.sampled_from(
    [
        "<think>",
        "</think>",
        "< think >",
        "</ think>",
        "<thi",
        "nk>",
        "<",
        "\\boxed{",
        "\\boxed {",
        "\\bo",
        "xed{",
        "}",
        "{",
        "\\",
        "[1, 2, 3, 4]",
        "[4, 3, 2, 1]",
        "[nan, 1, 2, 3]",
        "[1, 2",
        "]",
        "[",
        "[1]",
        "; ",
        ". ",
        "\n",
        "1. ",
        "2) ",
        "Dr. ",
        "e.g. ",
        "1.5 cm",
        "The heart",
        "The answer is: ",
        "image 2 ",
        " ",
        "-",
        "1e999",
        "\x00",
        "\ud800",
        "é",
        "٣",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=300),
    st.lists(st.one_of(_FRAGMENTS, st.text(max_size=8)), max_size=40).map("".join),
)


def read(text: str, **options: object) -> ParsedText:
    return parse_text(text, mode=Mode.THINK, extents=EXTENT, **options)  # type: ignore[arg-type]  # test shorthand


def codes(parsed: ParsedText) -> list[str]:
    return [notice.code for notice in parsed.notices]


def test_steps_carry_their_text_and_all_their_boxes() -> None:
    parsed = read(
        "<think> The heart is enlarged [70, 90, 150, 170]; masses [1, 2, 30, 40] [5, 6, 70, 80], "
        "both lungs </think>. The answer is: \\boxed{Cardiomegaly.}."
    )
    assert [step.text for step in parsed.steps] == ["The heart is enlarged", "masses, both lungs"]
    assert [len(step.boxes) for step in parsed.steps] == [1, 2]
    assert parsed.steps[0].boxes[0].values == (70, 90, 150, 170)
    assert parsed.answer == "Cardiomegaly."
    assert parsed.complete
    assert parsed.notices == ()


@pytest.mark.parametrize(
    ("reasoning", "steps"),
    [
        ("One is clear. Two is not.", ["One is clear.", "Two is not."]),
        ("1. Heart normal\n2. Lungs clear\n3) End", ["Heart normal", "Lungs clear", "End"]),
        ("a 1.5 cm mass; by Dr. Who, e.g. here", ["a 1.5 cm mass", "by Dr. Who, e.g. here"]),
        ("at [1, 2; 3, 4]; next", ["at", "next"]),
        ("Is it big? Yes! It is.", ["Is it big?", "Yes!", "It is."]),
        ("a citation [1] stays; [unclear] too", ["a citation [1] stays", "[unclear] too"]),
    ],
)  # fmt: skip
def test_reasoning_is_split_as_the_text_splits(reasoning: str, steps: list[str]) -> None:
    parsed = read(f"<think>{reasoning}</think>\\boxed{{x}}")
    assert [step.text for step in parsed.steps] == steps


@pytest.mark.parametrize(
    ("text", "answer", "code"),
    [
        ("<think>a</think> \\boxed{y {z}}.", "y {z}", None),
        ("<think>a</think> So the final answer is: \\boxed{a \\} b}", "a \\} b", None),
        ("<think>a</think> \\boxed{x} \\boxed{y {z}}", "y {z}", "text-beside-answer"),
        ("<think>a</think> \\boxed{x} \\boxed{never ends", "x", "text-beside-answer"),
        ("<think>a</think> \\boxed{It is \\boxed{y}}", "y", "text-beside-answer"),
        ("<think>a</think> The lungs! \\boxed{y}", "y", "text-beside-answer"),
        ("<think>a</think> \\boxed{\\boxed{y}}", "y", None),
        ("<think>a \\boxed{x} b</think>", "x", "answer-in-think"),
        ("<think>a</think> \\boxed{here [1, 2, 3, 4]}", "here [1, 2, 3, 4]", "box-in-answer"),
        ("A mass [1, 2, 3, 4]. The answer is: \\boxed{Mass}", "Mass", "think-missing"),
        ("<think>a</think> The answer is: No.", "No.", "answer-not-boxed"),
        ("<think>a</think> \\boxed{never ends", "never ends", "answer-unbalanced"),
        ("<think>a</think> \\boxed{}", "", "answer-empty"),
        ("Just a report.", "Just a report.", "think-missing"),
        ("a; b</think>\\boxed{x}", "x", "think-unopened"),
        ("<think>a; b. The answer is: \\boxed{x}", "x", "think-unclosed"),
        ("<think>a \\boxed{no} b</think>\\boxed{yes}", "yes", None),
        ("<think>a; \\boxed{x} or the answer is \\boxed{y}", "y", "think-unclosed"),
        ("Well. <think>a</think>\\boxed{x}", "x", "text-before-think"),
    ],
)
def test_the_answer_is_the_last_balanced_box_or_a_flagged_fallback(
    text: str, answer: str, code: str | None
) -> None:
    parsed = read(text)
    assert parsed.answer == answer
    assert (code in codes(parsed)) if code else not parsed.notices


@pytest.mark.parametrize(
    ("bracket", "code", "kept"),
    [
        ("[1, 2, 3]", "box-malformed", None),
        ("[1, 2, 3, 4, 5]", "box-malformed", None),
        ("[x_min, 2, 3, 4]", "box-malformed", None),
        ("[1, 2, 3, 4", "box-malformed", None),
        ("[inf, 2, 3, 4]", "box-not-finite", None),
        ("[1, 2, 1e999, 4]", "box-not-finite", None),
        ("[30, 40, 10, 20]", "box-inverted", (10, 20, 30, 40)),
        ("[10, 10, 10, 20]", "box-empty", (10, 10, 10, 20)),
        ("[10, 10, 20, 197]", "box-out-of-range", (10, 10, 20, 197)),
        ("[-1, 10, 20, 30]", "box-out-of-range", (-1, 10, 20, 30)),
    ],
)
def test_what_is_wrong_with_a_box_is_flagged(
    bracket: str, code: str, kept: tuple[float, ...] | None
) -> None:
    parsed = read(f"<think> mass {bracket} </think>\\boxed{{x}}")
    assert code in codes(parsed)
    assert [box.values for box in parsed.steps[0].boxes] == ([kept] if kept else [])


def test_a_box_lies_on_the_image_that_its_step_names() -> None:
    text = "<think> image 2 shows it [1, 2, 3, 4]; here [1, 2, 3, 4] </think>\\boxed{x}"
    parsed = parse_text(text, mode=Mode.THINK, images=2)
    assert [step.boxes[0].image for step in parsed.steps] == [1, 1]
    assert [step.boxes[0].flags for step in parsed.steps] == [(), ("box-image-assumed",)]
    assert codes(parsed) == ["box-image-assumed"]


def test_a_text_that_was_cut_off_is_not_complete() -> None:
    parsed = read("<think> mass [1, 2, 3, 4]; and a", finish_reason="length")
    assert {"think-unclosed", "cut-off", "answer-empty"} <= set(codes(parsed))
    assert not parsed.complete


def test_without_reasoning_the_text_is_the_answer() -> None:
    parsed = parse_text(" Heart size is normal. ", mode=Mode.ANSWER)
    assert parsed.answer == "Heart size is normal."
    assert parsed.complete
    assert parsed.steps == ()


@settings(max_examples=400, deadline=None)
@given(
    TEXTS, st.sampled_from(list(Mode)), st.integers(1, 4), st.sampled_from([None, "stop", "length"])
)
def test_reading_never_raises(text: str, mode: Mode, images: int, reason: str | None) -> None:
    parsed = parse_text(text, mode=mode, images=images, finish_reason=reason)
    assert all(0 <= box.image < images for step in parsed.steps for box in step.boxes)


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.sampled_from(list(Mode)), st.data())
def test_a_stream_reads_as_the_whole_does(text: str, mode: Mode, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    parser = StreamParser(mode=mode, images=2, extents=EXTENT * 2)
    events = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        events += parser.feed(text[start:end])
    streamed = parser.finish("stop")
    assert streamed == parse_text(
        text, mode=mode, images=2, extents=EXTENT * 2, finish_reason="stop"
    )
    steps = [event.step for event in events if isinstance(event, StepRead)]
    assert tuple(steps) == streamed.steps[: len(steps)]


def test_steps_come_out_as_soon_as_they_are_certain() -> None:
    parser = StreamParser(mode=Mode.THINK)
    assert parser.feed("<think> The heart is big [1, 2, 3, 4]") == []
    (event,) = parser.feed("; the")
    assert isinstance(event, StepRead)
    assert event.step.text == "The heart is big"
    parser.feed(" end </think>. The answer is: \\boxed{Ye")
    assert parser.feed("s.") == [AnswerDelta("s.")]


_HOSTILE = [
    "[",
    "<think>",
    "\\boxed{",
    ". A",
    "1, ",
    "[1, 2, 3, 4]",
    "{",
    "\n1.",
    " ",
    "<",
    "(",
    "([",
    ";[1, 2, 3, 4]",
    "image 2 [1, 2, 3, 4]",
    "The answer is ",
    "[1,",
    "\\",
    "[1, 2, 3, 4], ",
    "a; ",
]


@pytest.mark.parametrize("piece", [*_HOSTILE[:4], " "])
def test_a_megabyte_of_anything_is_read(piece: str) -> None:
    text = "<think>" + piece * (1_000_000 // len(piece))
    assert "think-unclosed" in codes(read(text))


@pytest.mark.parametrize("piece", _HOSTILE)
def test_reading_takes_steps_in_proportion_to_the_text(piece: str) -> None:
    def calls(length: int) -> int:
        made = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            parse_text("<think>" + piece * (length // len(piece)), mode=Mode.THINK, images=2)
        finally:
            sys.setprofile(None)
        return made

    assert calls(16_000) <= 2.5 * calls(8_000) + 1_000


_WORDS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz ABC,", min_size=1, max_size=40).filter(
    lambda text: (
        text.strip(" ,") == text
        and "  " not in text
        and " ," not in text
        and not text.endswith((" at", " in", " on", " by", " see", " box", " with"))
    )
)
_BOX = st.tuples(
    st.integers(0, 100), st.integers(0, 90), st.integers(101, 224), st.integers(91, 196)
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(_WORDS, st.lists(_BOX, max_size=4)), min_size=1, max_size=6),
    st.text(alphabet="abc XYZ.|,{}", min_size=1, max_size=60),
)
def test_what_training_writes_is_what_the_service_reads(
    steps: list[tuple[str, list[tuple[int, ...]]]], answer: str
) -> None:
    if answer.strip() != answer or not answer or not _balanced(answer):
        return
    parsed = read(write_grounded_text(steps, answer))
    assert [(step.text, [box.values for box in step.boxes]) for step in parsed.steps] == steps
    assert parsed.answer == answer
    assert parsed.complete
    assert not parsed.notices


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


@pytest.mark.parametrize(
    ("steps", "answer"),
    [
        ([("One. Two.", [])], "x"),
        ([("a; b", [])], "x"),
        ([("a [1, 2, 3, 4]", [])], "x"),
        ([(" a", [])], "x"),
        ([("", [])], "x"),
        ([("a </think> b", [])], "x"),
        ([("a", [(1, 2, 3)])], "x"),
        ([("a", [(1, 2, 1, 4)])], "x"),
        ([("a", [(1.5, 2, 3, 4)])], "x"),
        ([("a", [])], "x } y"),
        ([("a", [])], "x { y"),
        ([("a", [])], ""),
    ],
)
def test_training_cannot_write_what_would_read_otherwise(
    steps: list[tuple[str, list[tuple[int, ...]]]], answer: str
) -> None:
    with pytest.raises(ValueError, match=r"read back|four numbers|whole numbers|without area"):
        write_grounded_text(steps, answer)


def test_training_cannot_put_a_box_on_an_image_that_its_step_does_not_name() -> None:
    steps = [("There is a mass", [(1, 2, 3, 4)])]
    assert write_grounded_text(steps, "x", images=2, placed=[[0]])
    with pytest.raises(ValueError, match="which image"):
        write_grounded_text(steps, "x", images=2, placed=[[1]])


def test_reasoning_without_steps_can_be_written() -> None:
    assert read(write_grounded_text([], "Frontal")).complete


def test_the_point_of_a_number_that_an_answer_begins_with_is_kept() -> None:
    parsed = parse_text("<think> a </think>\n.5 cm nodule", mode=Mode.THINK)
    assert parsed.answer == ".5 cm nodule"


@pytest.mark.parametrize("answer", ["A", "F", "The", "The answer", "Answer: No"])
def test_a_short_answer_is_shown_as_well(answer: str) -> None:
    parser = StreamParser(mode=Mode.ANSWER)
    said = [event for character in answer for event in parser.feed(character)]
    said += parser.shown_last()
    assert "".join(delta.text for delta in said) == parser.finish("stop").answer
