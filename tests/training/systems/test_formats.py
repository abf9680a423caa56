"""What other models write, in their own forms, is read, and boxes come to original pixels."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reading import Mode, Task
from training.data.example import Example
from training.systems.baselines import BASELINES
from training.systems.formats import Shown

# A film of 2000 x 1000 pixels, sent as a picture of 400 x 200.
FILM = Shown(2000, 1000, 400, 200)


def example(task: Task = Task.FINDINGS, question: str | None = None) -> Example:
    return Example(
        id="e",
        images=("film.png",),
        sizes=((FILM.width, FILM.height),),
        task=task,
        mode=Mode.ANSWER,
        answer="",
        steps=(),
        split="test",
        subject="s",
        view="PA",
        question=question,
    )


def read(name: str, text: str, task: Task = Task.FINDINGS):
    question = "Is there an effusion?" if task is Task.VQA else None
    return BASELINES[name].read(text, example(task, question), [FILM])


def test_qwen_writes_pixels_of_its_picture_as_fenced_json() -> None:
    said = read(
        "qwen2.5-vl",
        "There is an effusion.\n```json\n"
        '[{"bbox_2d": [40, 20, 80, 100], "label": "effusion"}]\n```',
    )
    assert said.answer == "There is an effusion."
    assert [(step.text, step.boxes) for step in said.steps] == [
        ("effusion", ((0, (200, 100, 400, 500)),))
    ]


def test_qwen_thinking_has_its_boxes_among_the_thoughts() -> None:
    said = read(
        "qwen2.5-vl-thinking",
        "<think>The left base is white [40, 20, 80, 100]. The heart is normal.</think>\n"
        "<answer>Yes</answer>",
        Task.VQA,
    )
    assert said.answer == "Yes"
    assert said.complete
    assert [step.text for step in said.steps] == [
        "The left base is white.",
        "The heart is normal.",
    ]
    assert said.steps[0].boxes == ((0, (200, 100, 400, 500)),)


@pytest.mark.parametrize(
    "rest", ["\\boxed{Yes}", "The answer is: Yes", "Final answer: Yes", "<answer>Yes"]
)
def test_a_thinkers_answer_is_found_however_it_is_marked(rest: str) -> None:
    assert read("qwen2.5-vl-thinking", f"<think>so</think> {rest}", Task.VQA).answer == "Yes"


def test_thoughts_that_never_end_are_not_complete() -> None:
    said = read("qwen2.5-vl-thinking", "<think>The left base", Task.VQA)
    assert not said.complete


def test_medgemma_writes_headings_of_which_one_is_asked_for() -> None:
    said = read(
        "medgemma",
        "Here is the report:\n\n**Findings:**\n* The heart is enlarged.\n* Lungs are clear.\n\n"
        "**Impression:**\nCardiomegaly.",
    )
    assert said.answer == "The heart is enlarged. Lungs are clear."
    assert read("medgemma", "**No**", Task.VQA).answer == "No"


def test_medgemma_writes_rows_before_columns_in_thousandths() -> None:
    said = read("medgemma-boxes", 'Here: [{"box_2d": [100, 200, 500, 400], "label": "heart"}]')
    assert said.steps[0].boxes == ((0, (400, 100, 800, 500)),)


def test_chexagent_refers_in_hundredths() -> None:
    said = read("chexagent", "There is <|ref|>a nodule<|/ref|><|box|>(25,40),(60,70)<|/box|>.")
    assert said.answer == "There is a nodule."
    assert said.steps[0].text == "a nodule"
    assert said.steps[0].boxes == ((0, (500, 400, 1200, 700)),)


def test_deepseek_vl2_refers_in_parts_of_999() -> None:
    said = read("deepseek-vl2", "<|ref|>effusion<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>")
    assert said.steps[0].boxes == ((0, (0, 0, 2000, 1000)),)


MAIRA = (
    "<obj> Small left effusion. <box><x60><y50><x99><y99></box></obj><obj> Heart is normal. </obj>"
)
# As Microsoft's processor converts it: the middle of each of a hundred bins.
MAIRA_READ = [["Small left effusion.", [[0.605, 0.505, 0.995, 0.995]]], ["Heart is normal.", None]]


@pytest.mark.parametrize("text", [MAIRA, json.dumps(MAIRA_READ)])
def test_maira_2_writes_fractions_of_the_central_square(text: str) -> None:
    said = read("maira-2", text)
    assert said.answer == "Small left effusion. Heart is normal."
    # The square is the 1000 columns from 500 on.
    assert said.steps[0].boxes == ((0, pytest.approx((1105, 505, 1495, 995))),)
    assert said.steps[1].boxes == ()


@pytest.mark.parametrize("name", ["plain", "llava-rad", "huatuogpt-vision", "deepseek-vl"])
def test_others_write_the_answer_alone(name: str) -> None:
    said = read(name, " No acute findings.\n")
    assert said.answer == "No acute findings."
    assert said.steps == ()


@pytest.mark.parametrize("name", BASELINES)
@given(text=st.text(max_size=200) | st.sampled_from([MAIRA, "[[", '[{"bbox_2d": 1}]', "<think>"]))
def test_nothing_that_a_model_writes_raises(name: str, text: str) -> None:
    for task in (Task.FINDINGS, Task.VQA):
        said = read(name, text, task)
        for step in said.steps:
            for _, (x0, y0, x1, y1) in step.boxes:
                assert 0 <= x0 <= x1 <= FILM.width
                assert 0 <= y0 <= y1 <= FILM.height


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_words_each_task_with_the_question_and_the_context(name: str) -> None:
    asked = BASELINES[name].prompt(example(Task.VQA, "Is there a {brace}?"))
    assert "Is there a {brace}?" in asked
    from dataclasses import replace

    told = replace(example(), indication="Cough.")
    assert "Indication: Cough." in BASELINES[name].prompt(told)
