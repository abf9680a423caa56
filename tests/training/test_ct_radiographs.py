"""Simulated radiographs: exact, repeatable, and truthfully spoken of."""

from pathlib import Path

import numpy as np
import pytest

from service.reading import Mode, Task
from training.data.ct_radiographs.anatomy import Structure
from training.data.ct_radiographs.contact_sheet import draw_contact_sheet
from training.data.ct_radiographs.examples import (
    comparison_example,
    question_examples,
    report_example,
    two_view_example,
)
from training.data.ct_radiographs.film import _CONSPICUOUS, expose
from training.data.ct_radiographs.generate import (
    FILMS_PER_PATIENT,
    FilmRecord,
    generate,
    read_records,
    simulate_patient,
)
from training.data.ct_radiographs.pathology import SCATTERED, Chest, Plan, plan_findings
from training.data.ct_radiographs.pose import Patient, pose_patient, sample_pose
from training.labels import finding_labels
from training.rewards.gallery import CONVENTIONS, GRID
from training.rewards.protocol import Rollout
from training.rewards.step_worth import step_worths
from training.stages.text_targets import completion_text


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    generate(folder, "test", 80, seed=3, workers=2)
    return folder


@pytest.fixture(scope="module")
def records(generated: Path) -> list[FilmRecord]:
    return read_records(generated, "test")


@pytest.fixture(scope="module")
def patient() -> Patient:
    from training.data.ct_radiographs.anatomy import load_anatomy

    rng = np.random.default_rng(1)
    pose = next(p for p in (sample_pose(rng) for _ in range(50)) if p.view == "PA")
    return pose_patient(load_anatomy(), pose)


def test_a_seed_and_an_index_determine_a_film_exactly() -> None:
    once, again = (list(simulate_patient(5, "train", 2)) for _ in range(2))
    assert [record for record, _ in once] == [record for record, _ in again]
    assert all(
        np.array_equal(a.pixels, b.pixels) for (_, a), (_, b) in zip(once, again, strict=True)
    )


def test_splits_share_no_patient_pose_or_film() -> None:
    films = [next(simulate_patient(5, split, 0))[1] for split in ("train", "validate", "test")]
    shapes = {film.pixels.tobytes() for film in films}
    assert len(shapes) == 3


def test_every_box_lies_on_its_film(records: list[FilmRecord]) -> None:
    for record in records:
        boxes = [region.box for region in (*record.structures, *record.devices)]
        boxes += [finding.box for finding in record.findings]
        for x0, y0, x1, y1 in boxes:
            assert 0 <= x0 < x1 <= record.width
            assert 0 <= y0 < y1 <= record.height


def test_what_was_generated_is_kept_and_what_is_missing_is_made(
    generated: Path, records: list[FilmRecord]
) -> None:
    shards = sorted(generated.glob("test-*.jsonl"))
    kept, lost = shards[0], shards[1]
    before, made_at = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    generate(generated, "test", 80, seed=3, workers=1)
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == made_at
    assert read_records(generated, "test") == records
    assert sum(record.frontal is None for record in records) == 80
    assert len({record.subject for record in records}) == 80 // FILMS_PER_PATIENT


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        ("mass", "left"),
        ("mass", "right"),
        ("consolidation", "right"),
        ("pleural effusion", "left"),
        ("pneumothorax", "right"),
    ],
)
def test_a_finding_changes_the_film_on_its_own_side(patient: Patient, kind: str, side: str) -> None:
    lobe = Structure.RIGHT_LOWER_LOBE if kind == "consolidation" else None
    plan = Plan(kind, side, 0.9, lobe)
    (placed,) = Chest(patient, np.random.default_rng(4)).place_all([plan])
    within = placed.change[placed.thickness > 20]
    assert (within.mean() < 0) if kind == "pneumothorax" else (within.mean() > 10)
    film = expose(patient, [plan], np.random.default_rng(4), fixed=np.random.default_rng(0))
    (finding,) = film.findings
    assert (finding.kind, finding.side) == (kind, side)
    x0, _, x1, _ = finding.box
    # The patient's right is on the left of a frontal film.
    assert ((x0 + x1) / 2 > film.pixels.shape[1] / 2) == (side == "left")


