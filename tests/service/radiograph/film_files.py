"""Films: the real one and the test files that packages carry, and DICOM built for one test."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import data_store
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

PACKAGED = Path(data_store.__file__).parent / "data"
"""Folder of the files that pydicom-data carries."""

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
"""Folder of the test files that pydicom carries."""


RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
"""Every 12-bit value once, row by row."""


def path_of(name: str) -> Path:
    """Return where a test file lies, whichever package carries it."""
    shipped = SHIPPED / name
    return shipped if shipped.exists() else PACKAGED / name


def write_dicom(
    pixels: np.ndarray | bytes = RAMP,
    *,
    bits: int = 12,
    syntax: str = ExplicitVRLittleEndian,
    encapsulated: bool = False,
    vrs: dict[str, str] | None = None,
    **attributes: Any,
) -> bytes:
    """Write a Part 10 file.

    ``pixels`` is an array to be stored natively, or a frame already encoded. An attribute given
    as ``None`` is left out; ``vrs`` overrides the VR of an attribute.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    rows, columns = pixels.shape[:2] if isinstance(pixels, np.ndarray) else (64, 64)
    signed = isinstance(pixels, np.ndarray) and pixels.dtype.kind == "i"
    allocated = 8 * pixels.dtype.itemsize if isinstance(pixels, np.ndarray) else 8
    defaults: dict[str, Any] = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": "1.2.3.4",
        "Modality": "CR",
        "BodyPartExamined": "CHEST",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(signed),
    }
    for keyword, value in {**defaults, **attributes}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    big_endian = dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2"
    if isinstance(pixels, np.ndarray):
        stored = pixels.astype(pixels.dtype.newbyteorder(">")) if big_endian else pixels
        dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
        dataset["PixelData"].VR = "OW" if allocated > 8 else "OB"
    else:
        dataset.PixelData = encapsulate([pixels]) if encapsulated else pixels
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = encapsulated
    for keyword, vr in (vrs or {}).items():
        dataset[keyword].VR = vr
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()
