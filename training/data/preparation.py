"""Prepare a data set: read it study by study into a store; an interrupted run goes on.

Studies are read in parts of a fixed size. A part that is finished is kept under ``.parts`` in
the store's folder until the store is complete, so that nothing is read twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.reading import Mode, write_grounded_text
from training.data.adapters import Adapter, open_adapter
from training.data.adapters.films import BROKEN, MISSING, opens
from training.data.adapters.protocol import MALFORMED, TRIPPED_OVER, Remark
from training.data.example import SPLITS, Example
from training.data.store import (
    DESCRIPTION,
    DataError,
    Description,
    read_description,
    read_examples,
    write_examples,
)
from training.data.store.description import COMBINATION, PREPARATION, file_hash
from training.data.store.features import SCHEMA_VERSION, from_row, to_row
from training.data.store.validation import faults_of
from training.whole_file import write_whole

STUDIES_PER_PART = 500
OVERLAPPING = "subject tested on: left out of the other splits"
_PARTS = ".parts"
UNREADABLE_REASONING = "reasoning that would not be read back as written: kept as an answer alone"
UNPLACED_REASONING = (
    "reasoning of which a step does not say which image its box is on (image 2): kept as an answer "
    "alone"
)
_LINES_TOLD = 5
"""Of each note, the first so many lines of one's own file."""
_TABLES = (".csv", ".json", ".jsonl", ".gz", ".zip", ".xml")
_FILMS = frozenset(("files", "train", "test", "valid", "films", "deid_png", "scene_graph"))
_DEPTH = 3
"""Folders below the root in which tables are looked for."""
_OF_TABLES = ("tables", "image_tables", "studies", "keys")
"""What of a plan changes where a table is mended."""
_HASH = "content_hash"


@dataclass(frozen=True)
class Preparation:
    """What is prepared, and how; kept beside the store as ``preparation.json``.

    Attributes
    ----------
    name, root, images, options
        The adapter and what it is opened with.
    limit
        First studies to read; all where not given.
    split
        Split that every example is put into, whatever the source says.
    overlap
        Whether subjects in several splits are refused, or left out of all but the one that is
        furthest from training.
    hash_images
        Whether each image's SHA-256 is kept. Reads every image whole.
    open_images
        Whether examples whose images training cannot open are left out. Decodes every image.
    """

    name: str
    root: Path
    images: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    split: str | None = None
    overlap: Literal["refuse", "drop"] = "refuse"
    hash_images: bool = False
    open_images: bool = False
    studies_per_part: int = STUDIES_PER_PART

    def plan(self, studies: Sequence[str]) -> dict[str, object]:
        """All that decides what is written, as JSON gives it back."""
        digest = hashlib.sha256("\n".join(studies).encode()).hexdigest()
        told = {**asdict(self), "root": str(self.root.resolve())}
        told["images"] = str(self.images.resolve()) if self.images else None
        if not self.open_images:
            del told["open_images"]  # stores from before there was the choice are the same
        told |= {"schema_version": SCHEMA_VERSION, "studies": len(studies), "keys": digest}
        named = (Path(value) for value in self.options.values() if value)
        told["tables"] = [_tables(path) for path in (self.root, *named) if path.exists()]
        # Those that lie with the images: a split, views. Of own data all is in the file itself.
        if self.images and self.root.is_dir() and self.images.resolve() != self.root.resolve():
            told["image_tables"] = _tables(self.images)
        plan: dict[str, object] = json.loads(json.dumps(told))
        return plan


def prepare(
    wanted: Preparation,
    folder: Path,
    *,
    again: bool = False,
    say: Callable[[str], object] = lambda text: None,
) -> Description:
    """Read a data set into a store, going on where an interrupted run stopped.

    Where tables were changed since an interrupted run, and there is no store yet, it begins anew.

    Parameters
    ----------
    wanted
        What to read.
    folder
        Folder of the store.
    again
        Begin anew, whatever the folder holds.
    say
        Is told where nothing is read, where what an interrupted run read is read anew, and of
        one's own data the lines that notes are about.

    Raises
    ------
    DataError
        When the data set is not as published, the folder holds another preparation or another
        store, or the examples make no sound store.
    """
    with _as_published(wanted.name):
        adapter = open_adapter(
            wanted.name, wanted.root, images=wanted.images, options=wanted.options
        )
        studies = adapter.studies()[: wanted.limit]
    plan = wanted.plan(studies)
    if again:
        shutil.rmtree(folder / _PARTS, ignore_errors=True)
        for name in (DESCRIPTION, COMBINATION):
            (folder / name).unlink(missing_ok=True)
    elif _is_prepared(folder, plan, say):
        description = read_description(folder)
        say(_prepared_already(folder, description))
        return description
    parts = folder / _PARTS
    parts.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PREPARATION, json.dumps(plan, indent=2) + "\n")
    _read_parts(adapter, studies, wanted, parts)
    _refuse_where_all_failed(parts)
    _tell_lines(parts, wanted.root.name, say)
    description = _assemble(adapter, wanted, folder, parts)
    write_whole(
        folder / PREPARATION,
        json.dumps({**plan, _HASH: description.content_hash}, indent=2) + "\n",
    )
    shutil.rmtree(parts)
    return description


