"""Read one step: its readable text, its boxes, and what is wrong with them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from service.reading.brackets import Kind, find_brackets
from service.reading.readable import readable
from service.reading.step_splitter import strip_enumerator
from service.reading.text import ParsedBox, ParsedStep

_IMAGE = re.compile(
    r"\b(?:(?:image|film|radiograph)\s{0,3}(?:no\.?|number|\#|-)?\s{0,3}"
    r"(?:([1-9])(?!\d|\.\d|\s{0,3}(?:days?|weeks?|months?|years?|hours?|min(?:ute)?s?|cm|mm)\b)"
    r"|(one|two|three|four)\b)"
    r"|(first|second|third|fourth|1st|2nd|3rd|4th)\s{1,3}(?:image|film|radiograph)\b)",
    re.I,
)
_QUALIFIED = re.compile(
    r"\b(?:this|that|same|present|current|prior|previous|frontal|lateral|pa|ap)\s{1,3}$", re.I
)
_DEFINITE = re.compile(r"\bthe\s{1,3}$", re.I)
_COUNTED = re.compile(r"\s{1,3}[^\W\d_]")
"""After a number: what it counts. *On this film 2 nodules are seen* names no second film."""
_LOCATING = re.compile(r"(?:\s|,|and\b|\[[^\[\]]*\])*(?:in|on|of|from)\s{1,3}(?:the\s{1,3})?", re.I)
"""Between a box and the name of its image: *[10, 20, 30, 40] in image 2*."""
_REFERENCE = re.compile(
    r"\b(?:compared\s(?:with|to)|relative\sto|than\s(?:in|on)|versus|vs\.?|unlike)\s{1,3}(?:the\s{1,3})?$",
    re.I,
)
"""Before a name: what the film at hand is held against."""
_BOXED = re.compile(r"[\s:(]*\[")
_LOOK_BACK = 24
_NAMES = (
    ("one", "first", "1st"),
    ("two", "second", "2nd"),
    ("three", "third", "3rd"),
    ("four", "fourth", "4th"),
)
_ORDER = {word: index for index, words in enumerate(_NAMES) for word in words}
_FLAGS = {Kind.MALFORMED: "box-malformed", Kind.NOT_FINITE: "box-not-finite"}
ROUNDING = 1e-6
"""What a coordinate may pass an edge by without being called out of range."""


def read_step(
    raw: str,
    *,
    images: int = 1,
    extents: Sequence[tuple[float, float]] | None = None,
    current: int = 0,
) -> ParsedStep:
    """Read one raw step.

    Parameters
    ----------
    raw
        The step as written.
    images
        How many images were shown.
    extents
        Width and height of each in the checkpoint's box space; without it ranges go unchecked.
    current
        Index of the image that the text is at: assumed where the step names none.
    """
    named = _ImageNames(raw, images, current)
    boxes: list[ParsedBox] = []
    flags: list[str] = []
    segments: list[str] = []
    position = 0
    for bracket in find_brackets(raw):
        if bracket.end > bracket.start:
            segments.append(raw[position : bracket.start])
            position = bracket.end
        if bracket.values is None:
            flags.append(_FLAGS[bracket.kind])
        else:
            image, assumed = named.at(bracket.start, bracket.end)
            boxes.append(read_box(bracket.values, image, assumed=assumed, extents=extents))
    segments.append(raw[position:])
    segments[0] = strip_enumerator(segments[0])
    return ParsedStep(readable(segments), tuple(boxes), raw, tuple(flags))


def image_after(step: ParsedStep, images: int, current: int) -> int:
    """Return the image that a text is at after a step: that of its last box, else named last."""
    if step.boxes:
        return step.boxes[-1].image
    return _ImageNames(step.raw, images, current).last


def read_box(
    values: tuple[float, float, float, float],
    image: int = 0,
    *,
    assumed: bool = False,
    extents: Sequence[tuple[float, float]] | None = None,
) -> ParsedBox:
    """Put four finite numbers in order and flag what is wrong with them.

    Parameters
    ----------
    values
        As written, in the checkpoint's box space.
    image
        Index of the image that they lie on.
    assumed
        Whether that had to be assumed.
    extents
        As for :func:`read_step`.
    """
    flags = ["box-image-assumed"] if assumed else []
    x0, y0, x1, y1 = values
    if x0 > x1 or y0 > y1:
        flags.append("box-inverted")
        x0, x1 = sorted((x0, x1))
        y0, y1 = sorted((y0, y1))
    if x0 == x1 or y0 == y1:
        flags.append("box-empty")
    if extents is not None and image < len(extents):
        width, height = (extent + ROUNDING for extent in extents[image])
        if x0 < -ROUNDING or y0 < -ROUNDING or x1 > width or y1 > height:
            flags.append("box-out-of-range")
    return ParsedBox((x0, y0, x1, y1), image, tuple(flags), values)


class _ImageNames:
    """Which image a step names at which place."""

    def __init__(self, raw: str, images: int, current: int) -> None:
        self._raw = raw
        self._images = images
        self._current = current
        self._places: list[int] = []
        self._indices: list[int] = []
        self._first_bracket = raw.find("[")
        for match in _IMAGE.finditer(raw) if images > 1 else ():
            digit, word = match.group(1), match.group(2) or match.group(3)
            if not self._is_name(match):
                continue
            self._places.append(match.start())
            self._indices.append(int(digit) - 1 if digit else _ORDER[word.lower()])

    @property
    def last(self) -> int:
        """The image named last, of those there are."""
        return next((i for i in reversed(self._indices) if i < self._images), self._current)

    def at(self, start: int, end: int) -> tuple[int, bool]:
        """Return the image that a box lies on, and whether that had to be assumed.

        A name that *in* or *on* ties to the box counts, else the nearest before it; in a step that
        begins with a box, the nearest after.
        """
        if self._images == 1:
            return 0, False
        if not self._indices:
            return self._current, True
        following = bisect_right(self._places, start)
        if self._places[0] > self._first_bracket or self._is_tied(end, following):
            nearest = min(following, len(self._indices) - 1)
        else:
            nearest = max(following - 1, 0)
        index = self._indices[nearest]
        return (index, False) if index < self._images else (self._current, True)

    def _is_name(self, match: re.Match[str]) -> bool:
        before = self._raw[max(0, match.start() - _LOOK_BACK) : match.start()]
        if _REFERENCE.search(before) and not _BOXED.match(self._raw, match.end()):
            return False
        if match.group(3):  # the second film
            return True
        qualified = _QUALIFIED.search(before) or (match.group(2) and _DEFINITE.search(before))
        return not (qualified and _COUNTED.match(self._raw, match.end()))

    def _is_tied(self, end: int, following: int) -> bool:
        return following < len(self._places) and bool(
            _LOCATING.fullmatch(self._raw, end, self._places[following])
        )
