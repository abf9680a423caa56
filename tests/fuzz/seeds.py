"""Seeds: real DICOM files, the real chest film scaled down, PNG and JPEG in all their forms."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import data_store
import numpy as np
import pydicom
from PIL import Image, PngImagePlugin
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

_SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
_REAL = Path(data_store.__file__).parent / "data" / "RG1_UNCR.dcm"
_LARGEST = 40_000  # bytes; a mutation of a small file hits more of its structure
_STEP = 24  # the real film, every so many rows and columns


@dataclass(frozen=True)
class Seed:
    """One sound file."""

    name: str
    kind: str
    data: bytes


@cache
def all_seeds() -> tuple[Seed, ...]:
    """Return every seed, in an order that does not change."""
    return (*_shipped(), *_real_film(), *_rasters())


def _shipped() -> list[Seed]:
    return [
        Seed(path.name, "dicom", path.read_bytes())
        for path in sorted(_SHIPPED.glob("*.dcm"))
        if path.stat().st_size <= _LARGEST
    ]


def _real_film() -> list[Seed]:
    """The real chest film with its own header, in every transfer syntax that can be written."""
    seeds = []
    for syntax in (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        RLELossless,
        JPEG2000Lossless,
        JPEGLSLossless,
    ):
        film = pydicom.dcmread(_REAL)
        pixels = np.ascontiguousarray(film.pixel_array[::_STEP, ::_STEP])
        film.Rows, film.Columns = pixels.shape
        if syntax == ExplicitVRBigEndian:
            film.PixelData = pixels.byteswap().tobytes()
        else:
            film.PixelData = pixels.tobytes()
        film["PixelData"].VR = "OW"
        native = syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
        film.file_meta.TransferSyntaxUID = syntax if native else ExplicitVRLittleEndian
        if not native:
            film.compress(syntax, generate_instance_uid=False)
        buffer = io.BytesIO()
        pydicom.dcmwrite(
            buffer,
            film,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            force_encoding=True,
        )
        seeds.append(Seed(f"RG1 {syntax.name}", "dicom", buffer.getvalue()))
    return seeds


def _rasters() -> list[Seed]:
    film = pydicom.dcmread(_REAL).pixel_array[::_STEP, ::_STEP]
    deep = film.astype(np.uint16) << 4
    grey = Image.fromarray((film >> 4).astype(np.uint8))
    colour = Image.merge("RGB", (grey, grey.rotate(180), grey.transpose(Image.Transpose.ROTATE_90)
                                 .resize(grey.size)))  # fmt: skip
    with_alpha = colour.convert("RGBA")
    with_alpha.putalpha(grey)
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "chest")
    text.add_itxt("Comment", "film", "en", "Comment", zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = []
    for name, image, options in (
        ("grey", grey, {}),
        ("grey, 1 bit", grey.convert("1"), {}),
        ("grey, 16 bit", Image.fromarray(deep), {}),
        ("grey and alpha", with_alpha.convert("LA"), {}),
        ("colour", colour, {}),
        ("colour and alpha", with_alpha, {"pnginfo": text, "exif": exif}),
        ("palette", colour.quantize(16), {"transparency": 3}),
    ):
        seeds.append(Seed(f"PNG, {name}", "png", _saved(image, "PNG", **options)))
    for name, image, options in (
        ("grey", grey, {}),
        ("grey, progressive", grey, {"progressive": True, "exif": exif}),
        ("colour", colour, {"subsampling": "4:2:0", "comment": b"film"}),
        ("colour, restarts", colour, {"subsampling": "4:4:4", "restart_marker_rows": 1}),
        ("four inks", colour.convert("CMYK"), {}),
    ):
        seeds.append(Seed(f"JPEG, {name}", "jpeg", _saved(image, "JPEG", quality=80, **options)))
    return seeds


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()
