"""Boxes as data sets write them, brought to whole original pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from service.radiograph import clip_box
from training.data.adapters.protocol import Remark
from training.data.example import Box

CLIPPED = "box reaches beyond its film: clipped"
DEGENERATE = "box without area: left out"
OTHER_SIZE = "film of another size than its boxes were drawn on: left out"
_TOLERANCE = 1.0


def number(value: float | str | None) -> float:
    """A corner's number; none is not a number."""
    return math.nan if value is None else float(value)


def pixel_box(corners: Sequence[float | None], size: tuple[int, int], remark: Remark) -> Box | None:
    """A box of two corners in original pixels, in whole pixels within its film.

    Parameters
    ----------
    corners
        ``x_min, y_min, x_max, y_max``.
    size
        Width and height of the film in original pixels.
    remark
        Told when more than a pixel was cut off, and when nothing is left.
    """
    x_min, y_min, x_max, y_max = map(number, corners)
    if not all(map(math.isfinite, (x_min, y_min, x_max, y_max))):
        remark(DEGENERATE)
        return None
    inside = clip_box((x_min, y_min, x_max, y_max), *size)
    box = tuple(round(value) for value in inside)
    if box[0] >= box[2] or box[1] >= box[3]:
        remark(DEGENERATE)
        return None
    cut = (abs(a - b) for a, b in zip(inside, (x_min, y_min, x_max, y_max), strict=True))
    if max(cut) > _TOLERANCE:
        remark(CLIPPED)
    return box  # type: ignore[return-value]  # four of them


def reaches_beyond(corners: Sequence[float], size: tuple[int, int]) -> bool:
    """Whether more than a pixel of a box lies off its film, which may be a smaller copy then."""
    x_min, y_min, x_max, y_max = corners
    width, height = size
    return min(x_min, y_min) < -_TOLERANCE or max(x_max - width, y_max - height) > _TOLERANCE


def extent_box(
    corner_and_extent: Sequence[float], size: tuple[int, int], remark: Remark
) -> Box | None:
    """A box of its top left corner with width and height, ``x, y, w, h`` in original pixels."""
    x, y, width, height = (float(value) for value in corner_and_extent)
    return pixel_box((x, y, x + width, y + height), size, remark)


def fraction_box(
    corners: Sequence[float | None], size: tuple[int, int], remark: Remark
) -> Box | None:
    """A box of two corners given as fractions of the film's width and height."""
    scale = (*size, *size)
    return pixel_box([number(c) * s for c, s in zip(corners, scale, strict=True)], size, remark)


def overlap(first: Box, second: Box) -> float:
    """Intersection over union."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return shared / (areas - shared)
