"""Between the model's pixels and the space that a checkpoint writes boxes in."""

from __future__ import annotations

from service.radiograph import Box
from service.reading.conventions import BoxSpace

_SIDES = {BoxSpace.SQUARE_512: 512.0, BoxSpace.NORMALIZED_1000: 1000.0}
"""Both sides of the image in spaces that do not keep its own size."""


def to_model_space(box: Box, width: float, height: float, space: BoxSpace) -> Box:
    """Map a box from pixels of the model's image to the checkpoint's space.

    Parameters
    ----------
    box
        In pixels of the image that the model sees.
    width, height
        Of that image.
    space
        ``processor``: those pixels themselves (Qwen2.5-VL's own convention). ``square_512``: the
        image stretched to 512 x 512 (the limit of DeepMedix-R1's published reward).
        ``normalized_1000``: thousandths of its width and height.

    Raises
    ------
    ValueError
        When the image has no area.
    """
    side = _side(width, height, space)
    if side is None:
        return box
    x0, y0, x1, y1 = box
    # Multiplied first: whole sides then map to whole sides exactly.
    return x0 * side / width, y0 * side / height, x1 * side / width, y1 * side / height


def from_model_space(box: Box, width: float, height: float, space: BoxSpace) -> Box:
    """Map a box from the checkpoint's space to pixels of the model's image.

    The inverse of :func:`to_model_space`, with its parameters.

    Raises
    ------
    ValueError
        When the image has no area.
    """
    side = _side(width, height, space)
    if side is None:
        return box
    x0, y0, x1, y1 = box
    return x0 * width / side, y0 * height / side, x1 * width / side, y1 * height / side


def _side(width: float, height: float, space: BoxSpace) -> float | None:
    if width <= 0 or height <= 0:
        raise ValueError("width and height must be positive")
    return _SIDES.get(space)
