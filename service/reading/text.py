"""What is read off a grounded text, before any geometry: frozen values."""

from __future__ import annotations

from typing import NamedTuple

from service.notice import Notice


class ParsedBox(NamedTuple):
    """A box of four finite numbers.

    Attributes
    ----------
    values
        x_min, y_min, x_max, y_max in the checkpoint's box space, ordered.
    image
        Index from 0 of the image that it lies on.
    flags
        What was wrong with it: ``box-inverted``, ``box-empty``, ``box-out-of-range``,
        ``box-image-assumed``.
    written
        The four numbers as they were written; None stands for ``values``.
    """

    values: tuple[float, float, float, float]
    image: int = 0
    flags: tuple[str, ...] = ()
    written: tuple[float, float, float, float] | None = None


class ParsedStep(NamedTuple):
    """One step of reasoning.

    Attributes
    ----------
    text
        Readable: without number, bullet and boxes.
    boxes
        In the order in which they were written.
    raw
        As written.
    flags
        One for every bracket that was meant for a box and is none: ``box-malformed``,
        ``box-not-finite``.
    """

    text: str
    boxes: tuple[ParsedBox, ...]
    raw: str
    flags: tuple[str, ...] = ()


class ParsedText(NamedTuple):
    """A whole text.

    Attributes
    ----------
    steps
        Of the reasoning, in order.
    answer
        Readable text; empty where there is none.
    notices
        Every flag once, those of the text before those of the boxes.
    complete
        Whether it ended as the mode demands: think-block closed, answer whole, not cut off.
    """

    steps: tuple[ParsedStep, ...]
    answer: str
    notices: tuple[Notice, ...]
    complete: bool
