"""Turning a film upright: PatientOrientation, EXIF orientation, and the maps back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.radiograph.geometry import Affine

_AXES = {"L": (0, 1), "R": (0, -1), "A": (1, 1), "P": (1, -1), "F": (2, 1), "H": (2, -1)}


@dataclass(frozen=True, slots=True)
class Turn:
    """Transpose first (if at all), then mirror left-right, then mirror top-bottom."""

    transpose: bool = False
    mirror_columns: bool = False
    mirror_rows: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether the image stays as stored."""
        return not (self.transpose or self.mirror_columns or self.mirror_rows)

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn an image of shape ``(rows, columns)`` or ``(rows, columns, 3)``."""
        if self.transpose:
            pixels = pixels.swapaxes(0, 1)
        if self.mirror_columns:
            pixels = pixels[:, ::-1]
        if self.mirror_rows:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)

    def to_original(self, width: int, height: int) -> Affine:
        """Return the map from turned to stored coordinates.

        Parameters
        ----------
        width, height
            Columns and rows of the *stored* image.
        """
        turned_width, turned_height = (height, width) if self.transpose else (width, height)
        undo_rows = Affine(1, 0, 0, 0, -1, turned_height) if self.mirror_rows else Affine.identity()
        undo_columns = (
            Affine(-1, 0, turned_width, 0, 1, 0) if self.mirror_columns else Affine.identity()
        )
        undo_transpose = Affine(0, 1, 0, 1, 0, 0) if self.transpose else Affine.identity()
        return undo_rows.then(undo_columns).then(undo_transpose)


# EXIF orientation (CIPA DC-008, tag 0x0112): value → what a viewer does to show it upright.
EXIF_TURNS = {
    1: Turn(),
    2: Turn(mirror_columns=True),
    3: Turn(mirror_columns=True, mirror_rows=True),
    4: Turn(mirror_rows=True),
    5: Turn(transpose=True),
    6: Turn(transpose=True, mirror_columns=True),
    7: Turn(transpose=True, mirror_columns=True, mirror_rows=True),
    8: Turn(transpose=True, mirror_rows=True),
}


def principal_directions(patient_orientation: Sequence[str]) -> tuple[str, str] | None:
    """Return the principal letters of PatientOrientation (PS3.3 C.7.6.1.1.1).

    The first letter of each value leads: ``LF`` is mostly left.

    Returns
    -------
    tuple of str or None
        Direction of the rows and of the columns, each one of L, R, A, P, H, F; ``None`` where
        the values are not two different axes of a human patient.
    """
    if len(patient_orientation) != 2:
        return None
    row, column = (value.strip().upper()[:1] for value in patient_orientation)
    if row not in _AXES or column not in _AXES or _AXES[row][0] == _AXES[column][0]:
        return None
    return row, column


def upright_turn(row: str, column: str) -> Turn:
    """Return the turn that shows a projection in the customary way.

    Feet point down. A frontal film has the patient's left on the viewer's right, so a mirrored
    one is mirrored back. A lateral film has no one customary side: it is turned, never mirrored.

    An axial orientation (no head-feet axis in the image) is left as stored.
    """
    if "H" not in (row, column) and "F" not in (row, column):
        return Turn()
    transpose = row in "HF"
    across, down = (column, row) if transpose else (row, column)
    mirror_rows = down == "H"
    if across in "LR":
        return Turn(transpose, across == "R", mirror_rows)
    # A transposition and each mirroring change handedness; an even number of them is a rotation.
    return Turn(transpose, transpose != mirror_rows, mirror_rows)
