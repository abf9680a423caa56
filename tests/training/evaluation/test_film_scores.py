"""Labels, matching and intervals."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.reading import GroundedBox, Mode, Reading, ReasoningStep, Task
from tests.training.small_store import SIZE, example
from training.data.ct_radiographs.examples import report_example
from training.data.ct_radiographs.film import FilmFinding, Region
from training.data.ct_radiographs.generate import FilmRecord
from training.evaluation import ablation
from training.evaluation.ablation import Contestant, Measured, run_ablation, write_ablation
from training.evaluation.controls import Films, FilmViewer, exchanged, films_by_patient
from training.evaluation.figures import Figure, difference, figures_of, summarise
from training.evaluation.film_score import (
    FilmScore,
    read_scores,
    same_answer,
    score_report,
    write_scores,
)
from training.evaluation.intervals import bootstrap_interval
from training.evaluation.overlap import average_precision, box_iou, matched_overlaps
from training.evaluation.wording import meteor, rouge_l
from training.labels import finding_labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("There is a moderate left pleural effusion. No pneumothorax.", {"left pleural effusion"}),
        ("Bilateral pleural effusions.", {"left pleural effusion", "right pleural effusion"}),
        ("The cardiac silhouette is enlarged.", {"cardiomegaly"}),
        ("The heart is normal in size. No effusion or mass.", set()),
        ("Multiple masses in the right lung.", {"right mass"}),
        ("Consolidation in the right middle lobe; without nodule.", {"right consolidation"}),
        ("A nodule.", {"nodule"}),
        ("", set()),
    ],
)
def test_findings_are_read_off_with_side_and_negation(text: str, labels: set[str]) -> None:
    assert finding_labels(text) == labels


def test_boxes_are_matched_one_to_one_and_extra_ones_cost() -> None:
    a, b = (0, 0, 10, 10), (20, 20, 40, 40)
    assert matched_overlaps([a, b], [b, a]) == [1, 1]
    assert matched_overlaps([a], [a, b]) == [1, 0]
    assert matched_overlaps([a, b], [a]) == [1, 0]
    assert matched_overlaps([], []) == []
    assert box_iou(a, (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert box_iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0


def test_answers_are_equal_as_sets_ignoring_case_and_stops() -> None:
    assert same_answer("Yes.", "yes")
    assert same_answer("Mass | nodule", "Nodule | Mass")
    assert not same_answer("Left", "Right")


def test_the_interval_covers_the_mean_of_many_draws() -> None:
    values = np.random.default_rng(0).normal(5, 1, 400).tolist()
    low, high = bootstrap_interval(values, lambda some: float(np.mean(some)))
    assert low < 5 < high
    assert high - low < 0.3


def test_boxes_without_scores_have_one_step_of_precision_over_recall() -> None:
    assert average_precision(2, 4, 2) == pytest.approx(0.5)
    assert average_precision(0, 0, 3) == 0
    assert np.isnan(average_precision(0, 2, 0))


def test_words_in_common_raise_both_overlaps() -> None:
    reference = "The heart is enlarged. No pleural effusion."
    for overlap in (rouge_l, meteor):
        assert overlap(reference, reference) > 0.99
        assert overlap("The heart is enlarged.", reference) > overlap("A mass.", reference)
        assert overlap("", reference) == 0


def test_controls_show_a_blank_or_another_patients_film(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [f"{n}.png" for n in range(8)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (30, 20), dtype=np.uint8)).save(tmp_path / path)

    def seen(shown: Films) -> list[bytes]:
        look = FilmViewer(tmp_path, paths, shown)
        return [look(path) for path in paths]

    films = seen(Films.SHOWN)
    assert films == [(tmp_path / path).read_bytes() for path in paths]
    shuffled = seen(Films.SHUFFLED)
    assert sorted(shuffled) == sorted(films)
    assert all(a != b for a, b in zip(films, shuffled, strict=True))
    (tmp_path / "blank.png").write_bytes(seen(Films.BLANK)[3])
    with Image.open(tmp_path / "blank.png") as blank:
        assert blank.size == (20, 30)
        assert len(blank.getcolors()) == 1


def test_the_shuffled_control_keeps_the_view_and_leaves_the_patient() -> None:
    asked = [example(n, view="PA" if n < 3 else "AP") for n in range(9)]
    asked += [example(n + 20, subject=f"patient-{n}", view="LATERAL") for n in range(2)]
    asked += [example(30, images=("30.png", "31.png"), sizes=(SIZE, SIZE), view="PA")]
    asked[-1] = replace(asked[-1], roles=("current", "lateral"))
    asked += [example(40, view="OBLIQUE")]
    films = films_by_patient(asked)
    assert films["31.png"][1] == "LATERAL"
    other = exchanged(films)
    assert other.keys() == films.keys()
    for film, shown in other.items():
        assert films[film][0] != films[shown][0]
        assert films[film][1] in (films[shown][1], "OBLIQUE")


def test_films_of_one_patient_make_no_shuffled_control() -> None:
    films = films_by_patient([example(n, subject="one") for n in range(3)])
    with pytest.raises(ValueError, match="films of two patients"):
        exchanged(films)


def scored(films: int, found: int) -> tuple[FilmScore, ...]:
    return tuple(
        FilmScore(
            id=f"film-{n}",
            said=("left mass",) if n < found else (),
            truth=("left mass",),
            overlaps=(("left mass", (0.75,)),) if n < found else (),
            detections=(("left mass", int(n < found), int(n < found), 1),),
            heart=0.9,
            rouge_l=0.5,
            meteor=0.5,
            words=20,
            answers=(("presence", n % 2 == 0, "Yes"),),
            unparsed=(),
            text="",
            view="LATERAL" if n % 4 == 0 else "PA",
        )
        for n in range(films)
    )


def test_boxes_on_the_lateral_are_not_held_against_the_frontal() -> None:
    record = film()
    wanted = report_example(record, Task.FINDINGS, Mode.THINK, seed=0)
    box = GroundedBox(0, 60, 90, 160, 190, (0.1, 0.2, 0.3, 0.4), (60, 90, 160, 190), ())
    step = ReasoningStep(1, "Left mass", (replace(box, image=1, x_min=0), box), ())
    reading = Reading(Task.FINDINGS, Mode.THINK, (step,), wanted.answer, (), "text", complete=True)
    score = score_report(record, wanted, reading)
    assert score.overlaps == (("left mass", (1.0,)),)
    assert score.detections == (("left mass", 1, 1, 1),)


def film() -> FilmRecord:
    mass = FilmFinding("mass", "left", (60, 90, 160, 190), "moderate", zone="upper")
    lungs = tuple(Region(f"{side} lung", (30, 60, 200, 400)) for side in ("left", "right"))
    return FilmRecord(
        id="0",
        split="test",
        subject="0",
        path="film.png",
        width=448,
        height=448,
        view="PA",
        structures=lungs,
        findings=(mass,),
        devices=(),
    )


def test_sums_give_the_intervals_that_drawing_the_films_themselves_gives() -> None:
    scores = [*scored(3, 2), *scored(5, 0), *scored(1, 1)]
    scores[1] = replace(scores[1], with_lateral=scores[5], heart=0.5, view="PA")
    for figure in figures_of(scores).values():
        expected = bootstrap_interval(scores, figure)
        assert figure.interval(scores) == pytest.approx(expected, nan_ok=True)


def test_a_difference_is_resampled_in_pairs() -> None:
    scores, others = scored(6, 6), scored(6, 3)
    for figure in figures_of(scores, others).values():
        value, interval = difference(figure, scores, others)
        pairs = list(zip(scores, others, strict=True))
        apart = bootstrap_interval(
            pairs, lambda some, of=figure: of([a for a, _ in some]) - of([b for _, b in some])
        )
        assert value == pytest.approx(figure(scores) - figure(others), nan_ok=True)
        assert interval == pytest.approx(apart, nan_ok=True)
        assert difference(figure, scores, scores)[1] == pytest.approx((0, 0), nan_ok=True)


def test_films_read_with_their_lateral_count_once_more() -> None:
    missed = scored(1, 0)[0]
    found = replace(scored(1, 1)[0], with_lateral=missed)
    figures = figures_of([found])
    assert figures["finding micro-F1"]([found]) == 1
    assert figures["finding micro-F1, laterals read along"]([found]) == pytest.approx(2 / 3)
    assert figures["F1, frontal with its lateral"]([found]) == 0
    twice = replace(found, with_lateral=replace(found, overlaps=(("left mass", (0.25,)),)))
    assert figures["matched IoU, laterals read along"]([twice]) == pytest.approx(0.5)
    assert figures["box IoU, frontal with its lateral"]([twice]) == pytest.approx(0.25)


def test_findings_missed_and_made_up_count_in_the_iou_of_every_finding() -> None:
    found = replace(
        scored(1, 1)[0],
        overlaps=(("left mass", (0.8, 0.0)),),
        detections=(("left mass", 1, 1, 2), ("right mass", 0, 0, 1), ("left nodule", 0, 1, 0)),
    )
    figures = figures_of([found])
    assert figures["matched IoU"]([found]) == pytest.approx(0.4)
    assert figures["IoU of every finding"]([found]) == pytest.approx(0.2)
    both = replace(found, with_lateral=replace(found, overlaps=()))
    assert figures["IoU of every finding"]([both]) == pytest.approx(0.2)
    assert figures["IoU of every finding, laterals read along"]([both]) == pytest.approx(0.1)


def test_a_result_says_how_many_films_it_was_measured_on() -> None:
    first, second, *others = scored(8, 3)
    first = replace(first, with_lateral=second, heart=None)
    asked = (("laterality", True, "Left"),) * 2
    films = {r.name: r.n for r in summarise([first, replace(second, answers=asked), *others])}
    assert {name: films[name] for name in films if films[name] != 8} == {
        "F1, LATERAL films": 2,
        "F1, PA films": 6,
        "F1, frontal with its lateral": 1,
        "VQA accuracy, laterality": 1,
        "VQA accuracy, presence": 7,
        "box IoU, LATERAL films": 1,
        "box IoU, PA films": 2,
        "box IoU, frontal with its lateral": 1,
        "box IoU, mass": 3,
        "heart box IoU": 7,
        "IoU of boxes that touch a true one": 3,
        "matched IoU": 3,
        "matched IoU, laterals read along": 3,
        "the same, each finding counted once": 3,
    }


def test_results_leave_out_what_is_not_defined() -> None:
    names = {result.name for result in summarise(scored(4, 0))}
    assert "finding micro-F1" in names
    assert "matched IoU" not in names


def test_an_interval_that_misses_its_value_is_widened_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Figure, "interval", lambda figure, scores: (2.0, 3.0))
    for result in summarise(scored(4, 2)):
        assert result.interval == (min(2.0, result.value), max(3.0, result.value))


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    scores = scored(4, 2)
    scores = (replace(scores[0], with_lateral=scores[3]), *scores[1:])
    write_scores(scores, tmp_path / "scores.jsonl")
    assert tuple(read_scores(tmp_path / "scores.jsonl")) == scores


def test_the_ablation_has_a_line_for_each_checkpoint_and_condition(tmp_path: Path) -> None:
    write_ablation(
        [
            Measured("stage 2", Films.SHOWN, scored(20, 15)),
            Measured("stage 2", Films.BLANK, scored(20, 0)),
        ],
        tmp_path,
    )
    tables = (tmp_path / "ablation.md").read_text().split("\n\n")
    header, _, shown, blank = tables[0].splitlines()
    names, _, *details = tables[1].splitlines()
    assert names == "|  | stage 2 |"
    assert {line.split("|")[1].strip() for line in details} >= {
        "F1, LATERAL films",
        "box IoU, mass",
        "VQA accuracy, presence",
    }
    assert "finding micro-F1" in header
    assert shown.startswith("| stage 2 | shown | 0.857 (")
    assert "| 0.750 (" in shown  # IoU of the boxes, and mAP of 15 found of 20
    assert blank.startswith("| stage 2 | blank | 0.000 (")


def test_only_films_that_were_not_measured_are_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything, asked = scored(6, 3), []

    class Engine:
        def __init__(self, settings: object) -> None: ...

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

    async def evaluate(engine: Engine, folder: Path, **asks: Any) -> list[FilmScore]:
        asked.append((str(asks["shown"]), asks["skip"], asks["films"]))
        return list(everything[asks["skip"] : asks["films"]])

    monkeypatch.setattr(ablation, "VllmEngine", Engine)
    monkeypatch.setattr(ablation, "evaluate", evaluate)
    monkeypatch.setattr(ablation, "data_hash", lambda folder, split: "films")
    manifest = SimpleNamespace(revision="weights")
    monkeypatch.setattr(ablation, "load_manifest", lambda folder: (manifest, ""))
    stages = [Contestant("stage 2", tmp_path / "settle")]

    def run(count: int) -> list[Measured]:
        asked.clear()
        return run_ablation(stages, tmp_path, tmp_path / "texts", count=count, control_count=2)

    run(4)
    assert asked == [("shown", 0, 4), ("blank", 0, 2), ("shuffled", 0, 2)]
    shown, *controls = run(6)
    assert asked == [("shown", 4, 6)]
    assert shown.scores == everything
    assert [len(control.scores) for control in controls] == [2, 2]
    run(6)
    assert asked == []


def test_differences_are_taken_film_by_film(tmp_path: Path) -> None:
    better, worse = scored(20, 15), scored(20, 10)
    measured = [Measured("stage 2", Films.SHOWN, worse), Measured("stage 3", Films.SHOWN, better)]
    write_ablation(measured, tmp_path, beside="stage 2")
    rows = {row["figure"]: row for row in json.loads((tmp_path / "differences.json").read_text())}
    row = rows["finding micro-F1"]
    assert row["contestant"] == "stage 3"
    assert row["value"] == pytest.approx(6 / 7 - 2 / 3, abs=1e-4)
    low, high = row["interval"]
    assert 0 < low < row["value"] < high
    # The intervals of both, side by side, overlap.
    sides = {
        row["contestant"]: row["interval"]
        for row in json.loads((tmp_path / "ablation.json").read_text())
        if row["figure"] == "finding micro-F1"
    }
    assert sides["stage 2"][1] > sides["stage 3"][0]
    table = (tmp_path / "ablation.md").read_text().split("\n\n")[-1]
    assert table.startswith("| more than stage 2, film by film | stage 3 |")
