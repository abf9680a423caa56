"""The append-only file of the audit trail."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from service.audit.chain import (
    FORMAT,
    NO_HASH,
    ChangedLineError,
    Record,
    RecordKind,
    decode,
    encode,
    fragment_description,
    line_hash,
)
from service.audit.head import DamagedHeadError, Head, head_file, read_head, write_head

LOG = logging.getLogger("deepmedix")

_BLOCK = 64 * 1024
_MAX_TAIL = 16 * 1024 * 1024
_BEGINNING = b'{"sequence":'

Result = TypeVar("Result")


class AuditUnavailableError(Exception):
    """Nothing can be recorded; the text says why, for the operator.

    Parameters
    ----------
    reason
        Why.
    retry_after
        Seconds until recording is tried again, where it is not tried with the next request.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class LineStaysError(AuditUnavailableError):
    """A line is in the file, whole, but perhaps not on the disk, and cannot be taken back."""


class AuditFile:
    """A file of JSON lines that is only ever appended to, in one hash chain.

    Opening it again, after a restart or a crash, goes on with the chain: a last line that was cut
    off stays where it is, and the next line says so. A file that was moved away (rotation) or
    removed is noticed before the next line is written; the new file's first line then names the
    hash of the last line of the old one.

    A head file beside it names the last line (:mod:`service.audit.head`). Where it names one that
    the file does not hold, lines were removed while nothing ran: the chain goes on from the line
    named, so that the gap shows ever after.

    All methods block; they may be called from several threads.

    Parameters
    ----------
    path
        The file; made with mode 0600 where it is missing. Its folder must exist.
    fsync
        Whether each line is on the disk before :meth:`append` returns; else it is left to the
        system, and a power cut may take the last seconds' lines.
    """

    def __init__(self, path: Path, *, fsync: bool = True) -> None:
        self.path = path
        self._fsync = fsync
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._sequence = -1
        self._hash = NO_HASH

    @property
    def head(self) -> tuple[int, str]:
        """Sequence number and hash of the last line, (-1, zeros) before the first."""
        return self._sequence, self._hash

    def open(self) -> None:
        """Open the file and find the end of its chain.

        Raises
        ------
        AuditUnavailableError
            When it cannot be opened or written, or another process writes it.
        """
        with self._lock:
            self._guarded(self._open)

    def append(self, kind: RecordKind, payload: Mapping[str, Any]) -> str:
        """Write one line and return its hash.

        Raises
        ------
        AuditUnavailableError
            When it could not be written whole; what was written of it is taken back, or marked
            as torn by the next line.
        LineStaysError
            When it was written whole, did not reach the disk for certain and could not be taken
            back.
        """
        with self._lock:
            return self._guarded(lambda: self._append(kind, payload))

    def reopen(self) -> None:
        """Close the file and open what now has its name, in the same chain.

        Raises
        ------
        AuditUnavailableError
            As :meth:`open`.
        """
        with self._lock:
            self._close()
            self._guarded(self._open)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _guarded(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except OSError as error:
            self._close()  # the next attempt looks at the file anew
            raise AuditUnavailableError(f"{self.path}: {error.strerror or error}") from error
        except AuditUnavailableError:
            self._close()
            raise

    def _append(self, kind: RecordKind, payload: Mapping[str, Any]) -> str:
        if self._descriptor is not None and self._was_moved():
            self._close()
        if self._descriptor is None:
            self._open()
        return self._write(kind, payload)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = descriptor = os.open(self.path, flags, 0o600)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise AuditUnavailableError(f"{self.path} is not a plain file")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AuditUnavailableError(
                f"another process writes {self.path}; give each its own file (DEEPMEDIX_AUDIT_FILE)"
            ) from error
        last, fragments, ended = _tail(descriptor, found.st_size)
        if last is None and fragments:
            if ended or len(fragments) > 1 or not _begins_a_line(fragments[0]):
                raise AuditUnavailableError(f"{self.path} is not an audit file; name another")
            os.ftruncate(descriptor, 0)  # a crash amid the very first line: nothing to keep
            fragments = []
        if self._sequence < 0:
            self._take_up(last)
        elif last is not None and last.sequence > self._sequence:
            self._sequence, self._hash = last.sequence, last.hash
        # Else, where the file is behind what this process has written, lines were taken from it:
        # going on in the chain as remembered is what shows it.
        if last is None:
            opened = datetime.now(UTC).isoformat(timespec="seconds")
            self._write(RecordKind.GENESIS, {"format": FORMAT, "opened": opened})
            self._sync_folder()
        elif fragments:
            torn = {"fragments": [fragment_description(line) for line in fragments]}
            self._write(RecordKind.TORN, torn, lead=b"" if ended else b"\n")
        elif not ended:
            self._write_all(b"\n")

    def _take_up(self, last: Record | None) -> None:
        """Go on from the last line, or from the one that the head file names if they disagree."""
        head: Head | None = None
        try:
            head = read_head(self.path)
        except DamagedHeadError:
            LOG.error("%s is damaged and is made anew", head_file(self.path))
        if last is not None:
            beyond = head is not None and last.sequence > head.sequence + 1
            if beyond:
                LOG.error(
                    "%s goes on beyond the line that %s names: the head could not be written for a "
                    "while, or lines were added",
                    self.path,
                    head_file(self.path),
                )
            if head is None or beyond or head.hash in (last.hash, last.previous):
                self._sequence, self._hash = last.sequence, last.hash
                return
            LOG.error(
                "%s does not end with the line that %s names: lines were removed or replaced",
                self.path,
                head_file(self.path),
            )
        if head is not None:
            self._sequence, self._hash = head.sequence, head.hash

    def _write(self, kind: RecordKind, payload: Mapping[str, Any], *, lead: bytes = b"") -> str:
        line = encode(self._sequence + 1, self._hash, kind, payload)
        self._write_all(lead + line + b"\n")
        self._sequence += 1
        self._hash = line_hash(line)
        try:
            write_head(self.path, Head(self._sequence, self._hash))
        except OSError as error:  # the line itself is recorded
            LOG.error("%s cannot be written: %s", head_file(self.path), error.strerror or error)
        return self._hash

    def _write_all(self, data: bytes) -> None:
        assert self._descriptor is not None  # opened by whoever calls
        size = os.fstat(self._descriptor).st_size
        written = 0
        try:
            written = os.write(self._descriptor, data)
            if written != len(data):
                raise OSError(None, f"{written} of {len(data)} bytes could be written")
            if self._fsync:
                os.fsync(self._descriptor)
        except OSError as error:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError:  # not allowed on a file that may only be appended to
                if written == len(data):
                    raise LineStaysError(f"{self.path}: {error.strerror or error}") from error
            raise

    def _was_moved(self) -> bool:
        assert self._descriptor is not None
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return True
        held = os.fstat(self._descriptor)
        return (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino)

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _tail(descriptor: int, size: int) -> tuple[Record | None, list[bytes], bool]:
    """Return the last whole line, what stands after it, and whether a line break ends it all."""
    data = b""
    position = size
    ended = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
    while True:
        lines = data.split(b"\n")
        if ended:
            lines.pop()
        # The first piece may lack its beginning until the whole file has been read.
        known = lines if position == 0 else lines[1:]
        fragments: list[bytes] = []
        for line in reversed(known):
            try:
                return decode(line), fragments, ended
            except ChangedLineError:
                fragments.insert(0, line)
        if position == 0:
            return None, fragments, ended
        if len(data) > _MAX_TAIL:
            raise AuditUnavailableError(
                f"the last {_MAX_TAIL} bytes of the audit file hold no whole line; move it away"
            )
        step = min(max(_BLOCK, len(data)), position)
        position -= step
        data = os.pread(descriptor, step, position) + data


def _begins_a_line(fragment: bytes) -> bool:
    return fragment[: len(_BEGINNING)] == _BEGINNING[: len(fragment)]
