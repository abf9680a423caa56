"""Write examples as a store: Parquet shards by split, and ``dataset.json`` last."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.data.example import SPLITS, Example
from training.data.store.description import (
    DESCRIPTION,
    PREPARATION,
    WRITING,
    Description,
    Shard,
    Source,
    file_hash,
)
from training.data.store.errors import DataError
from training.data.store.features import features, to_row
from training.data.store.validation import faults_of, subjects_in_several_splits
from training.whole_file import write_whole

EXAMPLES_PER_SHARD = 20_000


def write_examples(
    folder: Path,
    examples: Iterable[Example],
    *,
    images_root: Path | str = ".",
    remarks: Mapping[str, int] | None = None,
    examples_per_shard: int = EXAMPLES_PER_SHARD,
) -> Description:
    """Write a store; one that is there already is replaced once the new one is complete.

    Parameters
    ----------
    folder
        Folder of the store, made when missing.
    examples
        In any order; read once, and never held in memory all together.
    images_root
        Folder that the images' paths are relative to: absolute, or relative to ``folder``.
    remarks
        What was left out on the way here, and how often; kept in ``dataset.json``. Looked at
        when all examples are read.

    Raises
    ------
    DataError
        When there are no examples, an example breaks the schema, two have one id, or a subject
        has examples in several splits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_others_files(folder)
    writer = _Writer(folder, examples_per_shard)
    try:
        for example in examples:
            writer.add(example)
        return writer.finish(str(images_root), dict(remarks or {}))
    finally:
        for leftover in folder.glob("*.parquet.partial"):
            leftover.unlink()


def _refuse_others_files(folder: Path) -> None:
    """Files that look like shards, in a folder that no store or preparation is in, stay."""
    ours = any((folder / name).exists() for name in (DESCRIPTION, PREPARATION, WRITING))
    if not ours and next(folder.glob("*.parquet"), None):
        raise DataError(
            f"{folder} holds Parquet files that are not this store's. Give an empty folder."
        )


class _Writer:
    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size
        self._waiting: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._written: dict[str, list[tuple[Path, int]]] = defaultdict(list)
        self._splits_of: dict[str, set[str]] = defaultdict(set)
        self._sources: Counter[tuple[str, str]] = Counter()
        self._ids: set[bytes] = set()
        self._digest = hashlib.sha256()

    def add(self, example: Example) -> None:
        faults = faults_of(example)
        if faults:
            raise DataError(
                f"An example of {example.source or 'unnamed source'} breaks the schema: "
                f"{'; '.join(faults)}. Nothing was written."
            )
        self._remember(example)
        rows = self._waiting[example.split]
        rows.append(to_row(example))
        if len(rows) == self._size:
            self._flush(example.split)

    def _remember(self, example: Example) -> None:
        short = hashlib.sha256(example.id.encode()).digest()[:12]
        if short in self._ids:
            raise DataError(
                f"Two examples of {example.source} have one id: {example.id}. Nothing was "
                "written. Ids must be unique within a store."
            )
        self._ids.add(short)
        self._splits_of[example.subject].add(example.split)
        self._sources[example.source, example.licence] += 1
        self._digest.update(bytes.fromhex(example.content_hash()))

    def _flush(self, split: str) -> None:
        import pyarrow.parquet as parquet
        from datasets import Dataset

        rows, self._waiting[split] = self._waiting[split], []
        path = self._folder / f"{split}-{len(self._written[split]):05d}.parquet.partial"
        # The table carries the features in its metadata: `datasets` reads it with its types.
        parquet.write_table(Dataset.from_list(rows, features=features()).data.table, path)
        self._written[split].append((path, len(rows)))

    def finish(self, images_root: str, remarks: dict[str, int]) -> Description:
        if not self._sources:
            counted = ", ".join(f"{reason}: {count}" for reason, count in remarks.items())
            raise DataError(
                f"There are no examples to write{f' ({counted})' if counted else ''}. "
                "Check the folders given."
            )
        refuse_shared_subjects(self._splits_of)
        for split in list(self._waiting):
            if self._waiting[split]:
                self._flush(split)
        # Killed from here on, the same command finds its own shards, and not somebody else's.
        (self._folder / WRITING).touch()
        # From here on the old store is gone: without its description nothing reads it.
        (self._folder / DESCRIPTION).unlink(missing_ok=True)
        for split in SPLITS:
            for old in self._folder.glob(f"{split}-?????-of-?????.parquet"):
                old.unlink()
        shards = [
            self._put_in_place(split, number, path, count)
            for split in SPLITS
            for number, (path, count) in enumerate(self._written.get(split, ()))
        ]
        description = Description(
            content_hash=self._digest.hexdigest(),
            images_root=images_root,
            splits={
                split: sum(count for _, count in self._written[split])
                for split in SPLITS
                if split in self._written
            },
            subjects={
                split: sum(split in splits for splits in self._splits_of.values())
                for split in SPLITS
                if split in self._written
            },
            sources=[
                Source(name=name, licence=licence, examples=count)
                for (name, licence), count in sorted(self._sources.items())
            ],
            shards=shards,
            remarks=remarks,
        )
        write_whole(self._folder / DESCRIPTION, description.model_dump_json(indent=2) + "\n")
        (self._folder / WRITING).unlink()
        return description

    def _put_in_place(self, split: str, number: int, path: Path, count: int) -> Shard:
        name = f"{split}-{number:05d}-of-{len(self._written[split]):05d}.parquet"
        path.replace(self._folder / name)
        return Shard(file=name, split=split, examples=count, sha256=file_hash(self._folder / name))


def refuse_shared_subjects(splits_of: Mapping[str, Iterable[str]]) -> None:
    """Refuse splits that share subjects.

    Raises
    ------
    DataError
        Says how many subjects are shared, and never which.
    """
    shared = subjects_in_several_splits(splits_of)
    if shared:
        counts = ", ".join(f"{splits}: {count}" for splits, count in sorted(shared.items()))
        total = sum(shared.values())
        raise DataError(
            f"{total} subject{'s' if total > 1 else ''} would be in more than one split "
            f"({counts}). What is tested on must not be learnt from. Give every subject one "
            "split, or let `deepmedix data prepare --overlap drop` leave out of training who "
            "is tested on."
        )
