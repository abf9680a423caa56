"""Every accepted transfer syntax decodes to the same film, and every other is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from film_files import path_of
from PIL import Image
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID

from service.problem import Problem
from service.radiograph import load_radiograph
from service.radiograph.transfer_syntaxes import ACCEPTED

CODESTREAMS = Path(__file__).parent / "codestreams"
ROW, COLUMN = np.indices((64, 64))
PIXELS = ((ROW**2 // 3 + 37 * COLUMN) % 4096).astype(np.uint16)
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
DICOM = "1.2.840.10008.1.2"


def encoded(uid: str) -> bytes:
    if uid.startswith(f"{DICOM}.4.20"):
        return (CODESTREAMS / "htj2k.j2c").read_bytes()
    if uid in (f"{DICOM}.4.57", f"{DICOM}.4.70"):
        return (CODESTREAMS / "jpeg_lossless.jpg").read_bytes()
    options: dict[str, object] = {"jls_error": 1} if uid.endswith(".81") else {}
    if uid.endswith(".91"):
        options = {"j2k_psnr": [120]}
    return get_encoder(UID(uid)).encode(
        PIXELS,
        rows=64,
        columns=64,
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=12,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        number_of_frames=1,
        **options,
    )


def test_fifteen_transfer_syntaxes_are_accepted_three_native_and_twelve_compressed() -> None:
    compressed = [uid for uid in ACCEPTED if UID(uid).is_compressed]
    assert len(ACCEPTED) == 15
    assert len(compressed) == 12


@pytest.mark.parametrize("uid", [DICOM, f"{DICOM}.1", f"{DICOM}.2"])
def test_native_syntaxes_give_the_same_film(build_dicom, uid: str) -> None:
    expected = load_radiograph(build_dicom(PIXELS, **WINDOW)).pixels
    assert np.array_equal(
        load_radiograph(build_dicom(PIXELS, syntax=uid, **WINDOW)).pixels, expected
    )


@pytest.mark.parametrize(
    "uid", [uid for uid in ACCEPTED if UID(uid).is_compressed and uid[-3:] not in (".50", ".51")]
)
def test_compressed_syntaxes_give_the_same_film(build_dicom, uid: str) -> None:
    expected = load_radiograph(build_dicom(PIXELS, **WINDOW)).pixels.astype(int)
    data = build_dicom(
        encoded(uid), bits=12, syntax=uid, encapsulated=True, BitsAllocated=16, **WINDOW
    )
    film = load_radiograph(data)
    lossy = uid.endswith((".81", ".91"))
    assert np.abs(film.pixels.astype(int) - expected).max() <= (1 if lossy else 0)
    assert not film.notices


@pytest.mark.parametrize("uid", [f"{DICOM}.4.50", f"{DICOM}.4.51"])
def test_eight_bit_jpeg_is_decoded(build_dicom, uid: str) -> None:
    smooth = (ROW + COLUMN).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(smooth).save(stream, "JPEG", quality=95)
    film = load_radiograph(build_dicom(stream.getvalue(), bits=8, syntax=uid, encapsulated=True))
    assert np.abs(film.pixels.astype(int) - smooth).max() <= 3


@pytest.mark.parametrize(
    "uid",
    [
        f"{DICOM}.1.99",  # deflated
        f"{DICOM}.4.100",  # MPEG-2
        f"{DICOM}.4.92",  # JPEG 2000 part 2
        f"{DICOM}.4.94",  # JPIP: a URL instead of pixels
        f"{DICOM}.1.98",  # encapsulated uncompressed
        "1.2.3",
    ],
)
def test_any_other_syntax_is_refused_before_the_data_set_is_read(build_dicom, uid: str) -> None:
    data = build_dicom()
    found = data.index(b"1.2.840.10008.1.2.1\0")
    renamed = uid.encode() + b"\0" * (len(uid) % 2)
    data = data[: found - 2] + len(renamed).to_bytes(2, "little") + renamed + b"\xff" * 1000
    with pytest.raises(Problem) as refusal:
        load_radiograph(data)
    assert refusal.value.code == "unsupported-transfer-syntax"
    assert refusal.value.status == 415


def test_implicit_vr_under_an_explicit_syntax_is_read() -> None:
    name = "SC_rgb_jpeg.dcm"
    film = load_radiograph(path_of(name).read_bytes())
    assert film.pixels.shape == (256, 256, 3)


def test_colour_encodings_of_one_picture_agree() -> None:
    plain = load_radiograph(path_of("SC_rgb.dcm").read_bytes()).pixels.astype(int)
    for name in ("SC_rgb_expb.dcm", "SC_rgb_rle.dcm", "SC_rgb_16bit.dcm", "SC_rgb_jpeg_gdcm.dcm"):
        other = load_radiograph(path_of(name).read_bytes()).pixels.astype(int)
        assert np.abs(plain - other).max() <= 1, name
    for name in ("SC_ybr_full_uncompressed.dcm", "SC_rgb_gdcm_KY.dcm"):
        other = load_radiograph(path_of(name).read_bytes()).pixels.astype(int)
        assert np.abs(plain - other).mean() <= 2, name


def test_palette_colour_is_looked_up_in_either_byte_order() -> None:
    little = load_radiograph(path_of("OBXXXX1A.dcm").read_bytes(), allow_other_anatomy=True)
    big = load_radiograph(path_of("OBXXXX1A_expb.dcm").read_bytes(), allow_other_anatomy=True)
    assert little.pixels.shape == (600, 800, 3)
    assert np.array_equal(little.pixels, big.pixels)


def test_signs_that_the_codestream_contradicts_are_corrected() -> None:
    name = "J2K_pixelrep_mismatch.dcm"
    film = load_radiograph(path_of(name).read_bytes(), allow_other_anatomy=True)
    stored = pydicom.dcmread(path_of(name)).pixel_array.astype(float)
    expected = np.clip((stored - 39.5) / 99 + 0.5, 0, 1) * 255
    assert np.abs(film.pixels - expected).max() <= 1
