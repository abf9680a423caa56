"""The transfer syntaxes that are accepted: three native, twelve compressed (PS3.5 Annex A).

Anything else is refused by its UID, before the data set is touched. Deflated Explicit VR Little
Endian (1.2.840.10008.1.2.1.99) is left out on purpose: its whole data set must be inflated
before the first cap can be checked. So are MPEG video and the retired JPEG processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Coding(Enum):
    """How the pixels are coded."""

    NATIVE = "native"
    RLE = "rle"
    JPEG = "jpeg"
    JPEG_LS = "jpeg-ls"
    JPEG_2000 = "jpeg-2000"


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How a data set and its pixels are written."""

    uid: str
    name: str
    coding: Coding
    implicit_vr: bool = False
    little_endian: bool = True


_DICOM = "1.2.840.10008.1.2"

ACCEPTED = {
    syntax.uid: syntax
    for syntax in (
        TransferSyntax(_DICOM, "Implicit VR Little Endian", Coding.NATIVE, implicit_vr=True),
        TransferSyntax(f"{_DICOM}.1", "Explicit VR Little Endian", Coding.NATIVE),
        TransferSyntax(f"{_DICOM}.2", "Explicit VR Big Endian", Coding.NATIVE, little_endian=False),
        TransferSyntax(f"{_DICOM}.5", "RLE Lossless", Coding.RLE),
        TransferSyntax(f"{_DICOM}.4.50", "JPEG Baseline (Process 1)", Coding.JPEG),
        TransferSyntax(f"{_DICOM}.4.51", "JPEG Extended (Process 2 and 4)", Coding.JPEG),
        TransferSyntax(f"{_DICOM}.4.57", "JPEG Lossless (Process 14)", Coding.JPEG),
        TransferSyntax(f"{_DICOM}.4.70", "JPEG Lossless (Process 14 SV1)", Coding.JPEG),
        TransferSyntax(f"{_DICOM}.4.80", "JPEG-LS Lossless", Coding.JPEG_LS),
        TransferSyntax(f"{_DICOM}.4.81", "JPEG-LS Near-lossless", Coding.JPEG_LS),
        TransferSyntax(f"{_DICOM}.4.90", "JPEG 2000 Lossless", Coding.JPEG_2000),
        TransferSyntax(f"{_DICOM}.4.91", "JPEG 2000", Coding.JPEG_2000),
        TransferSyntax(f"{_DICOM}.4.201", "HTJ2K Lossless", Coding.JPEG_2000),
        TransferSyntax(f"{_DICOM}.4.202", "HTJ2K Lossless RPCL", Coding.JPEG_2000),
        TransferSyntax(f"{_DICOM}.4.203", "HTJ2K", Coding.JPEG_2000),
    )
}

JPEG_EXTENDED_UID = f"{_DICOM}.4.51"
