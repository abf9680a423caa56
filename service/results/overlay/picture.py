"""The whole picture: films side by side, legend below."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from service.interpretation import Interpretation
from service.radiograph import Radiograph
from service.results.overlay.legend import Entry, Group, draw_legend
from service.results.overlay.palette import BACKGROUND, MUTED, Colour, step_colour
from service.results.overlay.panel import Mark, draw_panel
from service.results.overlay.typography import font, line_height
from service.results.to_reply import numbered_steps, section_name

_SMALLEST = 900
_LARGEST = 2048
_WIDEST = 4096
_LEAST_WIDTH = 720
_ASSUMED = "box-image-assumed"


def overlay_png(interpretation: Interpretation) -> bytes:
    """Draw the reasoning on the films.

    Every step that points at something has a colour and a number, on its boxes and in the legend
    below; the numbers are those of the reply's ``reasoning``. A film is shown upright, in square
    pixels, its longer side between 900 and 2048 pixels; several stand side by side, equally high,
    at most 4096 pixels wide together. Lines and letters grow with the picture. A box whose film had
    to be assumed has a question mark behind its number, and the footer names the codes of all
    warnings.

    Takes up to a second of processor time, some with countless steps: an event loop calls it in a
    thread.

    Parameters
    ----------
    interpretation
        A study, read.

    Returns
    -------
    bytes
        A PNG without metadata; equal interpretations give equal bytes.
    """
    colours = _colours(interpretation)
    sizes = _sizes(interpretation.radiographs)
    # Several films side by side are looked at from further away than one.
    longest, across = max(max(size) for size in sizes), sum(width for width, _ in sizes)
    scale = max(longest, round(0.55 * across))
    panels = [
        draw_panel(radiograph, size, _marks(interpretation, index, colours), scale)
        for index, (radiograph, size) in enumerate(
            zip(interpretation.radiographs, sizes, strict=True)
        )
    ]
    gap = max(8, round(max(panel.height for panel in panels) / 100))
    width = max(_LEAST_WIDTH, sum(panel.width for panel in panels) + gap * (len(panels) - 1))
    size = max(16, round(width / 50))
    captions = _captions(interpretation.radiographs)
    top = round(1.6 * line_height(size)) if captions else 0
    codes = [notice.code for notice in interpretation.notices]
    legend = draw_legend(
        _groups(interpretation, colours), width, size, _provenance(interpretation), codes
    )

    height = top + max(panel.height for panel in panels)
    picture = Image.new("RGB", (width, height + legend.height), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    x = (width - sum(panel.width for panel in panels) - gap * (len(panels) - 1)) // 2
    for number, panel in enumerate(panels):
        if captions:
            at = (x + size // 2, top // 2)
            draw.text(at, captions[number], font=font(size), fill=MUTED, anchor="lm")
        picture.paste(panel, (x, top))
        x += panel.width + gap
    picture.paste(legend, (0, height))

    out = io.BytesIO()
    picture.save(out, format="PNG", compress_level=4)
    return out.getvalue()


def _colours(interpretation: Interpretation) -> dict[int, Colour]:
    """Return the colour of every step that points at something, by its number."""
    pointing = [number for number, _, step in numbered_steps(interpretation) if step.boxes]
    return {number: step_colour(position) for position, number in enumerate(pointing)}


def _marks(interpretation: Interpretation, image: int, colours: dict[int, Colour]) -> list[Mark]:
    return [
        Mark(f"{number}?" if _ASSUMED in box.flags else str(number), colours[number], box)
        for number, _, step in numbered_steps(interpretation)
        for box in step.boxes
        if box.image == image
    ]


def _sizes(radiographs: Sequence[Radiograph]) -> list[tuple[int, int]]:
    """Return the size, in pixels, at which each film is shown."""
    shapes = [radiograph.display_size for radiograph in radiographs]
    if len(shapes) == 1:
        width, height = shapes[0]
        longer = max(width, height)
        return [_scaled(width, height, min(max(longer, _SMALLEST), _LARGEST) / longer)]
    common = float(min(max(max(height for _, height in shapes), _SMALLEST), _LARGEST))
    total = sum(width * common / height for width, height in shapes)
    common *= min(1.0, _WIDEST / total)
    return [_scaled(width, height, common / height) for width, height in shapes]


def _scaled(width: int, height: int, factor: float) -> tuple[int, int]:
    return max(1, round(width * factor)), max(1, round(height * factor))


def _captions(radiographs: Sequence[Radiograph]) -> list[str]:
    """Return a caption for each of several films; one alone needs none."""
    if len(radiographs) == 1:
        return []
    return [
        f"Image {number}" + (f" · {radiograph.view_position}" if radiograph.view_position else "")
        for number, radiograph in enumerate(radiographs, start=1)
    ]


def _groups(interpretation: Interpretation, colours: dict[int, Colour]) -> list[Group]:
    several = len(interpretation.sections) > 1
    return [
        Group(
            section_name(section.task).capitalize() if several else None,
            tuple(
                Entry(str(number), step.text, colours.get(number))
                for number, owner, step in numbered_steps(interpretation)
                if owner is section
            ),
        )
        for section in interpretation.sections
    ]


def _provenance(interpretation: Interpretation) -> str:
    manifest = interpretation.manifest
    renderings = dict.fromkeys(film.rendering for film in interpretation.radiographs)
    return f"{manifest.name} {manifest.revision} · {', '.join(renderings)}"
