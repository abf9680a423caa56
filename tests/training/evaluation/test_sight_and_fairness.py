"""A gain that a blank film shares is called that; sub-groups that lie apart are found."""

from dataclasses import replace

import numpy as np
import pytest

from service.reading import Task
from tests.training.small_store import example, right
from training.data.example import Example
from training.evaluation.controls import MAJORITY, Films
from training.evaluation.fairness import gaps_of
from training.evaluation.results import Contender, Results, age_band
from training.evaluation.sight import sight_of
from training.evaluation.tables import grids_of, tables_as_csv
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
    [("0", "0 to 19"), ("63", "60 to 79"), ("063Y", "60 to 79"), ("91", "80 and over"), ("?", "?")],
)
def test_ages_are_banded(age: str, band: str) -> None:
    assert age_band(age) == band


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
