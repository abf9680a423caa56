"""``Radiograph``: one film, decoded and rendered for display."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from service.notice import Notice
from service.radiograph.geometry import Affine
from service.radiograph.grid import PixelGrid

DICOM_RENDERING = "dicom-voi/1"
RASTER_RENDERING = "raster/1"


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """A film as a reader would see it, and the way back to the stored pixels.

    Attributes
    ----------
    pixels
        8-bit display values, ``(rows, columns)`` or ``(rows, columns, 3)``, upright. Read-only.
        Pixels may be oblong: see ``pixel_aspect``.
    width, height
        Columns and rows of the *stored* image, before any flip or rotation.
    media_type
        ``application/dicom``, ``image/png`` or ``image/jpeg``, found from the content.
    view_position
        ``PA``, ``AP``, ``LL``, ``RL``, ``LATERAL``, … where the header names one.
    rendering
        Name and version of the rule that made ``pixels`` (``docs/rendering.md``).
    notices
        What the caller must know about this film.
    to_original
        Maps ``pixels``' coordinates to stored coordinates.
    pixel_aspect
        Height of an upright pixel divided by its width; 1 for square pixels.
    modality
        DICOM modality where it is one that films have, else ``None``.
    frame, frames
        The frame shown, counted from 1, and how many the image has.
    sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid
        DICOM identifiers, for results that refer back to the image; never logged.
    resized
        ``pixels`` on the grids that they were asked for on, so that a film which is remembered is
        not resized again.
    """

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int
    media_type: str
    view_position: str | None
    rendering: str
    notices: tuple[Notice, ...]
    to_original: Affine
    pixel_aspect: float = 1.0
    modality: str | None = None
    frame: int = 1
    frames: int = 1
    sop_class_uid: str | None = field(default=None, repr=False)
    sop_instance_uid: str | None = field(default=None, repr=False)
    study_instance_uid: str | None = field(default=None, repr=False)
    series_instance_uid: str | None = field(default=None, repr=False)
    resized: dict[PixelGrid, npt.NDArray[np.uint8]] = field(
        init=False, default_factory=dict, repr=False
    )

    @property
    def display_size(self) -> tuple[int, int]:
        """``(width, height)`` of the upright film in square pixels, never below ``pixels``' own."""
        rows, columns = self.pixels.shape[:2]
        if self.pixel_aspect >= 1.0:
            return columns, round(rows * self.pixel_aspect)
        return round(columns / self.pixel_aspect), rows
