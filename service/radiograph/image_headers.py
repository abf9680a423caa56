"""Sizes read from PNG and JPEG headers before any decoder sees the bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9

# Decoders step through chunks and segments one by one, in Python: a file of nothing else would
# keep one busy for minutes. Encoders write image data in chunks of 4 KiB and more.
_MAX_SEGMENTS = 4096
_MAX_SMALL_CHUNKS = 4096
_BYTES_PER_CHUNK = 1024
# Every scan of a progressive JPEG passes over the whole film; encoders write about ten.
_MAX_SCANS = 50


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a compressed image says of itself."""

    width: int
    height: int
    samples: int
    precision: int
    is_signed: bool | None = None


def png_header(data: bytes) -> ImageHeader | None:
    """Read a PNG's IHDR; ``None`` where it is not the first chunk or is cut short.

    So too where the file is cut into more chunks than any encoder writes.
    """
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour)
    if samples is None or not width or not height or _is_crumbled(data):
        return None
    return ImageHeader(width, height, samples, depth)


def _is_crumbled(data: bytes) -> bool:
    """Whether a PNG has far more chunks than its length calls for."""
    position = len(PNG_SIGNATURE)
    for _ in range(_MAX_SMALL_CHUNKS + len(data) // _BYTES_PER_CHUNK):
        if position + 12 > len(data):
            return False
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return True


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height that a PNG or JPEG states; ``None`` for anything else."""
    header: ImageHeader | None = None
    if data.startswith(PNG_SIGNATURE):
        header = png_header(data)
    elif data.startswith(JPEG_SIGNATURE):
        header = jpeg_header(data)
    return None if header is None else (header.width, header.height)


def jpeg_header(data: bytes | memoryview) -> ImageHeader | None:
    """Read the frame header of a JPEG or JPEG-LS stream; ``None`` where there is none.

    Walks the marker segments up to the first scan, never the entropy-coded data; ``None`` also
    where there are more of them than any encoder writes.
    """
    header: ImageHeader | None = None
    position, end = 2, len(data)
    if end < 4 or data[0] != 0xFF or data[1] != 0xD8:
        return None
    for _ in range(_MAX_SEGMENTS):
        if position + 4 > end:
            return None
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        if marker == _START_OF_SCAN:
            return header
        if marker == _END_OF_IMAGE:
            return None
        length = data[position + 2] << 8 | data[position + 3]
        if length < 2:
            return None
        if marker in _START_OF_FRAME and header is None:
            if length < 8 or position + 10 > end:
                return None
            precision, height, width, samples = struct.unpack_from(">BHHB", data, position + 4)
            if not width or not height:
                return None
            header = ImageHeader(width, height, samples, precision)
        position += 2 + length
    return None


def has_countless_scans(data: bytes) -> bool:
    """Whether a JPEG or JPEG-LS stream holds more scans than any encoder writes.

    Coded data never holds the marker itself (ITU-T T.81 B.1.1.5, T.87 C.1).
    """
    return data.count(b"\xff\xda") > _MAX_SCANS


def jpeg2000_header(data: bytes | memoryview) -> ImageHeader | None:
    """Read the SIZ segment of a JPEG 2000 or HTJ2K codestream, bare or inside JP2 boxes."""
    start = (
        0
        if bytes(data[:4]) == b"\xff\x4f\xff\x51"
        else bytes(data[:4096]).find(b"\xff\x4f\xff\x51")
    )
    if start < 0 or len(data) < start + 43:
        return None
    x1, y1, x0, y0 = struct.unpack_from(">IIII", data, start + 8)
    samples = struct.unpack_from(">H", data, start + 40)[0]
    depth = data[start + 42]
    if x1 <= x0 or y1 <= y0:
        return None
    return ImageHeader(x1 - x0, y1 - y0, samples, (depth & 0x7F) + 1, bool(depth & 0x80))
