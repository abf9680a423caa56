"""Greyscale rendering against DCMTK's ``dcmj2pnm``, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from test_against_highdicom import NO_WINDOW, NOT_RENDERED, as_stored, film_bytes, greyscale_files

from service.radiograph import load_radiograph

DCMJ2PNM = shutil.which("dcmj2pnm")

# Why a file is not compared, one by one (also in docs/rendering.md).
FUNCTIONAL_GROUPS = "the window is in a functional group, which dcmj2pnm does not look into"
EXCEPTIONS = {
    "CT_small.dcm": NO_WINDOW,
    "JPEG-LL.dcm": NO_WINDOW,
    "JPEG2000.dcm": NO_WINDOW,
    "JPEG2000_UNC.dcm": NO_WINDOW,
    "J2K_pixelrep_mismatch.dcm": "pydicom cannot rewrite it uncompressed for dcmj2pnm",
    "eCT_Supplemental.dcm": FUNCTIONAL_GROUPS,
    "emri_small.dcm": NO_WINDOW,
    "emri_small_RLE.dcm": NO_WINDOW,
    "emri_small_big_endian.dcm": NO_WINDOW,
    "emri_small_jpeg_2k_lossless.dcm": NO_WINDOW,
    "emri_small_jpeg_ls_lossless.dcm": NO_WINDOW,
    "explicit_VR-UN.dcm": NO_WINDOW,
    "liver.dcm": "one bit a pixel: dcmj2pnm leaves the upper half of the greys unused",
    "liver_1frame.dcm": "one bit a pixel: dcmj2pnm leaves the upper half of the greys unused",
    "liver_expb.dcm": "one bit a pixel: dcmj2pnm leaves the upper half of the greys unused",
    "liver_expb_1frame.dcm": "one bit a pixel: dcmj2pnm leaves the upper half of the greys unused",
    "rtdose.dcm": NO_WINDOW,
    "rtdose_1frame.dcm": NO_WINDOW,
    "rtdose_expb.dcm": NO_WINDOW,
    "rtdose_expb_1frame.dcm": NO_WINDOW,
    "rtdose_rle.dcm": NO_WINDOW,
    "rtdose_rle_1frame.dcm": NO_WINDOW,
}


def rendered_by_dcmtk(source: Path, folder: Path, *choice: str) -> np.ndarray:
    target = folder / "theirs.png"
    command = [str(DCMJ2PNM), "--no-overlays", *choice, "+on", str(source), str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return np.asarray(Image.open(target).convert("L")).astype(int)


def voi_choice(dataset: pydicom.Dataset) -> tuple[str, ...]:
    if "VOILUTSequence" in dataset:
        return "--use-voi-lut", "1"
    return ("--use-window", "1") if dataset.get("WindowCenter") is not None else ()


@pytest.mark.skipif(DCMJ2PNM is None, reason="dcmj2pnm (Debian package dcmtk) is not installed")
@pytest.mark.parametrize("name", sorted(set(greyscale_files()) - set(NOT_RENDERED)))
def test_rendering_agrees_with_dcmtk_within_one_grey_level(name: str, tmp_path: Path) -> None:
    if name in EXCEPTIONS:
        pytest.skip(EXCEPTIONS[name])
    film = load_radiograph(film_bytes(name), allow_other_anatomy=True)
    source = tmp_path / "source.dcm"
    source.write_bytes(film_bytes(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(source)
        choice = voi_choice(dataset)
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            # dcmj2pnm reads neither JPEG-LS nor JPEG 2000; the rendering is what is compared.
            dataset.decompress()
            dataset.save_as(source)
    theirs = rendered_by_dcmtk(source, tmp_path, *choice)
    assert np.abs(theirs - as_stored(film).astype(int)).max() <= 1


@pytest.mark.skipif(DCMJ2PNM is None, reason="dcmj2pnm (Debian package dcmtk) is not installed")
@pytest.mark.parametrize("bits", range(8, 17))
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_voi_luts_of_every_depth_agree_with_dcmtk(
    build_dicom, tmp_path: Path, bits: int, photometric: str
) -> None:
    curve = np.linspace(0, 1, 4096) ** 1.7
    entries = np.floor(curve * ((1 << bits) - 1) + 0.5).astype(np.uint16)
    item = pydicom.Dataset()
    item.LUTDescriptor = [4096, 0, bits]
    item.LUTData = entries.tobytes()
    item["LUTDescriptor"].VR = "US"
    item["LUTData"].VR = "OW"
    source = tmp_path / "source.dcm"
    data = build_dicom(VOILUTSequence=[item], PhotometricInterpretation=photometric)
    source.write_bytes(data)
    theirs = rendered_by_dcmtk(source, tmp_path, "--use-voi-lut", "1")
    assert np.abs(theirs - load_radiograph(data).pixels.astype(int)).max() <= 1


@pytest.mark.skipif(DCMJ2PNM is None, reason="dcmj2pnm (Debian package dcmtk) is not installed")
@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
@pytest.mark.parametrize("center", [300.0, 2048.0, 3999.5])
@pytest.mark.parametrize("width", [2.0, 500.0, 4096.0])
def test_windows_agree_with_dcmtk(
    build_dicom, tmp_path: Path, function: str, center: float, width: float
) -> None:
    # Enough greys beside the steep windows that they are not taken for nonsense.
    data = build_dicom(WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    film = load_radiograph(data)
    if "fallback-window" in {notice.code for notice in film.notices}:
        pytest.skip("the window shows nothing of the film: ours falls back, flagged")
    source = tmp_path / "source.dcm"
    source.write_bytes(data)
    theirs = rendered_by_dcmtk(source, tmp_path, "--use-window", "1")
    assert np.abs(theirs - film.pixels.astype(int)).max() <= 1
