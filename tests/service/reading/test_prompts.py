"""What the model is asked, and what of a caller's text reaches it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.problem import Problem
from service.reading import (
    SPECIAL_TOKENS,
    BoxSpace,
    ClinicalContext,
    Conventions,
    Mode,
    Prompts,
    Task,
    build_prompt,
    strip_special_tokens,
)

CONVENTIONS = Conventions(box_space=BoxSpace.PROCESSOR)


def test_reasoning_is_asked_for_after_the_question() -> None:
    prompt = build_prompt(CONVENTIONS, Task.VQA, Mode.THINK, question="Is there a mass?")
    assert prompt == f"Is there a mass?\n{CONVENTIONS.prompts.think_instruction}\n"


def test_without_reasoning_the_question_stands_alone() -> None:
    assert build_prompt(CONVENTIONS, Task.VQA, Mode.ANSWER, question="Mass?") == "Mass?"


@pytest.mark.parametrize("task", [Task.FINDINGS, Task.IMPRESSION])
def test_report_sections_are_asked_for_by_name(task: Task) -> None:
    assert f'"{task.upper()}"' in build_prompt(CONVENTIONS, task, Mode.ANSWER)


def test_what_the_caller_knows_comes_first() -> None:
    context = ClinicalContext(indication="Cough<|im_end|>", prior_report="Normal.")
    prompt = build_prompt(CONVENTIONS, Task.FINDINGS, Mode.ANSWER, context=context)
    assert prompt.startswith("Indication: Cough\nPrior report: Normal.\nPlease")


_PIECES = st.sampled_from(
    ["<|", "|>", "im_", "end", "im_end", "<think>", "</thi", "nk>", "a", *SPECIAL_TOKENS]
)


@given(st.lists(_PIECES, max_size=20).map("".join))
def test_no_special_token_survives_whatever_is_put_around_it(text: str) -> None:
    cleaned = strip_special_tokens(text)
    assert not any(token in cleaned for token in (*SPECIAL_TOKENS, "<think>", "</think>"))
    assert strip_special_tokens(cleaned) == cleaned


def test_what_is_removed_cannot_leave_a_token_behind_or_take_long() -> None:
    deep = "<|" * 200_000 + "|>" * 200_000
    assert strip_special_tokens(f"a{deep}b") == "ab"
    assert strip_special_tokens("<|im_<|im_end|>end|>") == ""
    assert strip_special_tokens("<th</think>ink> a < think > b") == " a  b"
    assert strip_special_tokens("size <3 | >2 <|") == "size <3 | >2 <|"


def test_a_callers_text_holds_nothing_that_a_tokenizer_cannot_take() -> None:
    asked = "Mass?\x00 <\x00|im_end|>\ud800<think>"
    prompt = build_prompt(CONVENTIONS, Task.VQA, Mode.ANSWER, question=asked)
    assert prompt == "Mass? \ufffd"
    prompt.encode()


@pytest.mark.parametrize("question", [None, "", " \n", "<|im_end|>", "\x00"])
def test_a_question_without_words_is_refused(question: str | None) -> None:
    with pytest.raises(Problem) as raised:
        build_prompt(CONVENTIONS, Task.VQA, Mode.ANSWER, question=question)
    assert (raised.value.code, raised.value.status) == ("invalid-field", 422)


@pytest.mark.parametrize("images", [1, 2, 3, 4])
def test_one_to_four_images_are_asked_about_alike(images: int) -> None:
    one = build_prompt(CONVENTIONS, Task.FINDINGS, Mode.THINK)
    assert build_prompt(CONVENTIONS, Task.FINDINGS, Mode.THINK, images=images) == one


@pytest.mark.parametrize("images", [0, 5])
def test_other_numbers_of_images_are_refused(images: int) -> None:
    with pytest.raises(ValueError, match="images"):
        build_prompt(CONVENTIONS, Task.FINDINGS, Mode.THINK, images=images)


def test_all_context_stands_in_order_in_the_templates_of_the_manifest() -> None:
    conventions = Conventions(
        box_space=BoxSpace.PROCESSOR, prompts=Prompts(indication="Why: {text}!", findings="Read.")
    )
    context = ClinicalContext("{text}", "PA", "None", " \n")
    prompt = build_prompt(conventions, Task.FINDINGS, Mode.ANSWER, context=context)
    assert prompt == "Why: {text}!\nTechnique: PA\nComparison: None\nRead."


@pytest.mark.parametrize(
    "wrong",
    [{"indication": "no place"}, {"findings": " "}, {"technique": "{text} {text}"}, {"vqa": "x"}],
)
def test_prompts_that_cannot_be_used_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Prompts.model_validate(wrong)


def test_only_prompts_can_be_guessed() -> None:
    with pytest.raises(ValidationError):
        Conventions(box_space=BoxSpace.PROCESSOR, guessed=("temperature",))
