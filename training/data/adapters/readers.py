"""One set of boxes of several readers' boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from training.data.adapters.boxes import overlap
from training.data.example import Box, Region


@dataclass(frozen=True)
class Marked:
    """A box that a reader drew."""

    reader: str
    label: str
    box: Box


def agreed_regions(
    marked: Iterable[Marked], *, readers: int, least_overlap: float = 0.4
) -> tuple[Region, ...]:
    """Boxes that at least so many readers drew, each the mean of theirs.

    Boxes of one label are gathered around the first that they overlap by ``least_overlap``
    (intersection over union; 0.4 is the threshold of the VinDr-CXR challenge), at most one of
    each reader.

    Parameters
    ----------
    readers
        How many of them must agree; 1 keeps every box once.
    """
    groups: list[list[Marked]] = []
    for item in marked:
        for group in groups:
            if (
                group[0].label == item.label
                and all(other.reader != item.reader for other in group)
                and overlap(group[0].box, item.box) >= least_overlap
            ):
                group.append(item)
                break
        else:
            groups.append([item])
    return tuple(
        (group[0].label, _mean([item.box for item in group]))
        for group in groups
        if len(group) >= readers
    )


def _mean(boxes: Sequence[Box]) -> Box:
    x_min, y_min, x_max, y_max = (round(fmean(side)) for side in zip(*boxes, strict=True))
    return x_min, y_min, x_max, y_max