def _prepared_already(folder: Path, description: Description) -> str:
    missing = description.remarks.get(MISSING, 0)
    then = (
        f" Attention: {missing} images were missing then and are left out. Where they are there "
        "now, run it with --again."
        if missing
        else ""
    )
    return f"{folder} is prepared already: nothing was read. --again reads the data anew.{then}"


def _tables(root: Path) -> dict[str, object]:
    """What tells that tables were changed since: a file's hash, or sizes and times of a folder's.

    Folders of films and of single reports are not gone through.
    """
    if root.is_file():
        return {root.name: file_hash(root)}
    found: dict[str, object] = {}
    for folder, below, names in os.walk(root):
        inside = Path(folder).relative_to(root)
        deep = len(inside.parts)
        if PREPARATION in names:  # a store, which grows while this is told
            below.clear()
            continue
        below[:] = sorted(n for n in below if deep < _DEPTH and n not in _FILMS)
        for name in sorted(names):
            if Path(name).suffix in _TABLES:
                told = (Path(folder) / name).stat()
                found[str(inside / name)] = [told.st_size, told.st_mtime_ns]
    return found


@contextmanager
def _as_published(name: str) -> Iterator[None]:
    """What an adapter trips over is a record of another form than it was written for."""
    try:
        yield
    except TRIPPED_OVER as error:
        raise DataError(_fault_of(name, error)) from error


def _fault_of(name: str, error: Exception) -> str:
    what = (
        f"has no field {error}"
        if isinstance(error, KeyError)
        else f"is not of the published form ({error})"
    )
    release = f"Is this the release that `deepmedix data list {name}` describes?"
    return f"{name}: a record {what}. {release}"


def _is_prepared(folder: Path, plan: Mapping[str, object], say: Callable[[str], object]) -> bool:
    path = folder / PREPARATION
    if not path.exists():
        if (folder / DESCRIPTION).exists():
            raise DataError(
                f"{folder} holds a store that was not prepared here. Give another folder, or "
                "--again to replace it."
            )
        return False
    try:
        before = dict(json.loads(path.read_text()))
    except (TypeError, ValueError):
        before = {}
    complete = (folder / DESCRIPTION).exists()
    written = before.pop(_HASH, None)  # stores from before it was kept have none
    if before and "image_tables" not in before:
        # Stores from before these were looked at are the same.
        plan = {name: told for name, told in plan.items() if name != "image_tables"}
    if before == plan:
        return complete and _is_whole(folder, written)
    # What is read does not depend on how overlapping subjects are dealt with in the end.
    changed = {name for name in {*plan, *before} if before.get(name) != plan.get(name)}
    if complete or not before or changed.difference(("overlap", *_OF_TABLES)):
        raise DataError(
            f"{folder} holds another preparation: data set, tables, options or studies differ. "
            "Give another folder, or --again to begin anew."
        )
    if changed.intersection(_OF_TABLES) and (folder / _PARTS).exists():
        shutil.rmtree(folder / _PARTS)
        say(f"Tables were changed since {folder} was begun: all is read anew.")
    return False


def _is_whole(folder: Path, written: str | None) -> bool:
    """Whether the store can be read; where not, preparing it again is what its reader is told."""
    try:
        read_examples(folder)
    except DataError:
        return False
    if written not in (None, read_description(folder).content_hash):
        raise DataError(
            f"{folder} holds another store than was prepared there: it was written over since. "
            "Give another folder, or --again to replace it."
        )
    return True


def _read_parts(adapter: Adapter, studies: Sequence[str], wanted: Preparation, parts: Path) -> None:
    size = wanted.studies_per_part
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("studies"),
        TimeRemainingColumn(),
    ) as progress:
        task = progress.add_task(wanted.name, total=len(studies))
        for number, first in enumerate(range(0, len(studies), size)):
            some = studies[first : first + size]
            part = parts / f"{number:05d}.jsonl"
            if not part.exists():
                _read_part(adapter, some, wanted, part)
            progress.advance(task, len(some))


