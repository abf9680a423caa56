"""The door of this room: bytes in, ``Radiograph`` out, in this process."""

from __future__ import annotations

from service.radiograph import problems
from service.radiograph.dicom import load_dicom
from service.radiograph.film import Radiograph
from service.radiograph.image_headers import JPEG_SIGNATURE, PNG_SIGNATURE
from service.radiograph.limits import Limits
from service.radiograph.part10 import PREFIX, PREFIX_OFFSET
from service.radiograph.raster import JPEG, PNG, load_raster

DICOM = "application/dicom"


def media_type_of(data: bytes) -> str | None:
    """Return the media type that the content itself shows, or ``None``.

    A DICOM preamble may hold anything, another format's signature included, so DICOM is
    looked for first (PS3.10 section 7.1).
    """
    if data[PREFIX_OFFSET : PREFIX_OFFSET + 4] == PREFIX:
        return DICOM
    if data.startswith(PNG_SIGNATURE):
        return PNG
    if data.startswith(JPEG_SIGNATURE):
        return JPEG
    return None


def load_radiograph(
    data: bytes,
    *,
    frame: int | None = None,
    limits: Limits | None = None,
    allow_other_anatomy: bool = False,
) -> Radiograph:
    """Decode and render a film in this process.

    Untrusted bytes belong in :class:`~service.radiograph.decoder.RadiographDecoder`, which does
    the same in a worker process under memory and time limits.

    Parameters
    ----------
    data
        A DICOM Part 10 file, a PNG or a JPEG; told apart by content.
    frame
        Frame of a multi-frame image, counted from 1; the first where not given.
    limits
        Caps checked on headers, before decoding.
    allow_other_anatomy
        Read images that are not chest radiographs by their own header, with a notice.

    Raises
    ------
    Problem
        One of the codes in ``docs/rendering.md``.
    """
    limits = limits or Limits()
    if not data:
        raise problems.empty_body()
    if len(data) > limits.max_bytes:
        raise problems.file_too_large()
    media_type = media_type_of(data)
    if media_type is None:
        raise problems.unsupported_media_type()
    if media_type == DICOM:
        return load_dicom(data, frame=frame, limits=limits, allow_other_anatomy=allow_other_anatomy)
    return load_raster(data, media_type, frame=frame, limits=limits)
