"""Text in pictures: Pillow's own typeface, wrapped to a width."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from service.results.overlay.palette import INK, Colour

_SMOOTHING = 4

_WRITTEN = str.maketrans(
    {
        "\u2265": ">=",
        "\u2264": "<=",
        "\u2260": "!=",  # which the decomposition would make an equals sign
        "\u2248": "~",
        "\u00d7": "x",
        "\u2212": "-",  # minus, en and em dash, bullet
        "\u2013": "-",
        "\u2014": "-",
        "\u2022": "-",
        "\u2192": "->",
        "\u2190": "<-",
        "\u2044": "/",  # of a fraction
        "\u03bc": "u",
    }
)


@lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the typeface that Pillow carries, at a size in pixels."""
    loaded = ImageFont.load_default(size=size)
    if not isinstance(loaded, ImageFont.FreeTypeFont):  # a Pillow built without FreeType
        raise RuntimeError("Pictures need a Pillow with FreeType.")
    return loaded


def line_height(size: int) -> int:
    """Return the distance between two lines, in pixels."""
    ascent, descent = font(size).getmetrics()
    return round(1.15 * (ascent + descent))


def printable(text: str) -> str:
    """Return the text on one line, without characters that have no shape.

    Signs that the typeface lacks are written with those that it has, since *at least 5 cm* and *at
    most 5 cm* must not look the same; letters lose their accents.
    """
    plain = unicodedata.normalize("NFKD", text.translate(_WRITTEN)).translate(_WRITTEN)
    shown = (c for c in plain if c.isprintable() or c.isspace())
    return " ".join("".join(c for c in shown if not unicodedata.combining(c)).split())


def wrap(text: str, size: int, width: int) -> list[str]:
    """Break a text into lines of at most ``width`` pixels; a longer word is broken too."""
    measure = font(size).getlength
    lines: list[str] = []
    line = ""
    for word in printable(text).split(" "):
        *whole, rest = _pieces(word, size, width)
        joined = f"{line} {word}" if line else word
        if not whole and measure(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        lines.extend(whole)
        line = rest
    return [*lines, line]


def _pieces(word: str, size: int, width: int) -> list[str]:
    """Cut a word into pieces no wider than ``width``; most words are one piece."""
    measure = font(size).getlength
    # No shape is much narrower than a quarter of the type's size: measuring stays short.
    most = max(1, 4 * width // size)
    pieces = []
    while len(word) > most or (measure(word) > width and len(word) > 1):
        low, high = 1, min(most, len(word))
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if measure(word[:middle]) <= width else (low, middle - 1)
        pieces.append(word[:low])
        word = word[low:]
    return [*pieces, word]


def plate_size(label: str, size: int) -> tuple[int, int]:
    """Return width and height of the number plate for a label, in pixels."""
    height = round(1.5 * size)
    return max(height, round(font(size).getlength(label) + 0.8 * size)), height


@lru_cache(maxsize=256)
def plate(label: str, size: int, colour: Colour, *, hollow: bool = False) -> Image.Image:
    """Return a number plate with smooth corners, to be pasted by its own transparency.

    Parameters
    ----------
    label
        The number.
    size
        Of the typeface, in pixels.
    colour
        Of the plate, or of outline and number where it is hollow.
    hollow
        For a step that points at nothing.
    """
    width, height = plate_size(label, size)
    large = Image.new("RGBA", (width * _SMOOTHING, height * _SMOOTHING), (*colour, 0))
    draw = ImageDraw.Draw(large)
    edge = max(1, round(size / 12)) * _SMOOTHING
    draw.rounded_rectangle(
        (0, 0, large.width - 1, large.height - 1),
        radius=0.3 * large.height,
        fill=None if hollow else (*colour, 255),
        outline=(*(colour if hollow else INK), 255),
        width=edge,
    )
    draw.text(
        (large.width / 2, large.height / 2),
        label,
        font=font(size * _SMOOTHING),
        fill=(*(colour if hollow else INK), 255),
        anchor="mm",
    )
    return large.resize((width, height), Image.Resampling.LANCZOS)
