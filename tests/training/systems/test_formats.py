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


HUGE = '[{{"bbox_2d": [{0}, 1, 2, 3], "box_2d": [{0}, 1, 2, 3]}}] [{0}, 1, 2, 3]'.format("9" * 400)


@pytest.mark.parametrize("name", BASELINES)
@given(
    text=st.text(max_size=200) | st.sampled_from([MAIRA, "[[", '[{"bbox_2d": 1}]', "<think>", HUGE])
)
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


def test_a_box_that_stands_alone_is_a_box_and_no_part_of_the_answer() -> None:
    said = read("qwen2.5-vl", 'Large heart. {"bbox_2d": [40, 20, 80, 100], "label": "heart"}')
    assert said.answer == "Large heart."
    assert [step.boxes for step in said.steps] == [((0, (200, 100, 400, 500)),)]


ONE = '{"bbox_2d": [40, 20, 80, 100], "label": "heart"}'


@given(cut=st.integers(min_value=1, max_value=2 * len(ONE) + 3), fenced=st.booleans())
def test_wherever_a_list_is_cut_off_its_whole_boxes_count_and_it_is_said(
    cut: int, fenced: bool
) -> None:
    whole = f"[{ONE}, {ONE}]"
    text = "Large heart." + ("\n```json\n" if fenced else "\n") + whole[: len(whole) - cut]
    said = read("qwen2.5-vl", text)
    assert len(said.steps) == whole[: len(whole) - cut].count('"heart"}')
    if len(whole) - cut > 12:  # enough of it to be known by
        assert said.answer == "Large heart."
        assert "boxes-cut-off" in said.notices
        assert not said.complete


@pytest.mark.parametrize(
    ("box", "placed", "notices"),
    [
        ([40, 20, 80, 100], (200, 100, 400, 500), ()),
        ([80, 100, 40, 20], (200, 100, 400, 500), ("box-inverted",)),
        ([40, 20, 800, 100], (200, 100, 2000, 500), ("box-clipped",)),
        ([-5, 100, 40, 20], (0, 100, 200, 500), ("box-inverted", "box-clipped")),
    ],
)
def test_a_box_that_is_mended_is_noted(box, placed, notices) -> None:
    said = read("qwen2.5-vl", json.dumps([{"bbox_2d": box, "label": "heart"}]))
    assert said.steps[0].boxes == ((0, placed),)
    assert said.notices == notices
    thought = read("qwen2.5-vl-thinking", f"<think>Here {box}.</think> Yes", Task.VQA)
    assert thought.steps[0].boxes == ((0, placed),)
    assert thought.notices == notices


@pytest.mark.parametrize("box", [[10**400, 0, 1, 1], [True, 0, 1, 1], [1, 2, 3]])
def test_what_is_no_box_is_noted(box) -> None:
    said = read("qwen2.5-vl", json.dumps([{"bbox_2d": box, "label": "heart"}]))
    assert (said.steps, said.notices) == ((), ("box-malformed",))


def test_of_two_marked_answers_the_last_counts() -> None:
    two = "<think>so</think> At first \\boxed{No}, but it is \\boxed{\\text{Yes}}."
    assert read("qwen2.5-vl-thinking", two, Task.VQA).answer == "\\text{Yes}"


def test_thoughts_that_never_end_are_no_answer() -> None:
    said = read("qwen2.5-vl-thinking", "<think>Yes, there is an effusion.", Task.VQA)
    assert said.answer == ""
    assert said.notices == ("think-unclosed",)
    assert [step.text for step in said.steps] == ["Yes, there is an effusion."]


@given(
    st.tuples(*[st.integers(0, 99)] * 4),
    st.integers(1, 3000),
    st.integers(1, 3000),
)
def test_maira_2s_bins_are_read_as_its_own_processor_reads_them(bins, width, height) -> None:
    """The processor's rules: the middle of a bin; the crop's offset a whole number of pixels."""
    film = Shown(width, height, width, height)
    x0, x1 = sorted(bins[::2])
    y0, y1 = sorted(bins[1::2])
    text = f"<obj>Effusion.<box><x{x0}><y{y0}><x{x1}><y{y1}></box></obj>"
    (step,) = BASELINES["maira-2"].read(text, example(), [film]).steps
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    middles = [(n + 0.5) / 100 * side for n in (x0, y0, x1, y1)]
    wanted = [m + offset for m, offset in zip(middles, (left, top, left, top), strict=True)]
    assert step.boxes[0][1] == pytest.approx(wanted)


def test_a_bin_that_maira_2_has_not_is_no_box() -> None:
    said = read("maira-2", "<obj>Effusion.<box><x0><y0><x100><y99></box></obj>")
    assert (said.steps[0].boxes, said.notices) == ((), ("box-malformed",))
