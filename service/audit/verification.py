"""Checking a trail: is each line as it was written, and does each follow the one before it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service.audit.chain import (
    NO_HASH,
    ChangedLineError,
    Record,
    RecordKind,
    decode,
    fragment_description,
    may_be_torn,
)

_MAX_LINE = 16 * 1024 * 1024


@dataclass(frozen=True)
class Fault:
    """Where a trail is not as it was written.

    Attributes
    ----------
    file, line
        Where; lines count from 1.
    kind
        ``changed-line``, ``broken-chain``, ``no-genesis``, ``empty-file`` or ``other-head``.
    detail
        What it means, in a sentence.
    """

    file: str
    line: int
    kind: str
    detail: str


@dataclass
class Verification:
    """What was found.

    Attributes
    ----------
    files, lines, events
        How much was read.
    fault
        The first fault, or ``None`` where the trail is intact.
    torn
        Places (file and line) where a line was cut off by a crash, as the trail itself says, or,
        at its end, as it seems.
    continues
        Hash of the last line of the file before the first one given, where there was one.
    head_sequence, head
        Number and hash of the last line: compare it with one kept elsewhere, for that the last
        lines were cut away no chain can show.
    """

    files: int = 0
    lines: int = 0
    events: int = 0
    fault: Fault | None = None
    torn: list[tuple[str, int]] = field(default_factory=list)
    continues: str | None = None
    head_sequence: int | None = None
    head: str | None = None

    @property
    def intact(self) -> bool:
        """Whether no fault was found."""
        return self.fault is None


def verify(paths: Iterable[Path], *, expected_head: str | None = None) -> Verification:
    """Check the files of one trail, oldest first.

    Parameters
    ----------
    paths
        The files, in the order in which they were written.
    expected_head
        Hash that the trail must contain in its last line.

    Raises
    ------
    OSError
        When a file cannot be read.
    """
    found = Verification()
    last: Record | None = None
    path = None
    for path in paths:
        found.files += 1
        last = _verify_file(path, last, found)
        if found.fault is not None:
            return found
    if expected_head is not None and found.head != expected_head.lower():
        detail = "the last line is not the one expected: lines were cut off at the end, or added"
        found.fault = Fault(str(path), found.lines, "other-head", detail)
    return found


def _verify_file(path: Path, before: Record | None, found: Verification) -> Record | None:
    last = before
    pending: list[bytes] = []
    number = 0
    for number, (line, ended) in enumerate(_lines(path), start=1):
        found.lines += 1
        try:
            record = decode(line)
        except ChangedLineError:
            if number == 1 or not may_be_torn(line):
                found.fault = Fault(
                    str(path), number, "changed-line", "the line is not as it was written"
                )
                return last
            pending.append(line)
            if not ended:
                found.torn.append((str(path), number))  # the end of the file: cut off by a crash?
                pending = []
            continue
        found.fault = _fault(path, number, record, last, pending, first=number == 1)
        if found.fault is not None:
            return last
        if pending:
            found.torn += [(str(path), number - back) for back in range(len(pending), 0, -1)]
            pending = []
        if number == 1 and before is None and record.previous != NO_HASH:
            found.continues = record.previous
        found.events += record.kind is RecordKind.EVENT
        last = record
        found.head_sequence, found.head = record.sequence, record.hash
    if number == 0:
        found.fault = Fault(str(path), 0, "empty-file", "the file holds no line at all")
    elif pending:
        found.fault = Fault(
            str(path),
            number - len(pending) + 1,
            "changed-line",
            "the line is not as it was written",
        )
    return last


def _fault(
    path: Path,
    number: int,
    record: Record,
    last: Record | None,
    pending: list[bytes],
    *,
    first: bool,
) -> Fault | None:
    """Return what is wrong with a line that is whole in itself."""
    if first != (record.kind is RecordKind.GENESIS):
        what = "the file does not begin with its first line" if first else "a file begins here"
        return Fault(str(path), number, "no-genesis", f"{what}: lines before it are missing")
    described = [fragment_description(line) for line in pending]
    if pending and (
        record.kind is not RecordKind.TORN or record.payload.get("fragments") != described
    ):
        return Fault(
            str(path), number - len(pending), "changed-line", "the line is not as it was written"
        )
    if record.kind is RecordKind.TORN and not pending:
        return Fault(str(path), number, "broken-chain", "a line before this one is missing")
    if last is None:
        begins = (record.sequence == 0) == (record.previous == NO_HASH)
        broken = not begins
    else:
        broken = record.previous != last.hash or record.sequence != last.sequence + 1
    if broken:
        detail = "the line does not follow the one before it: lines were removed, added or changed"
        return Fault(str(path), number, "broken-chain", detail)
    return None


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield each line without its break, and whether it had one."""
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE):
            yield line.removesuffix(b"\n"), line.endswith(b"\n")
