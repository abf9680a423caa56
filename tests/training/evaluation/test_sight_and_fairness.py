"""A gain that a blank film shares is called that; sub-groups that lie apart are found."""

import re
from dataclasses import replace

import numpy as np
import pytest

from service.reading import Task
from tests.training.small_store import example, right
from training.data.example import Example
from training.evaluation.controls import MAJORITY, Films
from training.evaluation.fairness import gaps_of
from training.evaluation.results import Contender, Results, study_of
from training.evaluation.sight import sight_of
from training.evaluation.subgroups import age_group, subgroups_of
from training.evaluation.tables import Grid, grids_of, latex, markdown, tables_as_csv
from training.systems.prediction import PredictedStep, Prediction

ASKED = [example(n, Task.VQA, question_type="presence") for n in range(60)]
NAME = "VQA, normalised"


def answering(example: Example, correct: bool) -> Prediction:
    wrong = "No" if example.answer == "Yes" else "Yes"
    return replace(right(example), answer=example.answer if correct else wrong)


def contender(system: str, shown: Films, share: float, seed: int) -> Contender:
    rng = np.random.default_rng(seed)
    said = [answering(asked, bool(rng.random() < share)) for asked in ASKED]
    return Contender(system, shown, tuple(said))


def results(**shares: tuple[float, float]) -> Results:
    found = []
    for n, (system, (shown, blank)) in enumerate(shares.items()):
        found.append(contender(system, Films.SHOWN, shown, 2 * n))
        found.append(contender(system, Films.BLANK, blank, 2 * n + 1))
    return Results(ASKED, found)


def test_who_does_as_well_on_blank_films_does_not_see() -> None:
    found = results(seeing=(0.95, 0.4), guessing=(0.7, 0.7))
    own = {item.one: item.verdict for item in sight_of(found) if item.blank is None}
    assert own == {"seeing": "seen", "guessing": "none: a blank film does as well"}


def test_a_gain_that_blank_films_share_is_called_shared() -> None:
    (shared,) = [i for i in sight_of(results(a=(0.3, 0.3), b=(0.95, 0.95))) if i.blank]
    assert (shared.one, shared.other) == ("b", "a")
    assert shared.verdict == "shared by blank films"
    (seen,) = [i for i in sight_of(results(a=(0.3, 0.3), b=(0.95, 0.3))) if i.blank]
    assert seen.verdict == "seen"
    (none,) = [i for i in sight_of(results(a=(0.5, 0.5), b=(0.52, 0.5))) if i.blank]
    assert none.verdict == "no sure gain"


def test_the_gap_between_sub_groups_has_an_interval() -> None:
    groups = {
        asked.subject: {"sex": "F" if n % 2 else "M", "age": str(n + 20), "site": "one"}
        for n, asked in enumerate(ASKED)
    }
    said = [answering(asked, n % 2 == 1 or n % 6 == 0) for n, asked in enumerate(ASKED)]
    found = Results(ASKED, [Contender("s", Films.SHOWN, tuple(said))], groups)
    gaps = {(gap.kind, gap.score): gap for gap in gaps_of(found)}
    sex = gaps["sex", NAME]
    assert sex.best == ("sex: F", 1)
    assert sex.worst == ("sex: M", pytest.approx(1 / 3))
    assert sex.value == pytest.approx(2 / 3)
    assert sex.low < sex.value < sex.high
    assert sex.verdict == "apart"
    assert gaps["age", NAME].verdict == ""
    assert ("site", NAME) not in gaps  # there is one only
    assert "Fairness" in " ".join(grid.title for grid in grids_of(found))


@pytest.mark.parametrize(
    ("age", "band"),
    [
        *(("0", "under 18"), ("17.9", "under 18"), ("18", "18 to 39"), ("39.5", "18 to 39")),
        *(("40", "40 to 59"), ("063Y", "60 to 79"), ("91", "80 and over"), ("006M", "under 18")),
        *(("?", "?"), ("inf", "inf"), ("nan", "nan"), ("1e999", "1e999"), ("-3", "-3")),
    ],
)
def test_ages_are_banded(age: str, band: str) -> None:
    assert age_group(age) == band


KNOWN = {"sex": "F", "age": 63.0, "device": "Maker One", "site": "North"}


def test_examples_tell_their_own_sub_groups() -> None:
    assert subgroups_of(example(1), {}) == {"view": "PA"}
    assert subgroups_of(example(1, **KNOWN), {}) == {
        "view": "PA",
        "sex": "F",
        "age": "60 to 79",
        "device": "Maker One",
        "site": "North",
    }


def test_what_the_caller_knows_counts_before_what_the_example_tells() -> None:
    given = {"Sex": "male", "age": "17", "view": "AP supine", "ward": "4", "site": ""}
    assert subgroups_of(example(1, **KNOWN), given) == {
        "view": "AP supine",
        "sex": "M",
        "age": "under 18",
        "device": "Maker One",
        "ward": "4",
    }


def test_fairness_needs_no_table_where_examples_tell() -> None:
    asked = [
        replace(e, sex="F" if n % 2 else "M", device="one" if n < 30 else "two")
        for n, e in enumerate(ASKED)
    ]
    said = [answering(e, n % 2 == 1) for n, e in enumerate(asked)]
    ours = Contender("s", Films.SHOWN, tuple(said))
    gaps = {(g.kind, g.score): g for g in gaps_of(Results(asked, [ours]))}
    assert {kind for kind, _ in gaps} == {"view", "sex", "device"}
    assert (gaps["sex", NAME].best, gaps["sex", NAME].worst) == (("sex: F", 1), ("sex: M", 0))
    assert gaps["device", NAME].value == 0
    given = {e.subject: {"sex": "F" if n % 4 < 2 else "M"} for n, e in enumerate(asked)}
    turned = {(g.kind, g.score): g for g in gaps_of(Results(asked, [ours], given))}
    assert turned["sex", NAME].value == 0


