"""What the model sees of a film, and the map back to the stored pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.radiograph.film import Radiograph
from service.radiograph.geometry import Affine
from service.radiograph.grid import PixelGrid, resize_to_grid


@dataclass(frozen=True, slots=True, eq=False)
class ModelImage:
    """The exact image that the vision tower gets; nothing after this resizes it.

    Attributes
    ----------
    pixels
        ``(height, width, 3)``, 8 bit.
    width, height
        Multiples of the grid's factor.
    to_original
        Maps model pixels to the film's stored pixels.
    """

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int
    to_original: Affine


def fit_to_grid(radiograph: Radiograph, grid: PixelGrid) -> ModelImage:
    """Resize a film onto the vision tower's grid, once.

    Oblong pixels become square in the same step.

    Raises
    ------
    Problem
        ``aspect-ratio-too-extreme`` where the film is a strip.
    """
    pixels = radiograph.resized.get(grid)
    if pixels is None:
        pixels = resize_to_grid(radiograph.pixels, grid, display_size=radiograph.display_size)
        pixels.setflags(write=False)
        radiograph.resized[grid] = pixels
    height, width = pixels.shape[:2]
    rows, columns = radiograph.pixels.shape[:2]
    to_upright = Affine.scaling(columns / width, rows / height)
    return ModelImage(pixels, width, height, to_upright.then(radiograph.to_original))


def render_png(model_image: ModelImage) -> bytes:
    """Encode exactly the model's pixels as a PNG, with no metadata."""
    out = io.BytesIO()
    Image.fromarray(model_image.pixels).save(out, format="PNG", compress_level=6)
    return out.getvalue()
