"""What a checkpoint went through: the records that stages leave, put in order.

Every stage writes ``stage.json`` beside its output; an exported checkpoint carries the whole
lineage in its manifest. A stage's config names the checkpoint that it started from, so that the
chain can be followed back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.engine import LineageRecord, ManifestError, load_manifest
from service.engine.checkpoint import weights_hash
from service.engine.manifest import MANIFEST_FILE, Manifest
from training.checkpoint.errors import CheckpointError
from training.whole_file import write_whole

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
        stage=stage,
        config=settings,
        data_hash=data_hash(data, "train"),
        code_revision=revision,
        weights_hash=weights_hash(folder),
    )
    write_whole(folder / STAGE_RECORD, record.model_dump_json(indent=2) + "\n")


def is_finished(folder: Path) -> bool:
    """Whether the stage that writes to the folder has finished; half a record does not say so."""
    try:
        read_record(folder)
    except CheckpointError:
        return False
    return True


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
    """SHA-256 over the split's shards of ground truth, in order, each with its films' files.

    Of releases up to the ninth it is :func:`ground_truth_hash`.
    """
    digest = hashlib.sha256()
    for shard in sorted(folder.glob(f"{split}-*.jsonl")):
        records = shard.read_bytes()
        digest.update(records)
        for line in records.splitlines():
            film = folder / json.loads(line)["path"]
            digest.update(hashlib.sha256(film.read_bytes()).digest())
    return digest.hexdigest()


def ground_truth_hash(folder: Path, split: str) -> str:
    """What :func:`data_hash` was in releases up to the ninth: without the films' files."""
    digest = hashlib.sha256()
    for shard in sorted(folder.glob(f"{split}-*.jsonl")):
        digest.update(shard.read_bytes())
    return digest.hexdigest()


def follow_lineage(trained: Path) -> Lineage:
    """Follow the records of stages back from the last one's output.

    A folder that holds a manifest passes its lineage on; a hub id is the base; a folder with
    neither record is where the chain begins.

    Raises
    ------
    CheckpointError
        When a record cannot be read, the stage has not finished, or the chain is broken: a folder
        is gone, or holds other weights than those that the stage left or the next one started from.
    """
    records: list[LineageRecord] = []
    named: str | None = None
    seen: set[Path] = set()
    place = str(trained)
    while True:
        folder = Path(place).expanduser()
        if not folder.is_dir():
            if not records or _is_path(place, records[-1]):
                raise CheckpointError(_missing(place, records))
            return Lineage(tuple(reversed(records)), place, named)
        if folder.resolve() in seen:
            raise CheckpointError(f"{folder} started from its own output: its stage.json is wrong.")
        seen.add(folder.resolve())
        if (folder / MANIFEST_FILE).is_file():
            check_weights(folder, began=records[-1] if records else None)
            return _after_parent(folder, tuple(reversed(records)), named)
        if not (folder / STAGE_RECORD).exists():
            if not records:
                raise CheckpointError(_missing(place, records))
            return Lineage(tuple(reversed(records)), None, named)
        record = read_record(folder)
        check_weights(folder, left=record, began=records[-1] if records else None)
        records.append(record)
        settings = _model(record)
        named = named or settings.get("manifest")
        if not settings.get("start"):
            return Lineage(tuple(reversed(records)), None, named)
        place = str(settings["start"])


def told_lineage(folders: Sequence[Path]) -> Lineage:
    """The stages whose outputs are named, first to last, wherever their configs say they started.

    Only what the first one started from is looked up: an exported checkpoint, which may be named
    itself, passes its lineage on; a hub id is the base; of a folder that is neither, the base is
    not known.

    Raises
    ------
    CheckpointError
        When a record cannot be read, a stage has not finished, or a folder holds other weights than
        those that it left.
    """
    origin: str | None = None
    records: list[LineageRecord] = []
    for folder in folders:
        if (folder / STAGE_RECORD).exists():
            records.append(read_record(folder))
            check_weights(folder, left=records[-1])
        elif (folder / MANIFEST_FILE).is_file() and folder == folders[0]:
            origin = str(folder)
        else:
            raise CheckpointError(_missing(str(folder), []))
    known = tuple(records)
    named = next((name for r in reversed(known) if (name := _model(r).get("manifest"))), None)
    origin = origin or _model(known[0]).get("start")
    if not origin:
        return Lineage(known, None, named)
    place = Path(origin).expanduser()
    if (place / MANIFEST_FILE).is_file():
        return _after_parent(place, known, named)
    is_path = place.is_dir() or _is_path(origin, known[0])
    return Lineage(known, None if is_path else origin, named)


def read_record(folder: Path) -> LineageRecord:
    """The record that a stage left beside its output.

    Raises
    ------
    CheckpointError
        When it cannot be read.
    """
    path = folder / STAGE_RECORD
    try:
        return LineageRecord.model_validate_json(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not the record of a stage. Run the stage again, or restore the file."
        ) from error


def check_weights(
    folder: Path, *, left: LineageRecord | None = None, began: LineageRecord | None = None
) -> None:
    """Hold a folder's weights against the records of stages, as far as these say.

    Parameters
    ----------
    left
        Of the stage that left them.
    began
        Of a stage that began with them.

    Raises
    ------
    CheckpointError
        When they are others.
    """
    leaves, begins = left.weights_hash if left else "", began.start_hash if began else ""
    held = weights_hash(folder) if leaves or begins else ""
    if left and leaves and leaves != held:
        raise CheckpointError(
            f"{folder} holds other weights than the stage {left.stage} left there: what its record "
            "says is not of them. Restore them, run the stage again, or merge its adapters again."
        )
    if began and begins and folder.is_dir() and begins != held:  # of a hub id no hash is known
        raise CheckpointError(
            f"The stage {began.stage} started from other weights than {folder} holds now. Restore "
            "those, name the folder that holds them, or run the stage again."
        )


def names_a_path(start: str) -> bool:
    """Whether a checkpoint's name is a path: it is not shaped like a hub id, or its folder is here.

    A hub id is an owner and a name with a slash between them.
    """
    path = Path(start).expanduser()
    return path.is_absolute() or len(path.parts) != 2 or Path(path.parts[0]).exists()


def _is_path(start: str, record: LineageRecord) -> bool:
    """:func:`names_a_path`, also where the run's own folder (``runs/sft``) is not here any more."""
    output = str(record.config.get("output") or "")
    beside = Path(start).parts[:1] == Path(output).parts[:1]
    return beside or start.startswith(".") or names_a_path(start)


def _after_parent(folder: Path, records: tuple[LineageRecord, ...], named: str | None) -> Lineage:
    try:
        parent, _ = load_manifest(str(folder))
    except ManifestError as error:
        raise CheckpointError(str(error)) from error
    base = parent.base or (None if parent.lineage else parent.name)
    return Lineage((*parent.lineage, *records), base, named, parent)


def _model(record: LineageRecord) -> Mapping[str, Any]:
    model = record.config.get("model")
    return model if isinstance(model, Mapping) else {}


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


def _missing(place: str, records: Sequence[LineageRecord]) -> str:
    if not records:
        return (
            f"{place} is not the output of a finished stage: it holds neither {STAGE_RECORD} nor "
            f"{MANIFEST_FILE}. Run the stage to its end, or name its `output` folder."
        )
    return (
        f"The stage {records[-1].stage} started from {place}, which is not here. Name the folders "
        "of all earlier stages with --after, first to last, or run from the folder that its "
        "paths are relative to."
    )
