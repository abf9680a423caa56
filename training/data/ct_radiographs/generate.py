"""Generate the set in parallel: shards of films and their ground truth, resumable.

A seed, a split and an index determine a film exactly. Four films share a patient (pose and shape);
the last of the four may be a follow-up of the third, with the same findings in another amount. The
first of a frontal four may have a lateral film of the same study beside it.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress

from training.data.ct_radiographs.anatomy import load_anatomy
from training.data.ct_radiographs.film import Film, FilmFinding, Region, expose
from training.data.ct_radiographs.pathology import SCATTERED, Plan, plan_findings
from training.data.ct_radiographs.pose import pose_patient, sample_pose
from training.data.store.errors import DataError

SPLITS = {"train": 0, "validate": 1, "test": 2}
FILMS_PER_PATIENT = 4
_PATIENTS_PER_SHARD = 10
_GRADED = ("pleural effusion", "pneumothorax")
_LATERALS = 0.4
"""Share of frontal patients with a lateral film of the first study."""


@dataclass(frozen=True)
class FilmRecord:
    """A film on disk with its ground truth; boxes are in pixels of the film.

    Attributes
    ----------
    prior
        Identifier of the earlier film of the same patient, when this one is a follow-up.
    change
        For a follow-up, how each graded finding changed: ``"left pleural effusion": "larger"``.
    frontal
        Identifier of the frontal film of the same study, when this is the lateral beside it.
    """

    id: str
    split: str
    subject: str
    path: str
    width: int
    height: int
    view: str
    structures: tuple[Region, ...]
    findings: tuple[FilmFinding, ...]
    devices: tuple[Region, ...]
    prior: str | None = None
    change: dict[str, str] | None = None
    frontal: str | None = None


def simulate_patient(
    seed: int, split: str, patient: int, scattered: float = SCATTERED
) -> Iterator[tuple[FilmRecord, Film]]:
    """The films of one simulated patient; equal arguments give equal films."""
    code = SPLITS[split]
    pose_rng = np.random.default_rng([seed, code, patient])
    pose = sample_pose(pose_rng)
    posed = pose_patient(load_anatomy(), pose)
    plans: list[Plan] = []
    first: list[Plan] = []
    earlier: tuple[FilmRecord, list[Plan]] | None = None
    for number in range(FILMS_PER_PATIENT):
        rng = np.random.default_rng([seed, code, patient, number])
        identifier = f"ct-{seed}-{split}-{patient:05d}-{number}"
        graded = earlier is not None and any(plan.kind in _GRADED for plan in earlier[1])
        follow_up = number == FILMS_PER_PATIENT - 1 and graded and rng.random() < 0.9
        if follow_up and earlier is not None:
            plans, frame = [_changed(plan, rng) for plan in earlier[1]], number - 1
        else:
            plans, frame = plan_findings(rng, scattered), number
        first = first if number else plans
        film = expose(
            posed, plans, rng, fixed=np.random.default_rng([seed, code, patient, frame, 9])
        )
        record = _record(film, identifier, split, patient)
        if follow_up and earlier is not None:
            change = _compare(earlier[0], earlier[1], record, plans)
            if change:
                record = replace(record, prior=earlier[0].id, change=change)
        yield record, film
        earlier = (record, plans)
    rng = np.random.default_rng([seed, code, patient, FILMS_PER_PATIENT])
    if pose.view != "LATERAL" and rng.random() < _LATERALS:
        turned = pose_patient(load_anatomy(), replace(pose, view="LATERAL"))
        film = expose(turned, first, rng, fixed=rng)
        name = f"ct-{seed}-{split}-{patient:05d}"
        record = _record(film, f"{name}-{FILMS_PER_PATIENT}", split, patient)
        yield replace(record, frontal=f"{name}-0"), film


def _record(film: Film, identifier: str, split: str, patient: int) -> FilmRecord:
    return FilmRecord(
        id=identifier,
        split=split,
        subject=f"{split}-{patient:05d}",
        path=f"films/{split}/{patient // _PATIENTS_PER_SHARD:04d}/{identifier}.png",
        width=film.pixels.shape[1],
        height=film.pixels.shape[0],
        view=film.view,
        structures=tuple(film.structures),
        findings=tuple(film.findings),
        devices=tuple(film.devices),
    )


def _changed(plan: Plan, rng: np.random.Generator) -> Plan:
    if plan.kind not in _GRADED:
        return plan
    step = float(rng.choice([-1, 0, 1])) * rng.uniform(0.3, 0.6)
    return replace(plan, amount=float(np.clip(plan.amount + step, 0, 1)))


def _compare(
    before: FilmRecord, old: list[Plan], after: FilmRecord, new: list[Plan]
) -> dict[str, str]:
    change = {}
    for earlier, later in zip(old, new, strict=True):
        if earlier.kind not in _GRADED:
            continue
        visible = [
            any(f.kind == earlier.kind and f.side == earlier.side for f in record.findings)
            for record in (before, after)
        ]
        difference = later.amount - earlier.amount
        if all(visible) and (abs(difference) > 0.2 or difference == 0):
            word = "unchanged" if difference == 0 else "larger" if difference > 0 else "smaller"
            change[f"{earlier.side} {earlier.kind}"] = word
    return change


def _write_shard(
    folder: Path, seed: int, split: str, scattered: float, patients: tuple[int, ...]
) -> int:
    torch.set_num_threads(1)  # one process per core already
    shard = patients[0] // _PATIENTS_PER_SHARD
    lines = []
    for patient in patients:
        for record, film in simulate_patient(seed, split, patient, scattered):
            target = folder / record.path
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(film.pixels).save(target)
            lines.append(json.dumps(asdict(record)))
    # Written last and moved into place: a shard that exists is complete.
    partial_file = folder / f"{split}-{shard:04d}.partial"
    partial_file.write_text("\n".join(lines) + "\n")
    partial_file.replace(folder / f"{split}-{shard:04d}.jsonl")
    return FILMS_PER_PATIENT * len(patients)


def generate(
    folder: Path,
    split: str,
    films: int,
    *,
    seed: int,
    workers: int,
    scattered: float = SCATTERED,
) -> None:
    """Write at least ``films`` films of a split, laterals beside a frontal film not counted.

    Complete shards of an earlier run are kept.

    Parameters
    ----------
    scattered
        Share of films with several nodules or masses, at most 0.8.

    Raises
    ------
    KeyError
        For a split other than train, validate and test.
    """
    patients = -(-films // FILMS_PER_PATIENT)
    shards = [
        tuple(range(first, min(first + _PATIENTS_PER_SHARD, patients)))
        for first in range(0, patients, _PATIENTS_PER_SHARD)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    missing = [
        shard
        for shard in shards
        if not (folder / f"{split}-{shard[0] // _PATIENTS_PER_SHARD:04d}.jsonl").exists()
    ]
    with Progress() as progress:
        task = progress.add_task(f"{split} films", total=patients * FILMS_PER_PATIENT)
        progress.advance(task, sum(map(len, shards)) * 4 - sum(map(len, missing)) * 4)
        context = multiprocessing.get_context("spawn")
        with context.Pool(workers) as pool:
            write = partial(_write_shard, folder, seed, split, scattered)
            for written in pool.imap_unordered(write, missing):
                progress.advance(task, written)


def read_records(folder: Path, split: str) -> list[FilmRecord]:
    """All records of a split in order of their identifiers' shards.

    Raises
    ------
    FileNotFoundError
        When the split was not generated.
    training.data.store.DataError
        When a line is not the record of a film.
    """
    records = []
    for shard in sorted(folder.glob(f"{split}-*.jsonl")):
        for number, line in enumerate(shard.read_bytes().splitlines(), 1):
            try:
                records.append(_read(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(
                    f"{shard}, line {number}: this is not the record of a film. Restore the file, "
                    "or remove it and make the films again."
                ) from error
    if not records:
        raise FileNotFoundError(f"No films of split {split!r}; generate them first.")
    return records


def _read(fields: dict[str, Any]) -> FilmRecord:
    return FilmRecord(
        **{
            **fields,
            "structures": tuple(_region(item) for item in fields["structures"]),
            "devices": tuple(_region(item) for item in fields["devices"]),
            "findings": tuple(
                FilmFinding(**{**item, "box": tuple(item["box"])}) for item in fields["findings"]
            ),
        }
    )


def _region(item: dict[str, object]) -> Region:
    return Region(str(item["name"]), tuple(item["box"]))  # type: ignore[arg-type]  # JSON lists
