"""Whether a film is shown as it is stored, told by its header alone.

Boxes are kept in stored pixels, and training shows films as the service does, upright and in
proportion: a film that this turns or stretches has its boxes elsewhere and is refused there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from service.radiograph.elements import numbers, values
from service.radiograph.orientation import EXIF_TURNS, Turn, principal_directions, upright_turn

if TYPE_CHECKING:
    from PIL.Image import Image
    from pydicom.dataset import Dataset

TURNED = "film stored turned or mirrored: left out (store it upright, its boxes with it)"
OBLONG = "film with oblong pixels: left out (store it in proportion, its boxes with it)"
_SPACINGS = ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""In the order that the service asks them in."""
_ORIENTATION = 0x0112


def _fault_of_picture(image: Image) -> str | None:
    """:data:`TURNED` where the EXIF of a PNG or JPEG asks for a turn (CIPA DC-008)."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # as the service: a damaged EXIF block must not lose the film
        return None
    turn = EXIF_TURNS.get(value, Turn()) if isinstance(value, int) else Turn()
    return None if turn.is_identity else TURNED


def _fault_of_dicom(header: Dataset) -> str | None:
    """Whether a film is turned (PS3.3 C.7.6.1.1.1) or its pixels are oblong (C.7.6.3.1.7)."""
    directions = principal_directions([str(v) for v in values(header, "PatientOrientation")])
    if directions and not upright_turn(*directions).is_identity:
        return TURNED
    for keyword in _SPACINGS:
        pair = [value for value in numbers(header, keyword) if value and value > 0]
        if len(pair) == 2:
            return _fault_of_aspect(int(header.Rows), int(header.Columns), pair[0] / pair[1])
    return None


def _fault_of_aspect(rows: int, columns: int, aspect: float) -> str | None:
    """What is not credible, or too little to change a row or a column, the service leaves."""
    if not 0.1 <= aspect <= 10 or abs(aspect - 1) <= 0.001:
        return None
    shown = (rows * aspect, columns) if aspect >= 1 else (rows, columns / aspect)
    return None if (round(shown[0]), round(shown[1])) == (rows, columns) else OBLONG


def fault_of_film(path: Path, *, is_dicom: bool) -> str | None:
    """Why a film cannot be trained on although it can be read; None where it can.

    A file whose header cannot be read has none: that is told where its size is read.
    """
    if is_dicom:
        import pydicom
        from pydicom.errors import InvalidDicomError

        tags = ["Rows", "Columns", "PatientOrientation", *_SPACINGS]
        try:
            return _fault_of_dicom(
                pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
            )
        except (OSError, InvalidDicomError, AttributeError, TypeError, ValueError):
            return None
    from PIL import Image as Images

    try:
        with Images.open(path) as image:
            return _fault_of_picture(image)
    except (OSError, Images.DecompressionBombError):
        return None
