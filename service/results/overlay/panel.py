"""One film of the picture, with its boxes and their number plates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from service.radiograph import Radiograph
from service.reading import GroundedBox
from service.results.overlay.palette import BACKGROUND, INK, Colour
from service.results.overlay.placement import Area, overlap, place_plates
from service.results.overlay.typography import plate, plate_size

_LEAST_SIDE = 320
_LEAST_TYPE = 9


@dataclass(frozen=True, slots=True)
class Mark:
    """A box to draw: the step's number as it is written, its colour, and where it is."""

    label: str
    colour: Colour
    box: GroundedBox


def draw_panel(
    radiograph: Radiograph, size: tuple[int, int], marks: Sequence[Mark], scale: int
) -> Image.Image:
    """Return a film at the given size with boxes and plates on it.

    A film that is a mere strip is centred on a panel large enough for its plates.

    Parameters
    ----------
    radiograph
        The film, upright.
    size
        Width and height to show it at, in pixels.
    marks
        What points at this film.
    scale
        Length in pixels, of the whole picture's order, with which lines and letters grow.
    """
    width, height = size
    panel = Image.new("RGB", (max(width, _LEAST_SIDE), max(height, _LEAST_SIDE)), BACKGROUND)
    line = max(3, round(scale / 300))
    left, top = (panel.width - width) // 2, (panel.height - height) // 2
    panel.paste(_film(radiograph, size), (left, top))
    areas = _areas(radiograph, (left, top, left + width, top + height), marks, 2 * line)

    draw = ImageDraw.Draw(panel)
    for mark, area in _outermost_first(marks, areas):
        _outline(draw, area, line, mark.colour)
    _draw_plates(panel, marks, areas, line, scale)
    return panel


def _film(radiograph: Radiograph, size: tuple[int, int]) -> Image.Image:
    film = Image.fromarray(radiograph.pixels).convert("RGB")
    if film.size == size:
        return film
    smaller = size[0] < film.width
    return film.resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC)


def _areas(radiograph: Radiograph, film: Area, marks: Sequence[Mark], nest: int) -> list[Area]:
    """Map boxes from stored pixels to the panel; equal ones are nested so that each shows."""
    to_upright = radiograph.to_original.inverse()
    rows, columns = radiograph.pixels.shape[:2]
    across, down = (film[2] - film[0]) / columns, (film[3] - film[1]) / rows
    seen: Counter[Area] = Counter()
    areas = []
    for mark in marks:
        box = mark.box
        x0, y0, x1, y1 = to_upright.apply_box((box.x_min, box.y_min, box.x_max, box.y_max))
        area = (
            round(film[0] + x0 * across),
            round(film[1] + y0 * down),
            round(film[0] + x1 * across),
            round(film[1] + y1 * down),
        )
        inset = nest * seen[area]
        seen[area] += 1
        areas.append(_shrunk(_visible(area, film), inset))
    return areas


def _visible(area: Area, film: Area) -> Area:
    """Return the area on the film, at least two pixels a side."""
    left = min(max(area[0], film[0]), film[2] - 2)
    top = min(max(area[1], film[1]), film[3] - 2)
    right = min(max(area[2], left + 2), film[2])
    bottom = min(max(area[3], top + 2), film[3])
    return left, top, right, bottom


def _shrunk(area: Area, inset: int) -> Area:
    across = min(inset, (area[2] - area[0] - 2) // 2)
    down = min(inset, (area[3] - area[1] - 2) // 2)
    return area[0] + across, area[1] + down, area[2] - across, area[3] - down


def _outermost_first(marks: Sequence[Mark], areas: Sequence[Area]) -> list[tuple[Mark, Area]]:
    def extent(pair: tuple[Mark, Area]) -> int:
        left, top, right, bottom = pair[1]
        return (right - left) * (bottom - top)

    return sorted(zip(marks, areas, strict=True), key=extent, reverse=True)


def _outline(draw: ImageDraw.ImageDraw, area: Area, line: int, colour: Colour) -> None:
    """Draw a rectangle within its area, dark edges on both sides of the colour."""
    left, top, right, bottom = area
    edge = max(1, line // 3)
    draw.rectangle((left, top, right - 1, bottom - 1), outline=INK, width=line + 2 * edge)
    if right - left > 2 * edge and bottom - top > 2 * edge:
        inner = (left + edge, top + edge, right - 1 - edge, bottom - 1 - edge)
        draw.rectangle(inner, outline=colour, width=line)


def _draw_plates(
    panel: Image.Image, marks: Sequence[Mark], areas: Sequence[Area], line: int, scale: int
) -> None:
    size = max(_LEAST_TYPE, round(scale / 42))
    within = (0, 0, panel.width, panel.height)
    places = None
    while places is None and size >= _LEAST_TYPE:
        places = place_plates(areas, [plate_size(mark.label, size) for mark in marks], within)
        size = size if places is not None else int(size * 0.8)
    if places is None:
        # Hundreds of boxes: the colours still lead to the legend.
        return
    draw = ImageDraw.Draw(panel)
    for mark, area, place in zip(marks, areas, places, strict=True):
        if not _touch(area, place):
            _leader(draw, area, place, line, mark.colour)
    for mark, place in zip(marks, places, strict=True):
        image = plate(mark.label, size, mark.colour)
        panel.paste(image, place[:2], image)


def _touch(area: Area, place: Area) -> bool:
    return overlap((area[0] - 1, area[1] - 1, area[2] + 1, area[3] + 1), place)


def _leader(draw: ImageDraw.ImageDraw, area: Area, place: Area, line: int, colour: Colour) -> None:
    """Join a plate to the nearest point of its box."""
    x, y = (place[0] + place[2]) // 2, (place[1] + place[3]) // 2
    end = min(max(x, area[0]), area[2] - 1), min(max(y, area[1]), area[3] - 1)
    draw.line(((x, y), end), fill=INK, width=line + 2)
    draw.line(((x, y), end), fill=colour, width=max(1, line // 2))
