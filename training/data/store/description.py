"""``dataset.json``: what a store holds, how it is verified, and where its images are."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.data.store.errors import DataError
from training.data.store.features import SCHEMA_VERSION

DESCRIPTION = "dataset.json"
PREPARATION = "preparation.json"
"""How a store was prepared from a data set; written before the store itself."""
COMBINATION = "combination.json"
"""Which stores a store was combined of; written behind the store itself."""
WRITING = "dataset.writing"
"""Stands in a folder while a store's shards are put into their places there."""


class Source(BaseModel):
    """A data set that examples came from, and the terms of its use."""

    model_config = ConfigDict(extra="forbid")

    name: str
    licence: str
    examples: int


class Shard(BaseModel):
    """A Parquet file of a store."""

    model_config = ConfigDict(extra="forbid")

    file: str
    split: str
    examples: int
    sha256: str


class Description(BaseModel):
    """The whole of ``dataset.json``.

    Attributes
    ----------
    content_hash
        SHA-256 over the content hashes of all examples in order: equal for equal examples,
        however they are cut into shards.
    images_root
        Folder that image paths are relative to; itself relative to the store, or absolute.
    splits, subjects
        Examples and patients by split.
    remarks
        What was left out or mended while preparing, and how often.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    content_hash: str
    images_root: str
    splits: dict[str, int]
    subjects: dict[str, int]
    sources: list[Source]
    shards: list[Shard]
    remarks: dict[str, int] = Field(default_factory=dict)


def read_description(folder: Path) -> Description:
    """Read ``dataset.json`` of a store.

    Raises
    ------
    DataError
        When there is none, or one of another version or form.
    """
    path = folder / DESCRIPTION
    if not path.exists():
        raise DataError(
            f"{folder} is no store of examples: it has no {DESCRIPTION}. "
            "Write one with `deepmedix data prepare`; an interrupted one is continued by the "
            "same command."
        )
    try:
        description = Description.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fields = ", ".join(
            sorted({str(fault["loc"][0]) for fault in error.errors() if fault["loc"]})
        )
        raise DataError(
            f"{path} is not what this version writes{f' ({fields})' if fields else ''}. "
            "Prepare the data again."
        ) from error
    if description.schema_version != SCHEMA_VERSION:
        raise DataError(
            f"{path} is of schema version {description.schema_version}; this program reads "
            f"version {SCHEMA_VERSION}. Prepare the data again."
        )
    return description


def images_folder(folder: Path) -> Path:
    """Folder that a store's image paths are relative to.

    Raises
    ------
    DataError
        See :func:`read_description`.
    """
    return folder / read_description(folder).images_root


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
