"""Write grounded text, as training's targets are."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from service.reading.conventions import Mode
from service.reading.stream import parse_text


def write_grounded_text(
    steps: Sequence[tuple[str, Sequence[Sequence[int]]]],
    answer: str,
    *,
    images: int = 1,
    placed: Sequence[Sequence[int]] | None = None,
) -> str:
    """Return ``<think> step [box]; step </think>. The answer is: \\boxed{answer}``.

    What is written reads back as it was given: this is the one place where training's targets,
    its rewards and the service's parser meet.

    Parameters
    ----------
    steps
        Readable text of each step, and its boxes: x_min, y_min, x_max, y_max as whole numbers in
        the checkpoint's box space.
    answer
        Readable text; its braces must balance.
    images
        How many are shown.
    placed
        For each step the image of each of its boxes, from 0; all on one where not given.

    Raises
    ------
    ValueError
        When a box is not four whole numbers, or when a step or the answer would not read back as
        it is: a text of several steps, one with brackets of its own, one with outer white space,
        a box without area, one on an image that its step does not name.
    """
    said = [text + "".join(f" {_written(box)}" for box in boxes) for text, boxes in steps]
    written = f"<think> {'; '.join(said)} </think>. The answer is: \\boxed{{{answer}}}"
    parsed = parse_text(written, mode=Mode.THINK, images=images)
    read = [(step.text, [box.written for box in step.boxes]) for step in parsed.steps]
    for number, (text, boxes) in enumerate(steps):
        if number >= len(read) or read[number] != (text, [tuple(box) for box in boxes]):
            raise ValueError(f"step {number + 1} would not read back as it is")
        step = parsed.steps[number]
        if placed is not None and [box.image for box in step.boxes] != list(placed[number]):
            raise ValueError(f"step {number + 1} does not say which image its box is on")
        if any("box-empty" in box.flags for box in step.boxes):
            raise ValueError(f"step {number + 1} has a box without area")
    if len(read) != len(steps) or parsed.answer != answer or not parsed.complete:
        raise ValueError("the answer would not read back as it is")
    return written


def _written(box: Sequence[int]) -> str:
    try:
        values = [index(value) for value in box]
    except TypeError as error:
        raise ValueError("a box holds whole numbers") from error
    if len(values) != 4:
        raise ValueError("a box holds four numbers")
    return f"[{', '.join(map(str, values))}]"
