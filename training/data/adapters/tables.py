"""Tables and JSON as data sets publish them: plain, gzipped, or zipped."""

from __future__ import annotations

import codecs
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
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
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
        with path.open(encoding=_encoding(path), newline="") as file:
            yield file


def _encoding(path: Path) -> str:
    """UTF-8, with or without a byte order mark; UTF-16 where one says so, as spreadsheets do."""
    with path.open("rb") as file:
        return (
            "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        )


def _unread(path: Path, kind: str, error: Exception) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return f"{path.name} cannot be read {kind}".rstrip() + f": {error}."
    return (
        f"{path.name}{_first_other_line(path)} is not in UTF-8. Save it as that (a spreadsheet's "
        "`CSV UTF-8`, or `iconv -f latin1 -t utf-8` where it is in Latin-1)."
    )


def _first_other_line(path: Path) -> str:
    """The first line that is no UTF-8, of a file that is not packed."""
    if path.suffix in _PACKED:
        return ""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f", line {number},"
    return ""


def read_table(path: Path, columns: Iterable[str]) -> Iterator[dict[str, str]]:
    """Rows of a CSV, with the columns asked for alone.

    Raises
    ------
    DataError
        When a column is missing or there twice, a row has more or fewer cells than there are
        columns, or the file is no table.
    """
    return (row for _, row in numbered_rows(path, columns))


def numbered_rows(
    path: Path, columns: Iterable[str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """As :func:`read_table`, each row with the number of the line that it begins on.

    Parameters
    ----------
    columns
        All columns where not given: those without a name must be empty then.
    """
    line = 1
    try:
        with opened(path) as file:
            reader = csv.reader(file, strict=True)
            there = _header(reader, path)
            wanted = list(filter(None, there) if columns is None else columns)
            least = max((n for n, name in enumerate(there, 1) if name), default=0)
            missing = [column for column in wanted if column not in there]
            if missing:
                raise DataError(
                    f"{path.name} has no column {', '.join(missing)}; it has {', '.join(there)}."
                )
            twice = [column for column in wanted if there.count(column) > 1]
            if twice:
                raise DataError(f"{path.name} has the column {twice[0]} twice. Rename or drop one.")
            line = reader.line_num + 1
            for cells in reader:
                if len(cells) > len(there):
                    raise DataError(
                        f"{path.name}, line {line}: more cells than there are columns. A text "
                        "that holds a comma must stand in quotes."
                    )
                if cells and len(cells) < least:
                    raise DataError(
                        f"{path.name}, line {line}: fewer cells than there are columns. Was the "
                        "file cut off? An empty cell still needs its comma."
                    )
                row = dict(zip(there, map(_cell, cells), strict=False))
                if columns is None and any(map(str.strip, _unnamed(there, cells))):
                    raise DataError(
                        f"{path.name}, line {line}: a cell that stands in no column. Give the "
                        "column a name, or drop it."
                    )
                if cells:  # else an empty line
                    yield line, {column: row[column] for column in wanted}
                line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {line}: cannot be read as a row: {error}. A quote that is opened "
            "must be closed, and one within a text written twice."
        ) from error
    except _BROKEN as error:
        raise DataError(_unread(path, "as a table", error)) from error


def columns_of(path: Path) -> list[str]:
    """Names of a CSV's columns; those without one are left out.

    Raises
    ------
    DataError
        When the file is no table with commas.
    """
    try:
        with opened(path) as file:
            return list(filter(None, _header(csv.reader(file, strict=True), path)))
    except _BROKEN as error:
        raise DataError(_unread(path, "as a table", error)) from error


def _header(reader: Iterator[list[str]], path: Path) -> list[str]:
    """Names of the columns; empty for those that a spreadsheet left without one."""
    try:
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise DataError(f"{path.name} cannot be read as a table: {error}.") from error
    if len(names) == 1:
        for sign, called in _OTHER_SEPARATORS.items():
            if sign in names[0]:
                raise DataError(
                    f"{path.name} has {called} between its columns. Write it with commas between "
                    "them, and texts that hold commas in quotes."
                )
    return names


def _cell(text: str) -> str:
    """A cell without outer space, its lines ended in one way, whatever system wrote the file."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _unnamed(names: list[str], cells: list[str]) -> Iterator[str]:
    return (cell for name, cell in zip(names, cells, strict=False) if not name)


def read_json(path: Path) -> Any:
    """A whole JSON document; ``NaN`` and ``Infinity``, which are no JSON, are None.

    Raises
    ------
    DataError
        When it is none.
    """
    try:
        with opened(path) as file:
            return json.load(file, parse_constant=no_number)
    except (*_BROKEN, json.JSONDecodeError) as error:
        raise DataError(_unread(path, "as JSON", error)) from error


def no_number(constant: str) -> None:
    """What ``NaN`` stands for where a table with empty cells was written as JSON: nothing."""


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """JSON objects, one on each line; empty lines are skipped.

    Raises
    ------
    DataError
        When a line holds none, with its number.
    """
    return (record for _, record in numbered_json_lines(path))


def numbered_json_lines(
    path: Path, *, strict: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """As :func:`read_json_lines`, each object with the number of its line.

    Parameters
    ----------
    strict
        Refuse ``NaN`` and ``Infinity``, which are no JSON (RFC 8259, section 6), and a name that
        stands twice in an object (section 4); else they are None, and the last one holds.
    """
    constant, pairs = (_refuse, _once) if strict else (no_number, None)
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_constant=constant, object_pairs_hook=pairs)
        except ValueError as error:
            raise DataError(f"{path.name}, line {number}: {error}.") from error
        if not isinstance(record, dict):
            raise DataError(f"{path.name}, line {number}: not a JSON object.")
        yield number, record


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number; write null or leave the field out")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which every name stands once."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the field {name} stands twice")
        found[name] = value
    return found


def _lines(path: Path) -> Iterator[str]:
    try:
        with opened(path) as file:
            yield from file
    except _BROKEN as error:
        raise DataError(_unread(path, "", error)) from error
