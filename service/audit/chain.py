"""The hash chain: each line of an audit file holds the SHA-256 of the line before it.

A line is one JSON object in ASCII::

    {"sequence":7,"previous":"<64 hex>","event":{...},"sha256":"<64 hex>"}

``previous`` is the SHA-256 of the whole previous line, without its line break; ``sha256`` that of
this line without its last member (``{...}`` as it was before that was added), so that a change of
the last line shows too. Instead of ``event`` a line can hold ``genesis`` (the first line of a
file), ``torn`` (what stands before it was cut off by a crash) or ``resumed`` (recording failed, and
works again).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

FORMAT = "deepmedix-audit/1"
NO_HASH = "0" * 64
"""``previous`` of the first line of all."""

_SEAL = re.compile(rb',"sha256":"([0-9a-f]{64})"}')
_SEAL_LENGTH = len(',"sha256":""}') + 64
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class RecordKind(StrEnum):
    """What a line holds."""

    GENESIS = "genesis"
    EVENT = "event"
    TORN = "torn"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True)
class Record:
    """A line, read.

    Attributes
    ----------
    sequence
        Counts the lines of all files of a trail, from 0.
    previous
        Hash of the previous line.
    kind, payload
        What it holds.
    hash
        Of this line, which the next one holds.
    """

    sequence: int
    previous: str
    kind: RecordKind
    payload: Mapping[str, Any]
    hash: str


class ChangedLineError(ValueError):
    """A line is not as it was written."""


def line_hash(line: bytes) -> str:
    """Return the hash of a line, given without its line break."""
    return hashlib.sha256(line).hexdigest()


def encode(sequence: int, previous: str, kind: RecordKind, payload: Mapping[str, Any]) -> bytes:
    """Return a line, without its line break."""
    body = json.dumps(
        {"sequence": sequence, "previous": previous, kind.value: payload},
        ensure_ascii=True,
        allow_nan=False,
        separators=(",", ":"),
    ).encode()
    return body[:-1] + f',"sha256":"{line_hash(body)}"}}'.encode()


def decode(line: bytes) -> Record:
    """Read a line, given without its line break.

    Raises
    ------
    ChangedLineError
        When it is not a line as :func:`encode` writes it.
    """
    seal = _SEAL.fullmatch(line[-_SEAL_LENGTH:])
    body = line[:-_SEAL_LENGTH] + b"}"
    if seal is None or line_hash(body) != seal[1].decode():
        raise ChangedLineError
    try:
        content = json.loads(body)
        sequence, previous = content.pop("sequence"), content.pop("previous")
        ((kind, payload),) = content.items()
        kind = RecordKind(kind)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ChangedLineError from error
    if (
        not isinstance(sequence, int)
        or not isinstance(previous, str)
        or not _HASH.fullmatch(previous)
        or not isinstance(payload, dict)
    ):
        raise ChangedLineError
    return Record(sequence, previous, kind, payload, line_hash(line))


def may_be_torn(line: bytes) -> bool:
    """Tell whether a line may be the beginning of one that was cut off, rather than a whole one."""
    return _SEAL.search(line) is None


def fragment_description(line: bytes) -> dict[str, Any]:
    """Return what a ``torn`` record says of a line that was cut off."""
    return {"bytes": len(line), "sha256": line_hash(line)}
