"""A film as a picture that is sent to a server."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from service.problem import Problem
from service.radiograph import Affine, PixelGrid, fit_to_grid, load_radiograph
from training.systems.formats import Shown

_LEAST = 56 * 56


class Unshowable(Exception):  # noqa: N818 - a state of a film, not a fault of the program
    """A film that cannot be shown; says why."""


def picture_of(film: bytes, pixels: int) -> tuple[str, Shown]:
    """The film as the service renders it, as base64 of a PNG, and what of it is shown.

    Parameters
    ----------
    pixels
        Largest area.

    Raises
    ------
    Unshowable
        When the service cannot open it, or boxes in the picture would not lie where the film's do.
    """
    image, shown = shown_film(film, pixels)
    written = io.BytesIO()
    Image.fromarray(image[:, :, 0]).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode(), shown


def shown_film(film: bytes, pixels: int) -> tuple[np.ndarray, Shown]:
    """The film as the service renders it, rows by columns by RGB, and what of it is shown.

    Raises
    ------
    Unshowable
        As :func:`picture_of`.
    """
    try:
        opened = load_radiograph(film, allow_other_anatomy=True)
    except Problem as error:
        raise Unshowable(error.code) from error
    upright = opened.to_original == Affine.identity()
    if not upright or opened.display_size != (opened.width, opened.height):
        raise Unshowable("stored turned, or with oblong pixels")
    image = fit_to_grid(opened, PixelGrid(min(_LEAST, pixels), pixels)).pixels
    rows, columns = image.shape[:2]
    return image, Shown(opened.width, opened.height, columns, rows)
