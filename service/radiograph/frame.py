"""One frame of a DICOM image: guarded, then decoded by pydicom's codecs."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from service.problem import Problem
from service.radiograph import problems
from service.radiograph.elements import integer, text
from service.radiograph.image_headers import (
    ImageHeader,
    has_countless_scans,
    jpeg2000_header,
    jpeg_header,
)
from service.radiograph.limits import Limits
from service.radiograph.transfer_syntaxes import JPEG_EXTENDED_UID, Coding, TransferSyntax

_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_SINGLE = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})

# Encoders pad rows and segments; a decompression bomb exceeds its frame by far more.
_RLE_SLACK = 4096


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """The Image Pixel module, checked (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    photometric: str

    @property
    def is_colour(self) -> bool:
        """Three samples a pixel."""
        return self.samples == 3


def read_format(dataset: Dataset, limits: Limits) -> ImageFormat:
    """Read and check the Image Pixel module against the limits; decodes nothing.

    Raises
    ------
    Problem
        ``malformed-dicom``, ``unsupported-pixel-format`` or ``image-too-large``.
    """
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    allocated = integer(dataset, "BitsAllocated")
    if not rows or not columns or rows < 0 or columns < 0 or allocated is None:
        raise problems.malformed_dicom()
    samples = integer(dataset, "SamplesPerPixel") or 1
    frames = integer(dataset, "NumberOfFrames")
    frames = 1 if frames is None else max(frames, 1)
    stored = integer(dataset, "BitsStored") or allocated
    if not 1 <= stored <= allocated:
        stored = allocated
    high_bit = integer(dataset, "HighBit")
    if high_bit is None or not stored - 1 <= high_bit < allocated:
        high_bit = stored - 1
    photometric = text(dataset, "PhotometricInterpretation")
    if not photometric:
        photometric = "MONOCHROME2" if samples == 1 else "RGB"
    known = _SINGLE if samples == 1 else _COLOUR if samples == 3 else ()
    if photometric not in known or allocated not in (1, 8, 16, 32):
        raise problems.unsupported_pixel_format()
    sample_bytes = max(1, allocated // 8)
    if (
        rows * columns > limits.max_pixels
        or rows * columns * samples * sample_bytes > limits.max_frame_bytes
        or rows * columns * samples * frames > limits.max_samples
    ):
        raise problems.image_too_large()
    return ImageFormat(
        rows,
        columns,
        samples,
        frames,
        allocated,
        stored,
        high_bit,
        integer(dataset, "PixelRepresentation") == 1,
        photometric,
    )


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """Samples as decoded, unmasked, and what the codestream said of itself (if any)."""

    samples: npt.NDArray[np.generic]
    codestream: ImageHeader | None


def plain_frame(
    value: memoryview, dataset: Dataset, form: ImageFormat, syntax: TransferSyntax, index: int
) -> DecodedFrame | None:
    """Return one frame (counted from 0) of plain greyscale pixels, as a view of the file's bytes.

    Parameters
    ----------
    value
        Value of the native Pixel Data.
    dataset
        The header; where anything of it is missing or odd, the library's rules decide.

    Returns
    -------
    DecodedFrame or None
        ``None`` where :func:`decode_frame` is needed: colour, big endian, 1 or 32 bits, too few
        bytes, an incomplete Image Pixel module.
    """
    size = form.rows * form.columns * form.allocated // 8
    plain = (
        syntax.coding is Coding.NATIVE
        and syntax.little_endian
        and form.allocated in (8, 16)
        and integer(dataset, "SamplesPerPixel") == 1
        and integer(dataset, "PixelRepresentation") in (0, 1)
        and integer(dataset, "BitsStored") == form.stored
        and text(dataset, "PhotometricInterpretation") in _SINGLE
        and len(value) >= size * form.frames
    )
    if not plain:
        return None
    dtype = f"<{'i' if form.signed else 'u'}{form.allocated // 8}"
    samples = np.frombuffer(value[size * index : size * (index + 1)], dtype)
    return DecodedFrame(samples.reshape(form.rows, form.columns), None)


def decode_frame(
    dataset: Dataset, form: ImageFormat, syntax: TransferSyntax, index: int
) -> DecodedFrame:
    """Decode one frame (counted from 0); colour comes back as RGB.

    Raises
    ------
    Problem
        ``decode-failed``, ``decode-out-of-memory``, ``image-too-large`` (a codestream or RLE
        segment larger than the header's frame), ``unsupported-pixel-format``.
    """
    try:
        codestream = None
        if syntax.coding is not Coding.NATIVE:
            codestream = _guard(dataset, form, syntax, index)
        options: dict[str, Any] = {
            "view_only": not form.is_colour,
            # Masking to the bits stored is part of our own look-up table.
            "correct_unused_bits": form.is_colour,
        }
        samples, _ = get_decoder(UID(syntax.uid)).as_array(
            dataset, index=index, raw=not form.is_colour, **options
        )
    except Problem:
        raise
    except MemoryError:
        raise problems.decode_out_of_memory() from None
    except Exception:  # codecs raise as they please; their texts quote the file
        raise problems.decode_failed() from None
    if samples.shape[:2] != (form.rows, form.columns) or samples.dtype.kind not in "iu":
        raise problems.decode_failed()
    if not samples.dtype.isnative:
        samples = samples.astype(samples.dtype.newbyteorder("="))
    return DecodedFrame(samples, codestream)


def _guard(
    dataset: Dataset, form: ImageFormat, syntax: TransferSyntax, index: int
) -> ImageHeader | None:
    """Compare what one encoded frame would decode to with what the header promises."""
    table = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    encoded = get_frame(
        io.BytesIO(dataset.PixelData),
        index,
        number_of_frames=form.frames,
        extended_offsets=table if table[0] and table[1] else None,
    )
    if syntax.coding is Coding.RLE:
        _guard_rle(encoded, form)
        return None
    header = jpeg2000_header(encoded) if syntax.coding is Coding.JPEG_2000 else jpeg_header(encoded)
    if header is None or (syntax.coding is not Coding.JPEG_2000 and has_countless_scans(encoded)):
        raise problems.decode_failed()
    if header.width * header.height > form.rows * form.columns:
        raise problems.image_too_large()
    if (header.width, header.height, header.samples) != (form.columns, form.rows, form.samples):
        raise problems.malformed_dicom()
    if syntax.uid == JPEG_EXTENDED_UID and header.precision != 8:
        # No permissively licensed codec reads the 12-bit process through pydicom.
        raise problems.unsupported_pixel_format()
    return header


def _guard_rle(encoded: bytes, form: ImageFormat) -> None:
    """Refuse RLE segments that open to more than one byte plane (PS3.5 Annex G).

    Pillow's PackBits decoder stops where its image is full, so the check is bounded in time and
    memory whatever the segment holds.
    """
    if len(encoded) < 64:
        raise problems.decode_failed()
    count, *offsets = struct.unpack_from("<16I", encoded)
    if count != form.samples * form.allocated // 8:
        raise problems.decode_failed()
    plane = form.rows * form.columns
    edges = [*offsets[:count], len(encoded)]
    for start, stop in pairwise(edges):
        if not 64 <= start <= stop:
            raise problems.decode_failed()
        try:
            Image.frombytes("L", (plane + _RLE_SLACK, 1), encoded[start:stop], "packbits", "L")
        except ValueError:
            continue  # the segment ends before the plane overflows, as it should
        raise problems.image_too_large()
