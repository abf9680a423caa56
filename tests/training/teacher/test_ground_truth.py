"""The checks take nothing that is true for false, and little that is false for true.

The CT-derived set words its reasoning from its ground truth. Given as a teacher's reply it must
pass; given for a film with other findings it must not.
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.reading import Mode, Task, write_grounded_text
from training.chat.client import Answer
from training.data.ct_radiographs.examples import question_examples, report_example
from training.data.ct_radiographs.film import FilmFinding
from training.data.ct_radiographs.film import Region as FilmRegion
from training.data.ct_radiographs.generate import FilmRecord
from training.data.example import Example
from training.data.teacher.checks import Bounds, Verdict, judge
from training.data.teacher.reasons import Reason
from training.data.teacher.regions import regions_of
from training.data.teacher.request import Question

STRUCTURES = (
    FilmRegion("heart", (120, 150, 220, 260)),
    FilmRegion("right lung", (20, 30, 120, 280)),
    FilmRegion("left lung", (200, 30, 300, 280)),
)
# Seen from the side, both lungs lie over each other.
LATERAL = (STRUCTURES[0], STRUCTURES[1], FilmRegion("left lung", STRUCTURES[1].box))
KINDS = ("pneumothorax", "pleural effusion", "consolidation", "mass", "nodule")


def finding(kind: str, side: str, place: int) -> FilmFinding:
    left = 25 + 180 * (side == "left") + place
    graded = kind in ("pneumothorax", "pleural effusion")
    return FilmFinding(
        kind,
        side,
        (left, 40 + 3 * place, left + 30, 90 + 3 * place),
        severity="moderate" if graded else None,
        lobe=f"{side} lower lobe" if kind == "consolidation" else None,
        zone="mid" if kind in ("mass", "nodule") else None,
    )


@st.composite
def films(draw: st.DrawFn) -> FilmRecord:
    pairs = draw(st.sets(st.tuples(st.sampled_from(KINDS), st.sampled_from(("left", "right")))))
    found = [finding(kind, side, 7 * n) for n, (kind, side) in enumerate(sorted(pairs))]
    if draw(st.booleans()):
        found.append(FilmFinding("cardiomegaly", None, (118, 148, 222, 262), severity="mild"))
    view = draw(st.sampled_from(("PA", "AP", "LATERAL")))
    places = LATERAL if view == "LATERAL" else STRUCTURES
    return FilmRecord("film", "train", "patient", "f.png", 320, 300, view, places, tuple(found), ())


def traces(film: FilmRecord, seed: int) -> list[Example]:
    asked = [
        report_example(film, task, Mode.THINK, seed=seed)
        for task in (Task.FINDINGS, Task.IMPRESSION)
    ]
    asked += question_examples(film, Mode.THINK, seed=seed, count=6)
    return [example for example in asked if example.steps]


def reply(example: Example) -> str:
    steps = [(step.text, [box for _, box in step.boxes]) for step in example.steps]
    return write_grounded_text(steps, example.answer)


def judged(example: Example, text: str) -> Verdict:
    shown = LATERAL if example.view == "LATERAL" else STRUCTURES
    places = tuple((region.name, region.box) for region in shown)
    asked = replace(example, mode=Mode.ANSWER, steps=(), structures=places)
    question = Question(asked, regions_of(asked), asked.sizes, "", "", 0)
    return judge(question, Answer(text, "stop"), Bounds())


@given(film=films(), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_what_the_ground_truth_says_is_never_taken_for_false(film: FilmRecord, seed: int) -> None:
    for example in traces(film, seed):
        verdict = judged(example, reply(example))
        # "No mass is seen" alone is true, but grounds nothing; what is true may read as the report.
        told = (None, Reason.TOO_SHORT, Reason.NO_BOX, Reason.COPIES)
        assert verdict.reason in told, (verdict, reply(example))


@given(film=films(), other=films(), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_the_reading_of_another_film_is_not_kept(
    film: FilmRecord, other: FilmRecord, seed: int
) -> None:
    other = replace(other, view=film.view)
    mine, theirs = (report_example(f, Task.FINDINGS, Mode.THINK, seed=seed) for f in (film, other))
    if set(mine.labels) == set(theirs.labels):
        return
    assert judged(mine, reply(theirs)).reason is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_denied_in_the_reasoning_and_affirmed_in_the_answer_is_rejected(kind) -> None:
    found = (finding(kind, "left", 0),)
    film = FilmRecord("f", "train", "p", "f.png", 320, 300, "PA", STRUCTURES, found, ())
    example = report_example(film, Task.FINDINGS, Mode.THINK, seed=0)
    text = reply(example).replace(" </think>", f"; there is no left {kind} </think>")
    assert judged(example, text).reason is Reason.CONTRADICTS
