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
from service.audit.head import DamagedHeadError, Head, head_file, read_head

_MAX_LINE = 16 * 1024 * 1024


@dataclass(frozen=True)
class Fault:
    """Where a trail is not as it was written.

    Attributes
    ----------
    file, line
        Where; lines count from 1.
    kind
        ``changed-line``, ``broken-chain``, ``no-genesis``, ``empty-file``; of the end:
        ``missing-end``, ``beyond-head``, ``other-line``, ``damaged-head``, ``other-head``,
        ``torn-end``.
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
        Places (file and line) where a line was cut off by a crash, as the trail itself says.
    continues
        Hash of the last line of the file before the first one given, where there was one.
    head_sequence, head
        Number and hash of the last line: compare it with one kept elsewhere, for that the last
        lines were cut away no chain can show.
    head_file
        The head file that the end was compared with, or ``None`` where there is none.
    """

    files: int = 0
    lines: int = 0
    events: int = 0
    fault: Fault | None = None
    torn: list[tuple[str, int]] = field(default_factory=list)
    continues: str | None = None
    head_sequence: int | None = None
    head: str | None = None
    head_file: str | None = None

    @property
    def intact(self) -> bool:
        """Whether no fault was found."""
        return self.fault is None

    @property
    def torn_end(self) -> bool:
        """Whether all that is wrong is a piece of a line at the end, which nothing explains.

        It is what a crash leaves until the service runs again and notes it, and also what is left
        of a last line that somebody changed or cut.
        """
        return self.fault is not None and self.fault.kind == "torn-end"


def verify(paths: Iterable[Path], *, expected_head: str | None = None) -> Verification:
    """Check the files of one trail, oldest first.

    The end is compared with the head file beside the last file, where there is one.

    Parameters
    ----------
    paths
        The files, in the order in which they were written; at least one.
    expected_head
        Hash of a line that the trail must contain: the last one at some earlier time.

    Raises
    ------
    OSError
        When a file cannot be read.
    ValueError
        When no file is given.
    """
    files = list(paths)
    if not files:
        raise ValueError("there is no file to verify")
    found = Verification()
    try:
        head = read_head(files[-1])  # first, for the service may be writing
        if head is not None:
            found.head_file = str(head_file(files[-1]))
        walk = _Walk(found, head, expected_head)
        for path in files:
            found.files += 1
            walk.verify_file(path)
            if found.fault is not None:
                return found
        fault = _fault_of_end(found, str(files[-1]), head, missed=walk.missed)
        found.fault = fault or _beyond_head(found, files[-1]) or walk.torn_end
    except DamagedHeadError:
        detail = "the head file is not as it was written"
        found.fault = Fault(str(head_file(files[-1])), 1, "damaged-head", detail)
    return found


def _beyond_head(found: Verification, file: Path) -> Fault | None:
    """Lines that the head file does not know; one, where the service has just written it."""
    head = read_head(file)  # once more: the service may have written since
    if head is None or found.head_sequence is None or found.head_sequence <= head.sequence + 1:
        return None
    detail = (
        f"the head file names line {head.sequence} as the last: lines were added, or it could not "
        "be written for a while, of which the service's log tells"
    )
    return Fault(str(file), found.lines, "beyond-head", detail)


def _fault_of_end(
    found: Verification, file: str, head: Head | None, *, missed: bool
) -> Fault | None:
    if head is not None and (found.head_sequence is None or found.head_sequence < head.sequence):
        detail = f"the head file names line {head.sequence} of the trail: the end was cut off"
        return Fault(file, found.lines, "missing-end", detail)
    if missed:
        detail = (
            "no line has the hash that was expected: lines were cut off, or the chain made anew"
        )
        return Fault(file, found.lines, "other-head", detail)
    return None


class _Walk:
    """Through the lines of all files."""

    def __init__(self, found: Verification, head: Head | None, expected_head: str | None) -> None:
        self._found = found
        self._head = head
        self._expected = None if expected_head is None else expected_head.lower()
        self._last: Record | None = None
        self.torn_end: Fault | None = None

    @property
    def missed(self) -> bool:
        """Whether the line that was expected has not been seen."""
        return self._expected is not None

    def verify_file(self, path: Path) -> None:
        """Verify the next file; what is wrong with it is put into what was found."""
        found, before = self._found, self._last
        pending: list[bytes] = []
        number = 0
        open_end = False
        for number, (line, ended) in enumerate(_lines(path), start=1):
            if open_end:  # a piece without a break that does not end the file was never cut off
                found.fault = _changed(path, number - 1)
                return
            found.lines += 1
            open_end = not ended
            try:
                record = decode(line)
            except ChangedLineError:
                if number == 1 or not may_be_torn(line):
                    found.fault = _changed(path, number)
                    return
                if ended:
                    pending.append(line)
                elif self.torn_end is None:
                    detail = "a piece of a line: cut off by a crash, or changed since"
                    self.torn_end = Fault(str(path), number, "torn-end", detail)
                continue
            found.fault = _fault(path, number, record, self._last, pending, first=number == 1)
            if found.fault is None and self._head is not None:
                found.fault = _fault_of_head(path, number, record, self._head)
            if found.fault is not None:
                return
            if pending:
                found.torn += [(str(path), number - back) for back in range(len(pending), 0, -1)]
                pending = []
            if number == 1 and before is None and record.previous != NO_HASH:
                found.continues = record.previous
            found.events += record.kind is RecordKind.EVENT
            self._last = record
            if self._expected in (record.hash, record.previous):
                self._expected = None
            found.head_sequence, found.head = record.sequence, record.hash
        if number == 0:
            found.fault = Fault(str(path), 0, "empty-file", "the file holds no line at all")
        elif pending:
            # A piece that ends the file does not explain the lines before it.
            first = number - len(pending) + (0 if open_end else 1)
            found.fault = _changed(path, first)


def _changed(path: Path, number: int) -> Fault:
    return Fault(str(path), number, "changed-line", "the line is not as it was written")


def _fault_of_head(path: Path, number: int, record: Record, head: Head) -> Fault | None:
    if record.sequence != head.sequence or record.hash == head.hash:
        return None
    detail = "the line is another one than the head file names: the chain was made anew"
    return Fault(str(path), number, "other-line", detail)


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
        return _changed(path, number - len(pending))
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
    """Yield each line without its break, and whether it had one.

    The last line of a file may lack it, and what is too long for a line comes in pieces without.
    """
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE):
            yield line.removesuffix(b"\n"), line.endswith(b"\n")
