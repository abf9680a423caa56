"""A good reply is kept with the supplied boxes; every fault rejects one, with its reason."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.reading import Task
from tests.training.teacher.conftest import HEART, LEFT, RIGHT, example, good_reply
from training.chat.client import Answer
from training.data.example import Example, ReasoningTarget
from training.data.teacher.agreement import answers_agree
from training.data.teacher.checks import Bounds, Verdict, judge
from training.data.teacher.naming import named_in
from training.data.teacher.reasons import Reason
from training.data.teacher.regions import Region
from training.data.teacher.request import Asking, ask_about

REPORT = {
    "task": Task.FINDINGS,
    "question": None,
    "question_type": None,
    "answer": "The heart is normal in size. There is a left pleural effusion. No pneumothorax.",
}


def reply(*steps: str, answer: str = "Yes") -> str:
    return f"<think> {'; '.join(steps)} </think>. The answer is: \\boxed{{{answer}}}"


def judged(
    asking: Asking,
    films: Path,
    text: str,
    asked: Example | None = None,
    finish: str = "stop",
    **bounds: Any,
) -> Verdict:
    question = ask_about(asked or example(), asking, films)
    return judge(question, Answer(text, finish), Bounds(**bounds))


def test_a_good_reply_becomes_an_example_with_the_supplied_boxes(asking, films) -> None:
    verdict = judged(asking, films, good_reply().replace("[10, 60,", "[10, 61,"))
    assert verdict.reason is None
    kept = verdict.example
    assert kept is not None
    assert kept.answer == "Yes"
    assert kept.mode == "think"
    assert kept.steps == (
        ReasoningTarget("The heart is normal in size", ((0, HEART),)),
        ReasoningTarget("the right lung is clear", ((0, RIGHT),)),
        ReasoningTarget("there is a left pleural effusion", ((0, LEFT),)),
    )


HEART_SEEN = f"The heart is normal in size {list(HEART)}"
EFFUSION = f"there is a left pleural effusion {list(LEFT)}"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason.NOT_PARSED, "There is an effusion, so yes."),
        (Reason.NOT_PARSED, f"<think> {EFFUSION} The answer is: \\boxed{{Yes}}"),
        (Reason.NOT_PARSED, f"Sure! <think> {EFFUSION} </think>. The answer is: \\boxed{{Yes}}"),
        (Reason.NOT_PARSED, reply(HEART_SEEN, EFFUSION) + " I hope this helps."),
        (Reason.NOT_PARSED, reply(HEART_SEEN, EFFUSION, answer="")),
        (Reason.TOO_FEW_STEPS, reply(EFFUSION)),
        (Reason.TOO_MANY_STEPS, reply(*(f"{EFFUSION} number {n}" for n in range(9)))),
        (Reason.TOO_SHORT, reply(f"heart {list(HEART)}", f"left lung {list(LEFT)}")),
        (Reason.TOO_LONG, reply(HEART_SEEN, EFFUSION + " and" + " so on" * 40)),
        (Reason.REPEATS, reply(HEART_SEEN, EFFUSION, EFFUSION)),
        (Reason.LEAKS, reply(HEART_SEEN, f"the report says that {EFFUSION}")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "this agrees with the known answer")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "as stated in the reference it is so")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "the listed regions leave no doubt")),
        (Reason.LEAKS, reply(HEART_SEEN, f"since the answer is yes, {EFFUSION}")),
        (Reason.LEAKS, reply(HEART_SEEN, f"as we were told, {EFFUSION}")),
        (Reason.LEAKS, reply(HEART_SEEN, f"the radiologist noted that {EFFUSION}")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "Answer: left")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "the correct response is left")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "we already know it is left")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "the effusion is known to be left")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "the expected result is yes")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "the diagnosis given is effusion")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "the given label is effusion")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "as shown in the box provided")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "as the findings section has it")),
        (Reason.LEAKS, reply(HEART_SEEN, EFFUSION, "the text mentions effusion")),
        (Reason.PRIOR_WORDS, reply(HEART_SEEN, EFFUSION, "the heart is larger than before")),
        (Reason.PRIOR_WORDS, reply(HEART_SEEN, EFFUSION, "more fluid compared to last time")),
        (Reason.PRIOR_WORDS, reply(HEART_SEEN, f"unchanged, {EFFUSION}")),
        (Reason.PRIOR_WORDS, reply(HEART_SEEN, f"since the last film {EFFUSION}")),
        (Reason.BOX_MALFORMED, reply(HEART_SEEN, "there is a left pleural effusion [1, 2, 3]")),
        (Reason.BOX_MALFORMED, reply(HEART_SEEN, "a left pleural effusion [52, 90, 30, 10]")),
        (Reason.BOX_MALFORMED, reply(HEART_SEEN, "a left pleural effusion [30, 10, 52, 900]")),
        (Reason.BOX_UNKNOWN, reply(HEART_SEEN, "there is a left pleural effusion [1, 2, 30, 40]")),
        (Reason.NO_BOX, reply("The heart is normal in size", "there is a left pleural effusion")),
        (Reason.NOT_NAMED, reply(HEART_SEEN, f"fluid is seen here {list(LEFT)}")),
        (
            Reason.WRONG_REGION,
            reply(HEART_SEEN, f"the right lung is hazy at the base {list(LEFT)}"),
        ),
        (Reason.ANSWER, reply(HEART_SEEN, EFFUSION, answer="No")),
        (Reason.CONTRADICTS, reply(HEART_SEEN, EFFUSION, "no left pleural effusion is seen")),
        (Reason.CONTRADICTS, reply(HEART_SEEN, f"no left pleural effusion is seen {list(LEFT)}")),
        (Reason.NOT_KNOWN, reply(HEART_SEEN, EFFUSION, "there is a pneumothorax")),
    ],
)
def test_a_faulty_reply_is_rejected_with_its_reason(asking, films, reason: Reason, text) -> None:
    verdict = judged(asking, films, text, fewest=2, most=8)
    assert (verdict.reason, verdict.example) == (reason, None), verdict.detail


@pytest.mark.parametrize(
    "leak",
    [
        "the impression says effusion",
        "the findings mention an effusion",
        "there is fluid, as described in the findings",
        "the correct option is left",
        "the gold label is effusion",
        "the target is effusion",
        "this matches the expected",
        "the response must be left",
        "we need to conclude that it is left",
        "the user wants the side",
        "the bounding-box shows fluid",
        "the region list includes the left lung",
        "the region is labelled as effusion",
        "the marked region corresponds to fluid",
        "the doctor's note mentions fluid",
        "ANSWER - yes",
    ],
)
def test_what_betrays_that_the_answer_was_known_is_rejected(asking, films, leak: str) -> None:
    verdict = judged(asking, films, reply(HEART_SEEN, EFFUSION, leak))
    assert verdict.reason is Reason.LEAKS, (verdict.reason, verdict.detail)


@pytest.mark.parametrize(
    "said",
    [
        "the findings are consistent with fluid",
        "these findings suggest fluid at the base",
        "the finding is best seen at the base",
        "the target lesion lies below",
        "a marked area of haze lies above it",
        "the marked haze at the base is fluid",
        "the tip matches the expected position",
        "the region is marked by haze",
        "note the meniscus at the base",
        "of note, the angle is blunted",
        "the impression of the aorta is seen",
        "this response of the lung needs to be told from collapse",
        "we conclude that fluid lies at the base",
        "the left angle reads as blunt",
        "the lungs are expanded as expected",
        "one should say left from right by the stomach",
    ],
)
def test_ordinary_words_of_radiology_betray_nothing(asking, films, said: str) -> None:
    verdict = judged(asking, films, reply(HEART_SEEN, EFFUSION, said))
    assert verdict.reason is None, (verdict.reason, verdict.detail)


def test_a_reply_that_was_cut_off_is_rejected_even_where_it_parses(asking, films) -> None:
    assert judged(asking, films, good_reply(), finish="length").reason is Reason.CUT_OFF


def test_of_two_films_the_teacher_is_told_which_is_which(asking, films) -> None:
    pair = example(images=("0.png", "1.png"), sizes=((56, 112), (56, 112)))
    prior = ask_about(replace(pair, roles=("current", "prior")), asking, films).text
    lateral = ask_about(replace(pair, roles=("current", "lateral")), asking, films).text
    assert "earlier film is image 2" in prior
    assert "no earlier film" in lateral
    for text in (prior, lateral):
        assert "which image it is about" in text
        assert f"image 1, heart: {list(HEART)}" in text
    assert "which image" not in ask_about(example(), asking, films).text


@pytest.mark.parametrize("roles", [("current", "lateral"), ()])
def test_an_earlier_report_without_its_film_is_no_film(asking, films, roles) -> None:
    pair = example(
        images=("0.png", "1.png"),
        sizes=((56, 112), (56, 112)),
        roles=roles,
        prior_report="A small effusion.",
    )
    text = ask_about(pair, asking, films).text
    assert "earlier film is image" not in text
    assert "An earlier report is given" in text
    compared = replace(pair, roles=(), question_type="comparison")
    assert "earlier film is image 2" in ask_about(compared, asking, films).text


def test_without_pictures_equal_questions_on_other_films_are_others(asking, films) -> None:
    blind = replace(asking, pictures=False)
    one, same, other = (
        ask_about(example(n, id=name), blind, films).key
        for n, name in ((0, "a"), (0, "b"), (1, "c"))
    )
    assert one == same
    assert one != other


def test_words_of_change_are_allowed_where_there_is_an_earlier_film(asking, films) -> None:
    pair = example(
        images=("0.png", "1.png"),
        sizes=((56, 112), (56, 112)),
        roles=("current", "prior"),
        answer="Larger",
        question="Is the left pleural effusion larger, smaller or unchanged?",
        regions_by_image=((("left pleural effusion", LEFT),), (("left pleural effusion", HEART),)),
    )
    text = reply(
        f"Image 1 shows the left pleural effusion {list(LEFT)}",
        f"on image 2 the left pleural effusion was small {list(HEART)}",
        "it has increased since the prior film",
        answer="Larger",
    )
    verdict = judged(asking, films, text, pair)
    assert verdict.example is not None, (verdict.reason, verdict.detail)
    assert verdict.example.steps[1].boxes == ((1, HEART),)
    alone = replace(pair, images=("0.png",), sizes=((56, 112),), roles=(), regions_by_image=())
    assert (
        judged(
            asking, films, reply(HEART_SEEN, EFFUSION, "it is larger than on the prior film"), alone
        ).reason
        is Reason.PRIOR_WORDS
    )


def test_report_sections_agree_when_they_affirm_the_same_on_the_same_sides(asking, films) -> None:
    asked = example(**REPORT)
    same = "Heart size is normal. Left pleural effusion is present. There is no pneumothorax."
    verdict = judged(asking, films, reply(HEART_SEEN, EFFUSION, answer=same), asked)
    assert verdict.example is not None, (verdict.reason, verdict.detail)
    assert verdict.example.answer == REPORT["answer"]
    for other in ("The heart is normal.", "There is a right pleural effusion.", "Enlarged heart."):
        text = reply(HEART_SEEN, EFFUSION, answer=other)
        assert judged(asking, films, text, asked).reason is Reason.ANSWER


@pytest.mark.parametrize(
    ("known", "said", "agree"),
    [
        ("Yes", "yes.", True),
        ("Yes", "Yes, there is an effusion", True),
        ("Yes", "No, there is none", False),
        ("Yes", "It may be", False),
        ("Yes", "Yes. No.", False),
        ("Yes", "Yes, but actually no", False),
        ("Yes", "Yes, absent", False),
        ("No", "I cannot tell", False),
        ("No", "", False),
        ("Mass | Pleural effusion", "pleural effusion and mass", True),
        ("Mass | Pleural effusion", "Mass", False),
        ("Left lower lobe", "the left lower lobe.", True),
        ("Left lower lobe", "right lower lobe", False),
        ("Both", "bilateral", True),
        ("None", "none", True),
    ],
)
def test_answers_to_questions_agree_in_their_items(known: str, said: str, agree: bool) -> None:
    assert answers_agree(example(answer=known), said) is agree


def test_steps_may_not_contradict_a_negative_answer(asking, films) -> None:
    asked = example(answer="No", labels=(), regions=())
    text = reply(HEART_SEEN, f"the left lung shows a pleural effusion {list(LEFT)}", answer="No")
    assert judged(asking, films, text, asked).reason is Reason.CONTRADICTS


def test_where_no_regions_are_supplied_none_need_be_cited(asking, films) -> None:
    asked = example(
        question="Which view is this?", answer="Frontal", labels=(), regions=(), structures=()
    )
    text = reply("both lungs lie side by side", "the heart lies between them", answer="Frontal")
    assert judged(asking, films, text, asked).reason is None
    cited = reply("both lungs lie side by side", HEART_SEEN, answer="Frontal")
    assert judged(asking, films, cited, asked).reason is Reason.BOX_UNKNOWN


@pytest.mark.parametrize("box", [(1000, 1500, 1015, 1515), (1003, 1501, 1012, 1509)])
def test_a_small_box_copied_from_the_picture_is_the_supplied_one(
    conventions, films, box: tuple[int, int, int, int]
) -> None:
    asked = example(sizes=((2544, 3056),), regions=(("left pleural effusion", box),), structures=())
    question = ask_about(asked, Asking("teacher", conventions), films)
    (shown,) = re.findall(r"effusion: (\[.*\])", question.text)
    text = reply(f"there is a left pleural effusion {shown}")
    kept = judge(question, Answer(text, "stop"), Bounds()).example
    assert kept is not None
    assert kept.steps == (ReasoningTarget("there is a left pleural effusion", ((0, box),)),)
    x0, y0, x1, y1 = json.loads(shown)
    beside = reply(f"there is a left pleural effusion {[x0 + 2, y0, x1 + 2, y1]}")
    assert judge(question, Answer(beside, "stop"), Bounds()).reason is Reason.BOX_UNKNOWN


@given(text=st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_text_breaks_the_checks(asking, films, text: str) -> None:
    verdict = judged(asking, films, text)
    assert (verdict.example is None) != (verdict.reason is None)


def test_a_sentence_of_the_report_may_be_worded_otherwise(asking, films) -> None:
    asked = example(
        regions=(),
        structures=(),
        grounded_sentences=(
            ReasoningTarget("A moderate left pleural effusion layers at the base.", ((0, LEFT),)),
        ),
    )
    near = reply(f"a left pleural effusion is seen at the base of the lung {list(LEFT)}")
    assert judged(asking, films, near, asked).reason is None
    for far in ("a right pleural effusion is seen at the base", "the left lung is hazy below"):
        text = reply(f"{far} {list(LEFT)}")
        assert judged(asking, films, text, asked).reason is Reason.NOT_NAMED


@pytest.mark.parametrize(
    ("text", "label", "named"),
    [
        ("The cardiac silhouette is enlarged", "heart", True),
        ("Both lungs are clear", "left lung", True),
        ("The right lung is clear", "left lung", False),
        ("The costophrenic angles are sharp", "left costophrenic angle", True),
        ("The lungs are clear", "left lung", True),
        ("The right lung and its vessels are clear", "left lung", False),
        ("There are multiple masses in the left lung", "left mass", True),
        ("There is a large left effusion", "left pleural effusion", True),
        ("There is a pericardial effusion", "pleural effusion", False),
        ("The left costophrenic sulcus is sharp", "left costophrenic angle", True),
        ("The left lower lobe", "left lower lung zone", False),
    ],
)
def test_a_region_is_named_by_all_words_of_its_label(text: str, label: str, named: bool) -> None:
    assert bool(named_in(text, [Region(0, label, (0, 0, 1, 1))])) is named


LONG = (
    "The heart is mildly enlarged with a prominent left ventricular contour. There is a moderate "
    "left pleural effusion that blunts the costophrenic angle. No pneumothorax."
)
COPIED = (
    f"The heart is mildly enlarged with a prominent left ventricular contour {list(HEART)}",
    f"There is a moderate left pleural effusion that blunts the costophrenic angle {list(LEFT)}",
)
OWN_WORDS = (
    f"The heart takes up more than half of the chest {list(HEART)}",
    f"Fluid rises along the chest wall, which is a left pleural effusion {list(LEFT)}",
)


def test_steps_that_are_the_report_over_again_are_rejected(asking, films) -> None:
    asked = example(**{**REPORT, "answer": LONG})
    assert judged(asking, films, reply(*COPIED, answer=LONG), asked).reason is Reason.COPIES
    verdict = judged(asking, films, reply(*OWN_WORDS, answer=LONG), asked)
    assert verdict.example is not None, (verdict.reason, verdict.detail)


def test_steps_of_a_question_do_not_copy_the_films_report_either(asking, films) -> None:
    asked = example(findings=LONG)
    assert judged(asking, films, reply(*COPIED), asked).reason is Reason.COPIES


@pytest.mark.parametrize("marked", [False, True])
def test_the_report_is_copied_though_its_sentences_are_supplied(asking, films, marked) -> None:
    boxes = (HEART, LEFT)
    said = [step.split(" [")[0] for step in COPIED]
    sentences = tuple(
        ReasoningTarget(text, ((0, box),)) for text, box in zip(said, boxes, strict=True)
    )
    # A finding without a label goes by its sentence.
    regions = tuple(zip(said, boxes, strict=True)) if marked else ()
    asked = example(
        **{**REPORT, "answer": LONG}, grounded_sentences=sentences, regions=regions, structures=()
    )
    verdict = judged(asking, films, reply(*COPIED, answer=LONG), asked)
    assert verdict.reason is Reason.COPIES
    assert "words of your own" in ask_about(asked, asking, films).text


def test_the_name_of_a_supplied_region_may_be_used_however_long(asking, films) -> None:
    name = "left ventricular contour of the heart that is mildly enlarged"
    long = f"There is a {name}. There is a left pleural effusion."
    asked = example(**{**REPORT, "answer": long}, regions=((name, HEART), ("left lung", LEFT)))
    steps = (f"Below lies the {name} {list(HEART)}", EFFUSION)
    verdict = judged(asking, films, reply(*steps, answer=long), asked)
    assert verdict.reason is not Reason.COPIES


def test_what_stands_behind_a_box_names_it_where_nothing_before_does(asking, films) -> None:
    text = reply(HEART_SEEN, f"at the left base {list(LEFT)} there is a left pleural effusion")
    assert judged(asking, films, text, example()).reason is None
