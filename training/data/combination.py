"""Make one store of several."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from training.data.example import SPLITS, Example
from training.data.preparation import OVERLAPPING
from training.data.store import (
    DESCRIPTION,
    DataError,
    Description,
    images_folder,
    read_description,
    read_examples,
    write_examples,
)
from training.data.store.description import COMBINATION, PREPARATION
from training.whole_file import write_whole


def combine_stores(
    stores: Sequence[Path], folder: Path, *, overlap: Literal["refuse", "drop"] = "refuse"
) -> Description:
    """Write all examples of some stores as one.

    Image paths are rewritten relative to the deepest folder that holds all images. Subjects
    keep their namespace, so that a patient of two sets of one collection is one patient. What was
    left out of the stores stays counted.

    Parameters
    ----------
    overlap
        ``drop`` leaves subjects with several splits out of all but the one furthest from
        training; ``refuse`` refuses them.

    Raises
    ------
    DataError
        When a store cannot be read, the folder holds a store that was not combined here, or the
        examples make no sound store together.
    """
    if folder.resolve() in {store.resolve() for store in stores}:
        raise DataError(f"{folder} is one of the stores to combine. Give another folder.")
    _refuse_others_store(folder)
    roots = [images_folder(store).resolve() for store in stores]
    try:
        shared = Path(os.path.commonpath(roots))
    except ValueError as error:
        raise DataError("The stores' images have no folder in common.") from error
    kept: dict[str, str] = {}
    if overlap == "drop":
        splits_of: dict[str, set[str]] = defaultdict(set)
        for store in stores:
            for example in read_examples(store):
                splits_of[example.subject].add(example.split)
        kept = {subject: max(found, key=SPLITS.index) for subject, found in splits_of.items()}
    remarks: Counter[str] = Counter()
    for store in stores:
        remarks.update(read_description(store).remarks)

    def examples() -> Iterator[Example]:
        for store, root in zip(stores, roots, strict=True):
            below = root.relative_to(shared)
            for example in read_examples(store):
                if kept.get(example.subject, example.split) != example.split:
                    remarks[OVERLAPPING] += 1
                    continue
                paths = tuple((below / path).as_posix() for path in example.images)
                yield replace(example, images=paths)

    description = write_examples(folder, examples(), images_root=shared, remarks=remarks)
    told = {
        "stores": [str(store.resolve()) for store in stores],
        "content_hash": description.content_hash,
    }
    write_whole(folder / COMBINATION, json.dumps(told, indent=2) + "\n")
    return description


def _refuse_others_store(folder: Path) -> None:
    """Only what this wrote may be replaced by it: another store may have taken days to make."""
    if not any((folder / name).exists() for name in (DESCRIPTION, PREPARATION)):
        return
    try:
        told = json.loads((folder / COMBINATION).read_text(encoding="utf-8"))["content_hash"]
        ours = told == read_description(folder).content_hash
    except (OSError, ValueError, LookupError, TypeError, DataError):
        ours = False
    if not ours:
        raise DataError(
            f"{folder} holds a store, or a preparation of one, that was not combined here. Give "
            "another folder, or remove this one first."
        )