def _read_part(adapter: Adapter, studies: Sequence[str], wanted: Preparation, part: Path) -> None:
    remarks: Counter[str] = Counter()
    lines: dict[str, list[str]] = defaultdict(list)
    failed, first_fault, study = 0, "", ""

    def remark(reason: str) -> None:
        remarks[reason] += 1
        if adapter.card.studies_are_lines and study not in lines[reason]:
            lines[reason].append(study)

    opened = lru_cache(maxsize=64)(opens)  # the examples of a study share its films
    partial = part.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for study in studies:
            examples: list[Example] = []
            try:
                for example in adapter.read(study, remark):
                    examples.append(example)  # one by one: what came before a fault is kept
            except TRIPPED_OVER as error:  # of one study; what none has is the whole set's
                remark(MALFORMED)
                failed += not examples
                first_fault = first_fault or _fault_of(wanted.name, error)
            for example in examples:
                paths = [adapter.images / path for path in example.images]
                if wanted.open_images and not all(map(opened, paths)):
                    remark(BROKEN)
                    continue
                finished = _finish(example, adapter.images, wanted, remark)
                faults = faults_of(finished)
                for fault in faults:
                    remark(f"example left out: {fault}")
                if not faults:
                    file.write(json.dumps(to_row(finished)) + "\n")
        told = {
            "remarks": remarks,
            "studies": len(studies),
            "failed": failed,
            "fault": first_fault,
            "lines": lines,
        }
        file.write(json.dumps(told) + "\n")
    partial.replace(part)  # a part that exists is complete


def _refuse_where_all_failed(parts: Path) -> None:
    """Refuse a data set of which no record is of the published form, with what was wrong."""
    fault = ""
    for part in sorted(parts.glob("*.jsonl")):
        told = json.loads(part.read_text(encoding="utf-8").splitlines()[-1])
        if "failed" not in told or told["failed"] < told["studies"]:
            return
        fault = fault or told["fault"]
    if fault:
        shutil.rmtree(parts)
        raise DataError(fault)


def _tell_lines(parts: Path, file: str, say: Callable[[str], object]) -> None:
    """Say which lines of one's own file each note is about."""
    lines: dict[str, list[str]] = defaultdict(list)
    for part in sorted(parts.glob("*.jsonl")):
        told = json.loads(part.read_text(encoding="utf-8").splitlines()[-1])
        for reason, some in told.get("lines", {}).items():
            lines[reason] += some
    for reason, all_of_them in lines.items():
        first, more = all_of_them[:_LINES_TOLD], len(all_of_them[_LINES_TOLD:])
        called = "line" if len(all_of_them) == 1 else "lines"
        rest = f" and {more} more" if more else ""
        say(f"{file}, {called} {', '.join(first)}{rest}: {reason}")


def _finish(example: Example, images: Path, wanted: Preparation, remark: Remark) -> Example:
    if example.steps and not _reads_back(example):
        remark(UNPLACED_REASONING if _reads_back(example, placed=False) else UNREADABLE_REASONING)
        example = replace(example, mode=Mode.ANSWER, steps=())
    if wanted.split:
        example = replace(example, split=wanted.split)
    if wanted.hash_images:
        hashes = tuple(file_hash(images / path) for path in example.images)
        example = replace(example, image_hashes=hashes)
    return example


def _reads_back(example: Example, *, placed: bool = True) -> bool:
    """Whether the grounded text of a sentence such as ``left; right`` would be read as written.

    Parameters
    ----------
    placed
        Whether each box must be read on its image, too.
    """
    steps = [(step.text, [box for _, box in step.boxes]) for step in example.steps]
    try:
        write_grounded_text(
            steps,
            example.answer,
            images=len(example.images),
            placed=[[image for image, _ in s.boxes] for s in example.steps] if placed else None,
        )
    except ValueError:
        return False
    return True


def _assemble(adapter: Adapter, wanted: Preparation, folder: Path, parts: Path) -> Description:
    remarks: Counter[str] = Counter()
    kept: dict[str, str] = {}
    if wanted.overlap == "drop":
        splits_of: dict[str, set[str]] = defaultdict(set)
        for example in _stored(parts, Counter()):
            splits_of[example.subject].add(example.split)
        kept = {
            subject: max(splits, key=SPLITS.index)
            for subject, splits in splits_of.items()
            if len(splits) > 1
        }

    def examples() -> Iterator[Example]:
        for example in _stored(parts, remarks):
            if kept.get(example.subject, example.split) == example.split:
                yield example
            else:
                remarks[OVERLAPPING] += 1

    return write_examples(
        folder, examples(), images_root=_images_root(adapter.images, folder), remarks=remarks
    )


def _stored(parts: Path, remarks: Counter[str]) -> Iterator[Example]:
    for part in sorted(parts.glob("*.jsonl")):
        with part.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if "remarks" in row:
                    remarks.update(row["remarks"])
                else:
                    yield from_row(row)


def _images_root(images: Path, folder: Path) -> str:
    images, folder = images.resolve(), folder.resolve()
    # What lies within the store moves with it; what lies elsewhere stays where it is.
    return str(images.relative_to(folder)) if images.is_relative_to(folder) else str(images)
