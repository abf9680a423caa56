"""How large a film may be before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps checked on headers, before a decoder allocates anything.

    Attributes
    ----------
    max_bytes
        Bytes of the file as sent.
    max_pixels
        Rows by columns of one frame. The largest chest detectors have about 17 million.
    max_frame_bytes
        Bytes of one decoded frame: rows by columns by samples by bytes a sample.
    max_samples
        Rows by columns by samples by frames of the whole file.
    max_elements
        DICOM data elements and sequence items, at all levels together.
    max_nesting
        Depth of DICOM sequences within sequences.
    """

    max_bytes: int = 100 * 1024 * 1024
    max_pixels: int = 40_000_000
    max_frame_bytes: int = 96 * 1024 * 1024
    max_samples: int = 512 * 1024 * 1024
    max_elements: int = 100_000
    max_nesting: int = 12
