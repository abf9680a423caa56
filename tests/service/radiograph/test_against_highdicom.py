"""Greyscale rendering against highdicom, over every test file that pydicom ships."""

from __future__ import annotations

import warnings

import highdicom
import numpy as np
import pydicom
import pytest
from film_files import PACKAGED, SHIPPED, path_of

from service.problem import Problem
from service.radiograph import Radiograph, load_radiograph

# Why a file is not compared, one by one (also in docs/rendering.md).
NO_WINDOW = "names no window or VOI LUT: highdicom has nothing to apply, ours falls back, flagged"
BIG_ENDIAN = "highdicom reads little-endian files only"
NOT_RENDERED = {
    "JPEG-lossy.dcm": "unsupported-pixel-format",  # JPEG Extended at 12 bits
    "JPGExtended.dcm": "unsupported-pixel-format",  # JPEG Extended at 12 bits
    "JPEG2000-embedded-sequence-delimiter.dcm": "image-too-large",  # codestream cut in two
    "MR_truncated.dcm": "decode-failed",
    "badVR.dcm": "decode-failed",
    "image_dfl.dcm": "unsupported-transfer-syntax",  # deflated
}
EXCEPTIONS = {
    "CT_small.dcm": NO_WINDOW,
    "JPEG-LL.dcm": NO_WINDOW,
    "JPEG2000.dcm": NO_WINDOW,
    "JPEG2000_UNC.dcm": NO_WINDOW,
    "JPEGLSNearLossless_08.dcm": NO_WINDOW,
    "JPEGLSNearLossless_16.dcm": NO_WINDOW,
    "MR_small_bigendian.dcm": BIG_ENDIAN,
    "MR_small_expb.dcm": BIG_ENDIAN,
    "emri_small.dcm": NO_WINDOW,
    "emri_small_RLE.dcm": NO_WINDOW,
    "emri_small_big_endian.dcm": BIG_ENDIAN,
    "emri_small_jpeg_2k_lossless.dcm": NO_WINDOW,
    "emri_small_jpeg_ls_lossless.dcm": NO_WINDOW,
    "explicit_VR-UN.dcm": NO_WINDOW,
    "liver.dcm": NO_WINDOW,
    "liver_1frame.dcm": NO_WINDOW,
    "liver_expb.dcm": BIG_ENDIAN,
    "liver_expb_1frame.dcm": BIG_ENDIAN,
    "mlut_18.dcm": NO_WINDOW,
    "rtdose.dcm": NO_WINDOW,
    "rtdose_1frame.dcm": NO_WINDOW,
    "rtdose_expb.dcm": BIG_ENDIAN,
    "rtdose_expb_1frame.dcm": BIG_ENDIAN,
    "rtdose_rle.dcm": NO_WINDOW,
    "rtdose_rle_1frame.dcm": NO_WINDOW,
}


def greyscale_files() -> list[str]:
    names = []
    for path in sorted([*SHIPPED.glob("*.dcm"), *PACKAGED.glob("*.dcm")]):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = pydicom.dcmread(path, specific_tags=["PhotometricInterpretation"])
        except pydicom.errors.InvalidDicomError:
            continue
        if str(dataset.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
            names.append(path.name)
    return names


def film_bytes(name: str) -> bytes:
    return path_of(name).read_bytes()


def as_stored(film: Radiograph) -> np.ndarray:
    """Undo the turning, which the peers leave to their viewers."""
    return film.pixels[:, ::-1] if film.to_original.a == -1.0 else film.pixels


@pytest.mark.parametrize("name", sorted(set(greyscale_files()) - set(NOT_RENDERED)))
def test_rendering_agrees_with_highdicom_within_one_grey_level(name: str) -> None:
    film = load_radiograph(film_bytes(name), allow_other_anatomy=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = highdicom.imread(path_of(name)).get_frame(
                1,
                apply_voi_transform=True,
                voi_output_range=(0, 255),
                apply_real_world_transform=False,
            )
        except (RuntimeError, ValueError):
            assert name in EXCEPTIONS
            pytest.skip(EXCEPTIONS[name])
    assert name not in EXCEPTIONS
    difference = np.abs(np.floor(theirs + 0.5) - as_stored(film))
    assert difference.max() <= 1


@pytest.mark.parametrize("name", sorted(NOT_RENDERED))
def test_files_that_cannot_be_rendered_are_refused_with_their_code(name: str) -> None:
    with pytest.raises(Problem) as refusal:
        load_radiograph(film_bytes(name), allow_other_anatomy=True)
    assert refusal.value.code == NOT_RENDERED[name]


def test_a_missing_window_is_always_flagged() -> None:
    for name, reason in EXCEPTIONS.items():
        if reason is not NO_WINDOW:
            continue
        film = load_radiograph(film_bytes(name), allow_other_anatomy=True)
        flagged = "fallback-window" in {notice.code for notice in film.notices}
        eight_bit = pydicom.dcmread(path_of(name), specific_tags=["BitsStored"]).BitsStored <= 8
        assert flagged != eight_bit, name


@pytest.mark.parametrize(("one", "other"), [("RG1_UNCR", "RG1_J2KR"), ("RG1_UNCI", "RG1_J2KI")])
def test_encodings_of_the_real_film_with_equal_pixels_give_identical_bytes(
    one: str, other: str
) -> None:
    first, second = film_bytes(f"{one}.dcm"), film_bytes(f"{other}.dcm")
    assert np.array_equal(
        pydicom.dcmread(PACKAGED / f"{one}.dcm").pixel_array,
        pydicom.dcmread(PACKAGED / f"{other}.dcm").pixel_array,
    )
    assert load_radiograph(first).pixels.tobytes() == load_radiograph(second).pixels.tobytes()
