"""What a request says of its body before it comes."""

from __future__ import annotations

import sys

from starlette.datastructures import Headers

_DIGITS = 18
"""Of a number that any machine could hold; Python refuses to read one of thousands."""


def announced_length(headers: Headers) -> int | None:
    """Return the body's length in bytes as announced, ``None`` where it is not.

    Zeros may lead the number, and it has no bound (RFC 9110, 8.6): what is longer than any body
    counts as the largest number there is.
    """
    text = headers.get("content-length", "")
    if not text.isdecimal():
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else sys.maxsize
