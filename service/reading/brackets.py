"""What a square bracket is: a box, something meant for one, or plain text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum, auto

_BRACKET = re.compile(r"\[([^\[\]]*)(\])?")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)", re.I)
_LONGEST_NUMBER = 64
_PLAIN = r"\s*(-?[0-9]{1,12}(?:\.[0-9]{1,12})?)\s*"
_PLAIN_BOX = re.compile(rf"{_PLAIN},{_PLAIN},{_PLAIN},{_PLAIN}")
"""Four plain numbers, which nearly all brackets hold and which need no closer look."""
_UNCLOSED = re.compile(r"[\s\d.,;+\-]*\d")
_WORD = re.compile(r"\w{1,16}")
_FOUR_NUMBERS = re.compile(r"\s*[-+]?[\d.]+(?:[^\w.]+[\d.]+){3}\s*")
_N = r"\s{0,4}[-+]?\d{1,12}(?:\.\d{1,12})?\s{0,4}"
_ROUND = re.compile(rf"\({_N},{_N},{_N},{_N}\)|\({_N},{_N}\)\s{{0,4}},?\s{{0,4}}\({_N},{_N}\)")


class Kind(Enum):
    """What a bracket turned out to be."""

    BOX = auto()
    MALFORMED = auto()
    NOT_FINITE = auto()


@dataclass(frozen=True, slots=True)
class Bracket:
    """A bracket that is, or was meant for, a box.

    Attributes
    ----------
    start, end
        Where it stands in the step; what lies between leaves the readable text. ``start == end``
        where it stays, since it may be read as words.
    values
        Four finite numbers as written, for a box alone.
    """

    start: int
    end: int
    kind: Kind
    values: tuple[float, float, float, float] | None = None


def find_brackets(raw: str) -> list[Bracket]:
    """Return the boxes of a step and what was meant for one, in order; plain text is not listed.

    A box is a square bracket of four finite numbers, divided by commas, semicolons or white space.
    Meant for one, but malformed: another count of numbers from two; four words, or words among
    numbers; nothing at all; four numbers that are not divided so, or in round brackets, all four
    or corner by corner; a bracket of numbers that does not close. Everything else is text, such
    as ``[1]`` or ``[unclear]``.
    """
    found = []
    within: set[int] = set()  # where round brackets stand in square ones, which say it already
    for match in _BRACKET.finditer(raw):
        bracket = _closed(match) if match.group(2) else _unclosed(match)
        if bracket is not None:
            found.append(bracket)
            if "(" in match.group():
                within.update(inner.start() for inner in _ROUND.finditer(raw, *match.span()))
    if "(" not in raw:
        return found
    found += [
        Bracket(match.start(), match.start(), Kind.MALFORMED)
        for match in _ROUND.finditer(raw)
        if match.start() not in within
    ]
    return sorted(found, key=lambda bracket: bracket.start)


def _closed(match: re.Match[str]) -> Bracket | None:
    content = match.group(1)
    start, end = match.span()
    if plain := _PLAIN_BOX.fullmatch(content):
        x0, y0, x1, y1 = map(float, plain.groups())
        return Bracket(start, end, Kind.BOX, (x0, y0, x1, y1))
    pieces = [piece.strip() for piece in re.split("[,;]", content)]
    if not any(pieces):
        return Bracket(start, end, Kind.MALFORMED)
    if len(pieces) == 1:
        pieces = content.split()
    numbers = [piece for piece in pieces if _is_number(piece)]
    if len(numbers) == len(pieces) and len(pieces) > 1:
        if len(pieces) != 4:
            return Bracket(start, end, Kind.MALFORMED)
        x0, y0, x1, y1 = map(float, pieces)
        if not all(map(math.isfinite, (x0, y0, x1, y1))):
            return Bracket(start, end, Kind.NOT_FINITE)
        return Bracket(start, end, Kind.BOX, (x0, y0, x1, y1))
    if len(numbers) >= 2 or _FOUR_NUMBERS.fullmatch(content):
        return Bracket(start, end, Kind.MALFORMED)
    if len(pieces) == 4 and "," in content and _four_words(pieces):
        return Bracket(start, start, Kind.MALFORMED)
    return None


def _unclosed(match: re.Match[str]) -> Bracket | None:
    written = _UNCLOSED.match(match.group(1)) if match.group(1) else None
    if written is None or len(re.findall(r"\d+", written.group())) < 2:
        return None
    return Bracket(match.start(), match.start() + 1 + written.end(), Kind.MALFORMED)


def _is_number(piece: str) -> bool:
    return len(piece) <= _LONGEST_NUMBER and _NUMBER.fullmatch(piece) is not None


def _four_words(pieces: list[str]) -> bool:
    """Whether the pieces are single words, or hold numerals as ``x_min = 3`` does."""
    return all(
        _WORD.fullmatch(piece) or any("0" <= character <= "9" for character in piece)
        for piece in pieces
    )