def test_films_of_one_study_are_drawn_together_where_the_source_tells_the_study() -> None:
    alone = [study_of(e) for e in ASKED]
    assert alone == [e.images[0] for e in ASKED]
    assert study_of(replace(ASKED[0], images=(), sizes=())) == ASKED[0].id
    told = [replace(e, study=f"made:{n // 2}") for n, e in enumerate(ASKED)]
    said = tuple(answering(e, n % 4 < 2) for n, e in enumerate(told))
    by_study, by_film = (
        next(r for r in Results(some, [Contender("s", Films.SHOWN, said)]).rows if r.score == NAME)
        for some in (told, ASKED)
    )
    assert (by_study.studies, by_film.studies) == (30, 60)
    assert by_study.value == by_film.value
    assert by_study.high - by_study.low > by_film.high - by_film.low


def test_all_tables_are_written_as_they_stand() -> None:
    found = results(seeing=(0.95, 0.4), other=(0.7, 0.7))
    written = tables_as_csv(grids_of(found))
    for grid in grids_of(found):
        assert grid.title in written
    assert "What sight adds" in written
    assert MAJORITY in written


def test_every_score_of_answers_is_told_by_type_of_question() -> None:
    names = {row.score for row in results(a=(0.5, 0.5)).question_types}
    assert {"VQA, exact", NAME, "VQA, set F1"} <= names


def test_a_box_on_a_film_without_findings_is_one_too_many() -> None:
    from training.evaluation.columns import columns_of

    normal = example(0, regions=(), structures=(("heart", (1, 1, 9, 9)),), answer="Normal.")
    step = PredictedStep("There is a mass.", ((0, (1.0, 1.0, 5.0, 5.0)),))
    said = Prediction("", "", text="...", answer="Mass.", steps=(step,), complete=True)
    columns = columns_of(normal, said)
    assert (columns["boxes"], columns["iou"], columns["said"], columns["true"]) == (1, 0, 1, 0)
    unmarked = replace(normal, structures=())
    assert "boxes" not in columns_of(unmarked, said)


def test_sub_groups_of_one_size_are_drawn_apart() -> None:
    """Two groups that answer alike, study by study: drawn in step their gap would have no width."""
    half = [n for n in range(60) if n % 2 == 0]
    groups = {asked.subject: {"site": "a" if n % 2 else "b"} for n, asked in enumerate(ASKED)}
    correct = {n: bool(np.random.default_rng(n).random() < 0.5) for n in half}
    said = [answering(asked, correct[n - n % 2]) for n, asked in enumerate(ASKED)]
    found = Results(ASKED, [Contender("s", Films.SHOWN, tuple(said))], groups)
    (gap,) = [g for g in gaps_of(found) if (g.kind, g.score) == ("site", NAME)]
    assert gap.value == 0
    assert gap.low < 0 < gap.high


def test_to_leave_steps_out_where_it_is_hard_does_not_raise_coverage() -> None:
    asked = [example(n) for n in range(12)]
    every = [right(e) for e in asked]
    some = [p if n % 2 else replace(p, steps=()) for n, p in enumerate(every)]
    found = Results(
        asked,
        [Contender("all", Films.SHOWN, tuple(every)), Contender("some", Films.SHOWN, tuple(some))],
    )
    name = "findings that a step claims"
    rates = {row.contender: row.value for row in found.rows if row.score == name}
    assert rates["some"] == pytest.approx(rates["all"] / 2)


def test_boxes_of_questions_are_scored_of_those_who_were_asked_to_point() -> None:
    box = (10, 20, 30, 50)
    asked = [
        example(n, Task.VQA, question="What is there?", answer="normal", regions=())
        if n % 4 == 0
        else example(
            n,
            Task.VQA,
            question="What is there?",
            answer="cardiomegaly",
            regions=(("Cardiomegaly", box),),
        )
        for n in range(12)
    ]
    points = [replace(right(e), pointing=True) for e in asked]
    dumb = [replace(p, steps=()) for p in points]
    words = [replace(p, steps=(), pointing=False) for p in points]
    step = PredictedStep("Cardiomegaly.", ((0, tuple(map(float, box))),))
    everywhere = [replace(p, steps=(step,), pointing=False) for p in points]
    said = {"points": points, "dumb": dumb, "words": words, "everywhere": everywhere}
    found = Results(asked, [Contender(name, Films.SHOWN, tuple(p)) for name, p in said.items()])
    rates = {row.contender: row.value for row in found.rows if row.score == "matched IoU"}
    # The film without findings is asked the same: a box on it is one too many.
    assert rates == {"points": 1, "dumb": 0, "everywhere": pytest.approx(9 / 12)}
    (grid,) = [g for g in grids_of(found) if g.title.startswith("Boxes of questions")]
    told = {line[0]: line[2] for line in grid.lines}
    assert told["words"] == "no: its boxes are not scored"
    assert told["points"] == told["dumb"] == told["everywhere"] == "yes"


NASTY = "a|b $x^2_1$ {c} <d> 50% & ~ # \\\\ \n| e"


def test_names_cannot_break_a_table() -> None:
    grid = Grid(NASTY, ("", NASTY), ((NASTY, "1.0"),))
    head, rule, row = markdown([grid]).splitlines()[2:]
    columns = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in (head, rule, row)]
    assert columns == [3, 3, 3]
    body = latex([grid]).split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert not re.search(r"(?<!\\)[$#%_~^<>|]", body)
    assert body.strip().endswith(r"& 1.0 \\")
    assert len(body.strip().splitlines()) == 1