@pytest.mark.parametrize("share", [SCATTERED, 0.3])
def test_as_many_films_show_several_nodules_or_masses_as_are_asked_for(share: float) -> None:
    rng = np.random.default_rng(0)
    films = [plan_findings(rng, share) for _ in range(4000)]
    several = [sum(plan.kind in ("nodule", "mass") for plan in plans) > 1 for plans in films]
    one_of_each = sum({"nodule", "mass"} <= {plan.kind for plan in plans} for plans in films)
    assert abs(np.mean(several) - one_of_each / len(films) - share) < 0.02
    assert abs(np.mean([not plans for plans in films]) - 0.2) < 0.02


def test_what_lies_within_fluid_adds_nothing_to_the_film(patient: Patient) -> None:
    fluid = Plan("pleural effusion", "left", 1.0)
    lower = Plan("consolidation", "left", 0.0, Structure.LEFT_LOWER_LOBE)
    alone, drowned = (
        Chest(patient, np.random.default_rng(4)).place_all(plans)[-1].change.sum()
        for plans in ([lower], [lower, fluid])
    )
    assert drowned < alone / 2


def test_a_finding_that_nobody_could_see_is_not_named(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mass = [Plan("mass", "left", 0.5)]

    def named() -> int:
        film = expose(patient, mass, np.random.default_rng(4), fixed=np.random.default_rng(0))
        return len(film.findings)

    assert named() == 1
    monkeypatch.setitem(_CONSPICUOUS, "mass", 256.0)
    assert named() == 0


def test_reports_name_exactly_the_findings_on_the_film(records: list[FilmRecord]) -> None:
    for record in records:
        for task in (Task.FINDINGS, Task.IMPRESSION):
            example = report_example(record, task, Mode.THINK, seed=1)
            assert finding_labels(example.answer) == set(example.labels)
            said = " ; ".join(step.text for step in example.steps)
            assert finding_labels(said) == set(example.labels)


def test_every_finding_is_boxed_in_a_step(records: list[FilmRecord]) -> None:
    for record in records:
        example = report_example(record, Task.FINDINGS, Mode.THINK, seed=2)
        shown = {box for step in example.steps for _, box in step.boxes}
        for kind in {finding.kind for finding in record.findings} - {"nodule", "mass"}:
            assert {f.box for f in record.findings if f.kind == kind} <= shown


def test_questions_cover_every_type(records: list[FilmRecord]) -> None:
    types = {
        str(example.question_type)
        for record in records
        for example in question_examples(record, Mode.THINK, seed=1, count=30)
    }
    priors = {record.id: record for record in records}
    pairs = [
        comparison_example(record, priors[record.prior], Mode.THINK, seed=1)
        for record in records
        if record.prior
    ]
    assert any(pair is not None and len(pair.images) == 2 for pair in pairs)
    assert types == {
        "presence", "location", "side", "level", "size", "view", "type", "device",
    }  # fmt: skip


@pytest.fixture(scope="module")
def studies(records: list[FilmRecord]) -> list[tuple[FilmRecord, FilmRecord]]:
    """Frontal films with the laterals beside them."""
    by_id = {record.id: record for record in records}
    return [(by_id[record.frontal], record) for record in records if record.frontal]


def test_a_lateral_is_of_its_frontals_patient(
    studies: list[tuple[FilmRecord, FilmRecord]],
) -> None:
    assert studies
    for frontal, lateral in studies:
        assert frontal.subject == lateral.subject
        assert frontal.view in {"PA", "AP"}
        assert lateral.view == "LATERAL"


def test_a_study_of_two_films_names_what_the_frontal_shows_and_boxes_both(
    studies: list[tuple[FilmRecord, FilmRecord]],
) -> None:
    boxed = set()
    for frontal, lateral in studies:
        alone = report_example(frontal, Task.FINDINGS, Mode.THINK, seed=1)
        both = two_view_example(frontal, lateral, Mode.THINK, seed=1)
        assert both.answer == alone.answer
        assert both.images == (frontal.path, lateral.path)
        assert both.steps[: len(alone.steps)] == alone.steps
        boxed |= {image for step in both.steps for image, _ in step.boxes}
        (worths,) = step_worths(
            [Rollout(completion_text(both, CONVENTIONS, GRID), both, CONVENTIONS, GRID)]
        )
        assert {part.value for part in worths if part.subject[0] == "words"} <= {1.0}
    assert boxed == {0, 1}


def test_the_contact_sheet_shows_every_film(generated: Path, records: list[FilmRecord]) -> None:
    sheet = draw_contact_sheet(records[:7], generated, columns=3)
    assert sheet.size == (900, 3 * 340)
