"""The head file: number and hash of the last line, kept beside an audit file.

A chain cannot show that its last lines were cut off; a second file that names the last line can. It
is written in place after each line, without waiting for the disk: after a power cut it may name an
earlier line, never a later one that was not written.
"""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

FORMAT = "deepmedix-audit-head/1"

_LENGTH = 192  # always the same, so that nothing of an older one is left over
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class DamagedHeadError(ValueError):
    """A head file is not as it was written."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of a trail.

    Attributes
    ----------
    sequence
        Its number.
    hash
        Its SHA-256, 64 hexadecimal digits.
    """

    sequence: int
    hash: str


def head_file(path: Path) -> Path:
    """Return the head file of an audit file.

    Raises
    ------
    IsADirectoryError
        Where the path has no name, as ``.`` and ``/``.
    """
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return path.with_name(path.name + ".head")


def write_head(path: Path, head: Head) -> None:
    """Write the head file of an audit file.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    content = {"format": FORMAT, "sequence": head.sequence, "sha256": head.hash}
    data = json.dumps(content, separators=(",", ":")).ljust(_LENGTH - 1).encode() + b"\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    descriptor = os.open(head_file(path), flags, 0o600)
    try:
        if os.pwrite(descriptor, data, 0) != len(data):
            raise OSError(None, "the head file could not be written whole")
    finally:
        os.close(descriptor)


def read_head(path: Path) -> Head | None:
    """Return what the head file of an audit file says, ``None`` where there is none.

    Raises
    ------
    DamagedHeadError
        When it is not as :func:`write_head` writes it.
    OSError
        When it cannot be read.
    """
    try:
        descriptor = os.open(head_file(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(_LENGTH + 1)
    try:
        content = json.loads(data)
        sequence, digest = content["sequence"], content["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedHeadError from error
    if (
        len(data) != _LENGTH
        or content.get("format") != FORMAT
        or type(sequence) is not int
        or not isinstance(digest, str)
        or not _HASH.fullmatch(digest)
    ):
        raise DamagedHeadError
    return Head(sequence, digest)
