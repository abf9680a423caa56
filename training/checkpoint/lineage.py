"""What a checkpoint went through: the records that stages leave, put in order.

Every stage writes ``stage.json`` beside its output; an exported checkpoint carries the whole
lineage in its manifest. A stage's config names the checkpoint that it started from, so that the
chain can be followed back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.engine import LineageRecord
from service.engine.manifest import MANIFEST_FILE, Manifest, parse_manifest
from training.checkpoint.errors import CheckpointError

STAGE_RECORD = "stage.json"
"""Name of the record beside a stage's output."""


@dataclass(frozen=True)
class Lineage:
    """The stages behind a stage's output.

    Attributes
    ----------
    records
        First to last.
    base
        Checkpoint that the first of them started from; None: from nothing, or not known.
    manifest
        Name of the manifest whose conventions it was trained with, where a stage's config says.
    parent
        Manifest of the exported checkpoint that the first stage here started from, where it did.
    """

    records: tuple[LineageRecord, ...]
    base: str | None = None
    manifest: str | None = None
    parent: Manifest | None = None


def record_stage(folder: Path, stage: str, data: Path, revision: str, **settings: object) -> None:
    """Note beside a stage's output what made it: settings, hash of the data, the code's revision
    when it began."""
    record = LineageRecord(
        stage=stage, config=settings, data_hash=data_hash(data, "train"), code_revision=revision
    )
    (folder / STAGE_RECORD).write_text(record.model_dump_json(indent=2) + "\n")


def is_finished(folder: Path) -> bool:
    """Whether the stage that writes to the folder has finished."""
    return (folder / STAGE_RECORD).exists()


def read_lineage(folders: Sequence[Path]) -> list[LineageRecord]:
    """What :func:`record_stage` noted beside each stage's output.

    Raises
    ------
    FileNotFoundError
        When a stage has not finished.
    """
    return [
        LineageRecord.model_validate_json((folder / STAGE_RECORD).read_text()) for folder in folders
    ]


def data_hash(folder: Path, split: str) -> str:
    """SHA-256 over the split's shards of ground truth, in order."""
    digest = hashlib.sha256()
    for shard in sorted(folder.glob(f"{split}-*.jsonl")):
        digest.update(shard.read_bytes())
    return digest.hexdigest()


def follow_lineage(trained: Path) -> Lineage:
    """Follow the records of stages back from the last one's output.

    A folder that holds a manifest passes its lineage on; one that is no folder (a hub id) is the
    base; a folder with neither record is where the chain begins.

    Raises
    ------
    CheckpointError
        When a record cannot be read, the stage has not finished, or the chain is broken.
    """
    records: list[LineageRecord] = []
    named: str | None = None
    seen: set[Path] = set()
    place = str(trained)
    while True:
        folder = Path(place).expanduser()
        if not folder.is_dir():
            if not records or folder.is_absolute() or place.startswith("."):
                raise CheckpointError(_missing(place, records))
            return Lineage(tuple(reversed(records)), place, named)
        if folder.resolve() in seen:
            raise CheckpointError(f"{folder} started from its own output: its stage.json is wrong.")
        seen.add(folder.resolve())
        if (folder / MANIFEST_FILE).is_file():
            path = folder / MANIFEST_FILE
            parent = parse_manifest(path.read_bytes(), str(path))
            base = parent.base or (None if parent.lineage else parent.name)
            known = (*parent.lineage, *reversed(records))
            return Lineage(known, base, named, parent)
        if not is_finished(folder):
            if not records:
                raise CheckpointError(_missing(place, records))
            return Lineage(tuple(reversed(records)), None, named)
        record = _read(folder / STAGE_RECORD)
        records.append(record)
        model = record.config.get("model")
        settings = model if isinstance(model, dict) else {}
        named = named or settings.get("manifest")
        if not settings.get("start"):
            return Lineage(tuple(reversed(records)), None, named)
        place = str(settings["start"])


def portable(record: LineageRecord) -> LineageRecord:
    """The record as it may leave this machine: of absolute paths, the last name alone."""
    return record.model_copy(update={"config": _without_paths(record.config)})


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_paths(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(inner) for inner in value]
    if isinstance(value, str) and value.startswith(("/", "~")):
        return Path(value).name
    return value


def _read(path: Path) -> LineageRecord:
    try:
        return LineageRecord.model_validate_json(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not the record of a stage. Run the stage again, or restore the file."
        ) from error


def _missing(place: str, records: Sequence[LineageRecord]) -> str:
    if not records:
        return (
            f"{place} is not the output of a finished stage: it holds neither {STAGE_RECORD} nor "
            f"{MANIFEST_FILE}. Run the stage to its end, or name its `output` folder."
        )
    return (
        f"The stage {records[-1].stage} started from {place}, which is not here. Name the folders "
        "of the earlier stages with --after, first to last, or run from the folder that its "
        "paths are relative to."
    )
