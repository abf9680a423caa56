"""Texts without reasoning, and what can be shown of an answer while it comes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.reading import AnswerDelta, Mode, StepRead, StreamParser, parse_text


@pytest.mark.parametrize(
    ("text", "answer", "flags"),
    [
        ("No effusion.", "No effusion.", []),
        ("The answer is: No effusion.", "No effusion.", []),
        ("The answer is: \\boxed{No.}", "No.", []),
        ("Well, \\boxed{no}", "no", ["text-beside-answer"]),
        ("\\boxed{no", "no", ["answer-unbalanced"]),
        ("At [1, 2, 3, 4]", "At [1, 2, 3, 4]", ["box-in-answer"]),
        ("", "", ["answer-empty"]),
    ],
)
def test_the_text_is_the_answer_or_holds_it(text: str, answer: str, flags: list[str]) -> None:
    parsed = parse_text(text, mode=Mode.ANSWER)
    assert parsed.answer == answer
    assert [notice.code for notice in parsed.notices] == flags
    assert parsed.steps == ()


def test_reasoning_that_was_not_asked_for_is_read_and_flagged() -> None:
    parsed = parse_text("<think>a [1, 2, 3, 4]; b</think> \\boxed{x}", mode=Mode.ANSWER)
    assert [len(step.boxes) for step in parsed.steps] == [1, 0]
    assert parsed.answer == "x"
    assert [notice.code for notice in parsed.notices] == ["think-unexpected"]
    assert parsed.complete


def shown(text: str, mode: Mode, size: int) -> str:
    parser = StreamParser(mode=mode)
    events: list[StepRead | AnswerDelta] = []
    for start in range(0, len(text), size):
        events += parser.feed(text[start : start + size])
    parser.finish("stop")
    return "".join(event.text for event in events if isinstance(event, AnswerDelta))


_ANSWER = st.text(alphabet="xB .,\n", min_size=1, max_size=40).filter(
    lambda text: text.strip(" .,\n") == text
)


@settings(deadline=None)
@given(_ANSWER, st.integers(1, 60), st.sampled_from(["", "The answer is: ", ". The answer is: "]))
def test_the_deltas_of_a_boxed_answer_make_the_answer(answer: str, size: int, before: str) -> None:
    text = f"<think>a</think>{before}\\boxed{{ {answer} }}."
    assert shown(text, Mode.THINK, size) == parse_text(text, mode=Mode.THINK).answer == answer


@settings(deadline=None)
@given(
    _ANSWER,
    st.integers(1, 60),
    st.sampled_from(["{}", "\\boxed{{{}}}", "The answer is: \\boxed{{{}}}"]),
)
def test_the_deltas_of_an_answer_alone_make_the_answer(answer: str, size: int, form: str) -> None:
    text = form.format(answer)
    assert shown(text, Mode.ANSWER, size) == parse_text(text, mode=Mode.ANSWER).answer == answer
