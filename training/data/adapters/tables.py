"""Tables and JSON as data sets publish them: plain, gzipped, or zipped."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from training.data.store.errors import DataError

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # whole reports stand in one field
_PACKED = ("", ".gz", ".zip")
_BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError)
"""What reading a file that was cut off or is of another form raises."""


def find_file(root: Path, *names: str) -> Path:
    """The first of some files that is there, as named or packed as ``.gz`` or ``.zip``.

    Raises
    ------
    DataError
        When none is.
    """
    found = look_for_file(root, *names)
    if found is None:
        raise DataError(f"{root} has no {' or '.join(names)}. Give the folder as it was published.")
    return found


def look_for_file(root: Path, *names: str) -> Path | None:
    """As :func:`find_file`, None when there is none."""
    paths = (root / f"{name}{packed}" for name in names for packed in _PACKED)
    return next((path for path in paths if path.is_file()), None)


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Text of a file, unpacked; of a zip archive, its only (or first) member."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
            yield io.TextIOWrapper(member, "utf-8-sig", newline="")
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file


def read_table(path: Path, columns: Iterable[str]) -> Iterator[dict[str, str]]:
    """Rows of a CSV, with the columns asked for alone.

    Raises
    ------
    DataError
        When a column is missing, or the file is no table.
    """
    wanted = list(columns)
    try:
        with opened(path) as file:
            reader = csv.DictReader(file)
            there = reader.fieldnames or []
            missing = [column for column in wanted if column not in there]
            if missing:
                raise DataError(
                    f"{path.name} has no column {', '.join(missing)}; it has {', '.join(there)}."
                )
            for row in reader:
                yield {column: (row[column] or "").strip() for column in wanted}
    except (*_BROKEN, csv.Error) as error:
        raise DataError(f"{path.name} cannot be read as a table: {error}.") from error


def columns_of(path: Path) -> list[str]:
    """Names of a CSV's columns.

    Raises
    ------
    DataError
        When the file is no table.
    """
    try:
        with opened(path) as file:
            return next(csv.reader(file), [])
    except (*_BROKEN, csv.Error) as error:
        raise DataError(f"{path.name} cannot be read as a table: {error}.") from error


def read_json(path: Path) -> Any:
    """A whole JSON document.

    Raises
    ------
    DataError
        When it is none.
    """
    try:
        with opened(path) as file:
            return json.load(file)
    except (*_BROKEN, json.JSONDecodeError) as error:
        raise DataError(f"{path.name} cannot be read as JSON: {error}.") from error


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """JSON objects, one on each line; empty lines are skipped.

    Raises
    ------
    DataError
        When a line holds none, with its number.
    """
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path.name}, line {number}: {error}.") from error
        if not isinstance(record, dict):
            raise DataError(f"{path.name}, line {number}: not a JSON object.")
        yield record


def _lines(path: Path) -> Iterator[str]:
    try:
        with opened(path) as file:
            yield from file
    except _BROKEN as error:
        raise DataError(f"{path.name} cannot be read: {error}.") from error
