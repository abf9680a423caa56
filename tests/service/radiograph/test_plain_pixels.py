"""Plain pixels are read where they lie, and come out as the library's decoder gives them."""

from __future__ import annotations

import numpy as np
import pytest
from film_files import path_of

from service.problem import Problem
from service.radiograph import dicom, load_radiograph

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def opened(data: bytes, **options):
    """What is shown of a film, or the code of its refusal."""
    try:
        return load_radiograph(data, allow_other_anatomy=True, **options).pixels.tolist()
    except Problem as problem:
        return problem.code


def both_ways(data: bytes, monkeypatch, **options):
    """The same film opened by the short way, and by the library's decoder."""
    short = opened(data, **options)
    taken = []

    def recording(*arguments):
        taken.append(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(dicom, "plain_frame", recording)
        long = opened(data, **options)
    assert taken  # else there was no other way to compare with
    return short, long


@pytest.mark.parametrize(
    "name",
    ["RG1_UNCR.dcm", "RG3_UNCR.dcm", "CT_small.dcm", "MR_small.dcm", "emri_small.dcm"],
)
def test_real_files_are_shown_alike(name, monkeypatch):
    path = path_of(name)
    if not path.exists():
        pytest.skip(f"{name} is not among the packaged files")
    short, long = both_ways(path.read_bytes(), monkeypatch)
    assert short == long


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_every_plain_sample_type_is_shown_alike(dtype, build_dicom, monkeypatch):
    limits = np.iinfo(dtype)
    pixels = np.linspace(limits.min, limits.max, 64 * 64).astype(dtype).reshape(64, 64)
    data = build_dicom(pixels, bits=limits.bits, **WINDOW)
    short, long = both_ways(data, monkeypatch)
    assert short == long
    assert isinstance(short, list)


@pytest.mark.parametrize(
    "attributes",
    [
        {"PixelRepresentation": None},
        {"PixelRepresentation": 7},
        {"SamplesPerPixel": None},
        {"PhotometricInterpretation": None},
        {"BitsStored": None},
        {"BitsStored": 20},
        {"NumberOfFrames": 3},
    ],
)
def test_an_odd_header_is_taken_alike(attributes, build_dicom, monkeypatch):
    short, long = both_ways(build_dicom(**WINDOW, **attributes), monkeypatch)
    assert short == long


@pytest.mark.parametrize("length", [0, 1, 100, 8190, 8191, 8193, 9000])
def test_too_few_and_too_many_bytes_are_taken_alike(length, build_dicom, monkeypatch):
    whole = build_dicom(**WINDOW)
    data = whole[: length - 8192] if length < 8192 else whole + bytes(length - 8192)
    short, long = opened(data), None
    with monkeypatch.context() as patch:
        patch.setattr(dicom, "plain_frame", lambda *_: None)
        long = opened(data)
    assert short == long
