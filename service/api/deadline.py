"""How long a request may take: ``Prefer: wait`` (RFC 7240, section 4.3) or a header of ours."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from starlette.datastructures import Headers

from service.api.problems import invalid_header

TIMEOUT_HEADER = "X-Request-Timeout"

_SECONDS = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
"""A number as JSON writes it; its schema is that of one."""
_DELTA_SECONDS = re.compile(r"\d+", re.ASCII)
_MOST_DIGITS = 9
"""Of seconds; more are more than anything (and ``int`` refuses thousands)."""
# A preference: name, value and parameters, up to a comma that stands in no quoted string.
_ITEM = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_PARAMETER = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)


def time_limit(headers: Headers, most: float) -> tuple[float, str | None]:
    """Return the seconds that a request may take, and the ``Preference-Applied`` of the reply.

    Parameters
    ----------
    headers
        Of the request. Where both headers are there, the shorter time counts; preferences that
        are not ours are ignored, as RFC 7240 has it.
    most
        Seconds, the default and the most.

    Raises
    ------
    Problem
        ``invalid-header`` (400) for a time that is none.
    """
    seconds = most
    given = headers.getlist(TIMEOUT_HEADER)
    if given:
        if len(given) > 1 or not _SECONDS.fullmatch(given[0].strip()) or float(given[0]) == 0:
            raise invalid_header(TIMEOUT_HEADER, "one number of seconds above 0")
        seconds = min(seconds, float(given[0]))
    wait = next((value for name, value in _preferences(headers) if name == "wait"), None)
    if wait is None:
        return seconds, None
    digits = wait.lstrip("0")
    if not _DELTA_SECONDS.fullmatch(wait) or not digits:
        raise invalid_header("Prefer", "wait= with a whole number of seconds above 0")
    if len(digits) > _MOST_DIGITS or int(digits) > seconds:
        # What the caller prefers is not what it gets: it is told what it gets.
        return seconds, f"wait={math.floor(seconds)}" if seconds >= 1 else None
    return float(digits), f"wait={digits}"


def _preferences(headers: Headers) -> Iterator[tuple[str, str]]:
    """Yield names, in lower case, and values; of a repeated one the first counts."""
    for item in _ITEM.findall(",".join(headers.getlist("prefer"))):
        preference = (_PARAMETER.findall(item) or [""])[0]
        name, _, value = preference.partition("=")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        yield name.strip().lower(), value
