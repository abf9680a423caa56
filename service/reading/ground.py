"""From what was read to boxes in the films' stored pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.notice import Notice
from service.radiograph import Box, ModelImage, Radiograph, clip_box
from service.reading.conventions import BoxSpace, Mode, Task
from service.reading.geometry import from_model_space, to_model_space
from service.reading.notices import describe
from service.reading.text import ParsedBox, ParsedText

_ROUNDING = 1e-6
"""What a coordinate may move, in the checkpoint's space, without being called clipped."""


@dataclass(frozen=True, slots=True)
class GroundedBox:
    """A box on a film.

    Attributes
    ----------
    image
        Index from 0 of the film.
    x_min, y_min, x_max, y_max
        In stored pixels of the film (columns and rows, continuous edges), within it.
    normalized
        The same as fractions of the film's width and height.
    model
        The numbers as the model wrote them, in the checkpoint's box space.
    flags
        What was wrong with it.
    """

    image: int
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    normalized: tuple[float, float, float, float]
    model: tuple[float, float, float, float]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningStep:
    """A numbered step of reasoning, from 1.

    Attributes
    ----------
    index, text, boxes
        Number, readable text, and the boxes that lie on a film.
    flags
        One for every box that is not among them: ``box-malformed``, ``box-not-finite``,
        ``box-outside-film``.
    """

    index: int
    text: str
    boxes: tuple[GroundedBox, ...]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model said of one task, with boxes in the films' own pixels."""

    task: Task
    mode: Mode
    steps: tuple[ReasoningStep, ...]
    answer: str
    notices: tuple[Notice, ...]
    raw_text: str
    complete: bool


def ground(
    parsed: ParsedText,
    *,
    task: Task,
    mode: Mode,
    raw_text: str,
    images: Sequence[ModelImage],
    radiographs: Sequence[Radiograph],
    box_space: BoxSpace,
) -> Reading:
    """Map every box to its film's stored pixels and clip it; nothing is dropped without a notice.

    Parameters
    ----------
    images, radiographs
        As the model saw the films, and as they were decoded; in the same order.
    box_space
        The space that the checkpoint writes boxes in.
    """
    codes: list[str] = []
    steps = []
    for number, step in enumerate(parsed.steps, start=1):
        boxes = []
        flags = list(step.flags)
        for box in step.boxes:
            grounded = _ground_box(box, images[box.image], radiographs[box.image], box_space)
            if grounded is None:
                flags.append("box-outside-film")
                codes.append("box-outside-film")
                continue
            codes += [flag for flag in grounded.flags if flag == "box-clipped"]
            boxes.append(grounded)
        steps.append(ReasoningStep(number, step.text, tuple(boxes), tuple(flags)))
    more = tuple(describe(code) for code in dict.fromkeys(codes))
    return Reading(
        task, mode, tuple(steps), parsed.answer, parsed.notices + more, raw_text, parsed.complete
    )


def _ground_box(
    box: ParsedBox, image: ModelImage, film: Radiograph, space: BoxSpace
) -> GroundedBox | None:
    whole = to_model_space((0.0, 0.0, image.width, image.height), image.width, image.height, space)
    # Clipped in the model's own space, so that huge numbers cannot overflow on the way.
    inside = _within(box.values, whole[2], whole[3])
    if inside is None:
        return None
    pixels = from_model_space(inside, image.width, image.height, space)
    x0, y0, x1, y1 = clip_box(image.to_original.apply_box(pixels), film.width, film.height)
    overshoot = max(abs(now - then) for now, then in zip(inside, box.values, strict=True))
    return GroundedBox(
        image=box.image,
        x_min=x0,
        y_min=y0,
        x_max=x1,
        y_max=y1,
        normalized=(x0 / film.width, y0 / film.height, x1 / film.width, y1 / film.height),
        model=box.written or box.values,
        flags=box.flags if overshoot <= _ROUNDING else (*box.flags, "box-clipped"),
    )


def _within(box: Box, width: float, height: float) -> Box | None:
    """The part of a box on the image; None where there is none beyond its edge."""
    x0, y0, x1, y1 = box
    if x1 < -_ROUNDING or y1 < -_ROUNDING or x0 > width + _ROUNDING or y0 > height + _ROUNDING:
        return None
    inside = clip_box(box, width, height)
    lost_width = x0 < x1 and inside[0] >= inside[2]
    lost_height = y0 < y1 and inside[1] >= inside[3]
    return None if lost_width or lost_height else inside
