"""JSON lines that hold whatever texts hold.

Lines end at a newline and nowhere else: U+0085, U+2028 and their like may stand inside a string.
"""

from __future__ import annotations

import json
from pathlib import Path


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1.

    Bytes that are no UTF-8, such as a character that a killed run left cut, become U+FFFD.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    text = path.read_bytes().decode("utf-8-sig", "replace")
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def sound(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which JSON can escape and UTF-8 cannot hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def sound_json(line: str) -> str:
    """JSON with :func:`sound` strings.

    Raises
    ------
    ValueError
        When the line is no JSON.
    """
    return sound(json.dumps(json.loads(line), ensure_ascii=False))
