"""The vision tower's pixel grid, and the one resize onto it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.radiograph import problems

MAX_ASPECT_RATIO = 200


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """Sizes that a Qwen2.5-VL vision tower takes without resizing again.

    Attributes
    ----------
    min_pixels, max_pixels
        Bounds on the area in pixels, as the checkpoint's processor states them.
    patch_size, merge_size
        Both sides are multiples of ``patch_size * merge_size``.
    """

    min_pixels: int
    max_pixels: int
    patch_size: int = 14
    merge_size: int = 2

    @property
    def factor(self) -> int:
        """Pixels that one side grows or shrinks by."""
        return self.patch_size * self.merge_size

    def size_for(self, width: int, height: int) -> tuple[int, int]:
        """Return the size ``(width, height)`` that the tower sees for an image of a given size.

        The rule is ``smart_resize`` of transformers' Qwen2-VL image processor, number for number.

        Raises
        ------
        Problem
            ``aspect-ratio-too-extreme`` where one side is more than 200 times the other.
        """
        if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
            raise problems.aspect_ratio_too_extreme()
        factor = self.factor
        grid_width = round(width / factor) * factor
        grid_height = round(height / factor) * factor
        if grid_width * grid_height > self.max_pixels:
            shrink = math.sqrt((height * width) / self.max_pixels)
            grid_width = max(factor, math.floor(width / shrink / factor) * factor)
            grid_height = max(factor, math.floor(height / shrink / factor) * factor)
        elif grid_width * grid_height < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            grid_width = math.ceil(width * grow / factor) * factor
            grid_height = math.ceil(height * grow / factor) * factor
        return grid_width, grid_height


def resize_to_grid(
    pixels: npt.NDArray[np.uint8],
    grid: PixelGrid,
    *,
    display_size: tuple[int, int] | None = None,
) -> npt.NDArray[np.uint8]:
    """Resize an upright image onto the grid, as three equal or three colour channels.

    Bicubic with the kernel widened on shrinking (antialiasing), on 8-bit samples, as the
    checkpoint's own processor does it with Pillow.

    Parameters
    ----------
    pixels
        ``(rows, columns)`` or ``(rows, columns, 3)``, 8 bit.
    grid
        The vision tower's grid.
    display_size
        ``(width, height)`` of the image in square pixels, where its pixels are not square.

    Returns
    -------
    numpy.ndarray
        ``(height, width, 3)``, 8 bit, contiguous.

    Raises
    ------
    Problem
        ``aspect-ratio-too-extreme``.
    """
    rows, columns = pixels.shape[:2]
    width, height = grid.size_for(*(display_size or (columns, rows)))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if (width, height) != (columns, rows):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.asarray(image, dtype=np.uint8).copy()
