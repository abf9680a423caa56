"""Where the number plates go: beside their boxes, apart from each other, within the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Area = tuple[int, int, int, int]
"""``(left, top, right, bottom)`` in whole picture pixels, right and bottom exclusive."""

Size = tuple[int, int]

_Areas = npt.NDArray[np.int64]
"""``(n, 4)``, one area a row."""


def place_plates(boxes: Sequence[Area], sizes: Sequence[Size], within: Area) -> list[Area] | None:
    """Place one plate for every box.

    A plate prefers the outside of its box's corners, then the inside, then the nearest free
    place; among a box's corners, the one that hides least of other boxes' edges.

    Parameters
    ----------
    boxes
        The boxes, each within ``within``.
    sizes
        Width and height of each box's plate.
    within
        What no plate may leave.

    Returns
    -------
    list of Area or None
        One place for every box, no two of which overlap; ``None`` where there is no room.
    """
    edges = _as_array(boxes)
    lattices = {size: _Lattice(size, within) for size in sizes}
    taken: list[Area] = []
    for number, (box, size) in enumerate(zip(boxes, sizes, strict=True)):
        others = np.delete(edges, number, axis=0)
        place = _at_corner(box, size, within, taken, others) or lattices[size].nearest(box)
        if place is None:
            return None
        taken.append(place)
        for lattice in lattices.values():
            lattice.block(place)
    return taken


def overlap(one: Area, other: Area) -> bool:
    """Whether two areas share a pixel."""
    return bool(_overlapping(_as_array([one]), _as_array([other]))[0, 0])


def _at_corner(
    box: Area, size: Size, within: Area, taken: Sequence[Area], others: _Areas
) -> Area | None:
    left, top, right, bottom = box
    width, height = size
    places = np.array(
        [
            (x, y, x + width, y + height)
            for x, y in (
                (left, top - height),
                (right - width, top - height),
                (left, bottom),
                (right - width, bottom),
                (left - width, top),
                (right, top),
                (left - width, bottom - height),
                (right, bottom - height),
                (left, top),
                (right - width, top),
                (left, bottom - height),
                (right - width, bottom - height),
            )
        ]
    )
    places = _free(places, within, taken)
    if not len(places):
        return None
    return _area(places[np.argmin(_hidden_edges(places, others))])


class _Lattice:
    """Places of one size all over the picture, half a plate apart, and which are still free."""

    def __init__(self, size: Size, within: Area) -> None:
        self._size = width, height = size
        self._x = np.arange(within[0], within[2] - width + 1, max(1, width // 2))
        self._y = np.arange(within[1], within[3] - height + 1, max(1, height // 2))
        self._blocked = np.zeros((len(self._y), len(self._x)), dtype=bool)

    def block(self, area: Area) -> None:
        width, height = self._size
        columns = (self._x < area[2]) & (self._x + width > area[0])
        rows = (self._y < area[3]) & (self._y + height > area[1])
        self._blocked |= rows[:, np.newaxis] & columns[np.newaxis]

    def nearest(self, box: Area) -> Area | None:
        """Return the free place nearest to a box's upper left corner."""
        if self._blocked.all():
            return None
        distance = np.hypot(self._y[:, np.newaxis] - box[1], self._x[np.newaxis] - box[0])
        distance[self._blocked] = np.inf
        row, column = divmod(int(np.argmin(distance)), len(self._x))
        x, y = int(self._x[column]), int(self._y[row])
        return x, y, x + self._size[0], y + self._size[1]


def _free(places: _Areas, within: Area, taken: Sequence[Area]) -> _Areas:
    """Return those places that lie within the picture and on no plate."""
    inside = (places[:, :2] >= within[:2]).all(axis=1) & (places[:, 2:] <= within[2:]).all(axis=1)
    free: _Areas = places[inside & ~_overlapping(places, _as_array(taken)).any(axis=1)]
    return free


def _hidden_edges(places: _Areas, boxes: _Areas) -> npt.NDArray[np.int64]:
    """Return of how many boxes each place covers a part of the edge."""
    one, other = places[:, np.newaxis], boxes[np.newaxis]
    inside = (one[..., :2] > other[..., :2]).all(axis=2) & (one[..., 2:] < other[..., 2:]).all(
        axis=2
    )
    crossed = _overlapping(places, boxes) & ~inside
    count: npt.NDArray[np.int64] = np.count_nonzero(crossed, axis=1)
    return count


def _overlapping(some: _Areas, others: _Areas) -> npt.NDArray[np.bool_]:
    """Return which pairs share a pixel, ``(len(some), len(others))``."""
    one, other = some[:, np.newaxis], others[np.newaxis]
    begins = (one[..., :2] < other[..., 2:]).all(axis=2)
    ends = (other[..., :2] < one[..., 2:]).all(axis=2)
    return np.logical_and(begins, ends)


def _as_array(areas: Sequence[Area]) -> _Areas:
    return np.array(areas, dtype=np.int64).reshape(-1, 4)


def _area(row: _Areas) -> Area:
    left, top, right, bottom = row.tolist()
    return left, top, right, bottom
