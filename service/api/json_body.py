"""A JSON body: its fields, and its films in base64; a large one is read beside the event loop."""

from __future__ import annotations

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from service.api.problems import malformed_request

IMAGE = "image"
"""Name of the field that holds the films, in a form and in JSON alike."""

_LARGE = 256 * 1024
"""Bytes from which on reading would hold the event loop up."""

_PIECE = 1024 * 1024
"""Characters decoded at once: a thread holds the interpreter for no longer than that takes."""

_MOST_VALUES = 65_536
"""Lists, objects and commas; any fields need fewer, and each may cost twenty times its bytes."""

_MOST_TEXT = 1024 * 1024
"""Bytes of JSON that the fields beside the films may take; each has a bound of its own."""

_ONE_AT_A_TIME = ThreadPoolExecutor(1, "json-body")
"""While it is read, a body takes several times its size."""


class _RepeatedNameError(ValueError):
    """An object holds a name twice."""


async def parse_json(body: bytes) -> tuple[list[bytes], dict[str, Any]]:
    """Return the films and the fields of a JSON object.

    Raises
    ------
    Problem
        ``malformed-request`` (400).
    """
    if len(body) < _LARGE:
        return _parse(body)
    return await asyncio.get_running_loop().run_in_executor(_ONE_AT_A_TIME, _parse, body)


def _parse(body: bytes) -> tuple[list[bytes], dict[str, Any]]:
    if sum(map(body.count, (b"[", b"{", b","))) > _MOST_VALUES:
        raise malformed_request("Send one JSON object with no more than the fields known here.")
    try:
        document = json.loads(body, parse_float=_number, object_pairs_hook=_object)
    except _RepeatedNameError as error:
        raise malformed_request("Name each field once; several films go into one list.") from error
    except (ValueError, RecursionError) as error:
        raise malformed_request("Send one JSON object in UTF-8.") from error
    if not isinstance(document, dict):
        raise malformed_request("Send one JSON object.")
    encoded = document.pop(IMAGE, [])
    encoded = [encoded] if isinstance(encoded, str) else encoded
    if not isinstance(encoded, list) or not all(isinstance(item, str) for item in encoded):
        raise malformed_request(f"`{IMAGE}` must be a list of films in base64.")
    if len(body) >= _LARGE and len(json.dumps(document)) > _MOST_TEXT:
        raise malformed_request("Send one JSON object of short texts; films go into `image`.")
    try:
        films = [_decode(item) for item in encoded]
    except ValueError as error:
        raise malformed_request(
            f"`{IMAGE}` must hold plain base64 (RFC 4648, section 4), without a data: prefix."
        ) from error
    return films, document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Take no name twice: which counts is left open (RFC 8259, 4), and a film would be lost."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise _RepeatedNameError
    return document


def _decode(text: str) -> bytes:
    """Decode base64, which the usual tools break into lines, piece by piece."""
    padding = text.find("=")
    if padding >= 0 and (text[padding:].strip("=\r\n") or text.count("=") > 2):
        raise ValueError("there is more after the padding")
    pieces, rest = [], ""
    for start in range(0, len(text), _PIECE):
        piece = rest + text[start : start + _PIECE].replace("\r", "").replace("\n", "")
        whole = len(piece) - len(piece) % 4
        pieces.append(base64.b64decode(piece[:whole], validate=True))
        rest = piece[whole:]
    pieces.append(base64.b64decode(rest, validate=True))
    return b"".join(pieces)


def _number(text: str) -> float | int:
    """Read a JSON number; a whole one is an integer however it is written (JSON Schema, 6.1.1)."""
    number = float(text)
    return int(number) if number.is_integer() else number
