"""Choice of the reply's format from the Accept header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import math

from starlette.datastructures import Headers

from service.api.problems import not_acceptable

JSON = "application/json"
PNG = "image/png"
MARKDOWN = "text/markdown"
EVENTS = "text/event-stream"

READING_FORMATS = (JSON, PNG, MARKDOWN, EVENTS)
"""Formats of a reading, the default first."""


def accept_of(headers: Headers) -> str | None:
    """Return the Accept header; several of them are one list (RFC 9110, section 5.3)."""
    return ",".join(headers.getlist("accept")) or None


def choose_format(accept: str | None, offered: tuple[str, ...] = READING_FORMATS) -> str:
    """Return the offered media type that the caller likes best.

    Parameters
    ----------
    accept
        Value of the Accept header; ``None`` or empty means "anything".
    offered
        Media types that the endpoint can produce; earlier wins a tie.

    Raises
    ------
    Problem
        ``not-acceptable`` (406) when the caller takes none of them.
    """
    ranges = _parse(accept or "*/*")
    best, best_quality = None, 0.0
    for media_type in offered:
        quality = _quality(media_type, ranges)
        if quality > best_quality:
            best, best_quality = media_type, quality
    if best is None:
        raise not_acceptable(offered)
    return best


def _parse(accept: str) -> list[tuple[str, float]]:
    ranges = []
    for item in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        if not media_range:
            continue
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                quality = _number(value)
        ranges.append((media_range, quality))
    return ranges


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """Quality of the most specific range that matches."""
    kind = media_type.split("/")[0]
    for pattern in (media_type, f"{kind}/*", "*/*"):
        matching = [quality for media_range, quality in ranges if media_range == pattern]
        if matching:
            return max(matching)
    return 0.0
