"""Below the films: every step by its number, and what the picture is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from service.results.disclaimer import FOOTER
from service.results.overlay.palette import BACKGROUND, CAUTION, MUTED, RULE, TEXT, Colour
from service.results.overlay.typography import font, line_height, plate, plate_size, wrap


@dataclass(frozen=True, slots=True)
class Entry:
    """A step as the legend tells it; without a colour where it points at nothing."""

    label: str
    text: str
    colour: Colour | None


@dataclass(frozen=True, slots=True)
class Group:
    """The steps of one section, under a heading where there are several sections."""

    heading: str | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """Lines of text, beside a number plate where they are a step's."""

    lines: Sequence[str]
    colour: Colour
    height: int
    badge: Image.Image | None = None
    ruled: bool = False


_MOST_PIXELS = 40_000_000
"""Of the steps' strip: a model that never stops makes no picture that fills the memory."""


def draw_legend(
    groups: Sequence[Group], width: int, size: int, provenance: str, codes: Sequence[str] = ()
) -> Image.Image:
    """Return the legend and the footer as one strip.

    Steps for which there is no room are counted.

    Parameters
    ----------
    groups
        The steps, in their order.
    width
        Of the strip, in pixels.
    size
        Of the typeface, in pixels.
    provenance
        Which checkpoint spoke, for the footer.
    codes
        Of the reading's warnings, for the footer.
    """
    margin, line = round(1.2 * size), line_height(size)
    labels = [entry.label for group in groups for entry in group.entries]
    widest = max((plate_size(label, size)[0] for label in labels), default=0)
    indent = margin + widest + round(0.7 * size)
    rows = [
        *_steps(groups, width - indent - margin, size, _MOST_PIXELS // width),
        *_footer(width - 2 * margin, size, provenance, codes),
    ]
    strip = Image.new("RGB", (width, margin + sum(row.height for row in rows)), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    y = margin
    for row in rows:
        x, first = margin, y
        if row.ruled:
            draw.line(((0, y), (width, y)), fill=RULE, width=max(1, size // 12))
            first = y + round(0.7 * size)
        if row.badge is not None:
            strip.paste(row.badge, (margin, y), row.badge)
            # The first line sits on the middle of the plate.
            x, first = indent, y + (row.badge.height - line) // 2
        for number, text in enumerate(row.lines):
            at = (x, first + number * line + line // 2)
            draw.text(at, text, font=font(size), fill=row.colour, anchor="lm")
        y += row.height
    return strip


def _steps(groups: Sequence[Group], width: int, size: int, most: int) -> Iterator[_Row]:
    line = line_height(size)
    left = sum(len(group.entries) for group in groups)
    taken = 0
    if not any(group.entries for group in groups):
        yield _Row(["No reasoning steps."], MUTED, 2 * line)
    for group in groups:
        if group.heading and group.entries:
            yield _Row([group.heading], MUTED, round(1.4 * line))
        for entry in group.entries:
            lines = wrap(entry.text, size, width)
            badge = plate(entry.label, size, entry.colour or MUTED, hollow=entry.colour is None)
            height = max(len(lines) * line, badge.height) + round(0.5 * size)
            if taken + height > most:
                yield _Row([f"and {left} more steps, which the JSON reply holds"], MUTED, 2 * line)
                return
            taken, left = taken + height, left - 1
            yield _Row(lines, TEXT, height, badge)
        yield _Row([], TEXT, round(0.5 * size))


def _footer(width: int, size: int, provenance: str, codes: Sequence[str]) -> Iterator[_Row]:
    line, space = line_height(size), round(0.7 * size)
    caution, source = wrap(FOOTER, size, width), wrap(provenance, size, width)
    yield _Row(caution, CAUTION, space + len(caution) * line, ruled=True)
    if codes:
        warned = wrap(f"Warnings: {', '.join(codes)}", size, width)
        yield _Row(warned, CAUTION, len(warned) * line)
    yield _Row(source, MUTED, len(source) * line + space)
