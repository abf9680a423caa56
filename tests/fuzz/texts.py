"""Mutations of grounded texts, and what must hold of reading them."""

from __future__ import annotations

import itertools
import math
from random import Random

from service.reading import Mode, ParsedText, StreamParser, parse_text

_SOUND = (
    "<think> The heart is enlarged [130, 180, 330, 330]; there is a left pleural effusion "
    "[270, 260, 400, 380] [12, 14, 90, 77]. No pneumothorax. </think>. The answer is: "
    "\\boxed{Cardiomegaly with a left effusion.}",
    "<think>\n1. Image 2: a nodule [1.5, 2e1, 30, 40].\n2. The trachea is midline (see [3, 4]).\n"
    "</think>\n\\boxed{A nodule {in} the right upper zone.}",
    "No acute cardiopulmonary abnormality.",
    "The answer is: \\boxed{yes}",
)
_PIECES = (
    "<think>", "</think>", "< think >", "\\boxed{", "}", "{", "[", "]", "[[", "]]", "(", ")", ";",
    "[1, 2, 3, 4]", "[1,2,3]", "[-1, 1e999, nan, 0.5]", "[4, 3, 2, 1]", "[99999999999, 0, 1, 2]",
    "Image 3:", "The answer is:", "\n", "\r", " ", "\0", "\ud800", "\u202e", "\U0001f600", "0" * 40,
    "<|image_pad|>", "e.g.", "1.", "...", "\\", "\\\\boxed", "</", "<th", "a" * 300, "[ " * 60,
)  # fmt: skip


def mutant_text(seed: int, index: int) -> tuple[str, list[str], Mode, int]:
    """Return one text, the pieces that it comes in, the mode and the number of images."""
    rng = Random(f"text:{seed}:{index}")
    text = rng.choice(_SOUND)
    for _ in range(rng.choice((0, 1, 2, 4, 12))):
        start, stop = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        choice = rng.randrange(5)
        if choice == 0:
            text = text[:start] + rng.choice(_PIECES) + text[start:]
        elif choice == 1:
            text = text[:start] + text[min(stop, start + 20) :]
        elif choice == 2:
            text = text[:start] + text[start:stop] * 2 + text[stop:]
        elif choice == 3:
            text = text[:start]
        else:
            text = text[start:] + rng.choice(_SOUND)[:stop]
    text = text[:20_000]
    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.choice((0, 1, 5, 40))))
    edges = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    return text, pieces, rng.choice((Mode.THINK, Mode.ANSWER)), rng.choice((1, 1, 2))


def fault_of_reading(text: str, pieces: list[str], mode: Mode, images: int) -> str | None:
    """Return what is wrong with how a text is read, or ``None``."""
    extents = [(448.0, 448.0)] * images
    try:
        whole = parse_text(text, mode=mode, images=images, extents=extents)
        parser = StreamParser(mode=mode, images=images, extents=extents)
        for piece in pieces:
            parser.feed(piece)
        streamed = parser.finish()
    except Exception as error:
        return f"raised {type(error).__name__}"
    if whole != streamed:
        return "the stream was read otherwise than the whole"
    return _fault_of(whole, images)


def _fault_of(read: ParsedText, images: int) -> str | None:
    for step in read.steps:
        for box in step.boxes:
            x_min, y_min, x_max, y_max = box.values
            if not all(map(math.isfinite, box.values)):
                return "a box is not finite"
            if x_min > x_max or y_min > y_max:
                return "a box is inside out"
            if not 0 <= box.image < images:
                return "a box lies on no image"
    return None
