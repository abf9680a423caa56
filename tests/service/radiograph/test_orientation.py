"""Patient Orientation and oblong pixels are undone in the pixels and kept in the map back."""

from __future__ import annotations

import numpy as np
import pytest
from film_files import RAMP
from hypothesis import given
from hypothesis import strategies as st

from service.radiograph import load_radiograph
from service.radiograph.orientation import principal_directions, upright_turn

# Orientation → the same picture as an upright film with its left on the viewer's right.
UPRIGHT_TO_STORED = {
    ("L", "F"): lambda a: a,
    ("R", "F"): lambda a: a[:, ::-1],
    ("L", "H"): lambda a: a[::-1],
    ("R", "H"): lambda a: a[::-1, ::-1],
    ("F", "L"): lambda a: a.T,
    ("F", "R"): lambda a: a[:, ::-1].T,
    ("H", "L"): lambda a: a[::-1].T,
    ("H", "R"): lambda a: a[::-1, ::-1].T,
}
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
PICTURE = RAMP[:40]


@pytest.mark.parametrize("orientation", UPRIGHT_TO_STORED)
def test_frontal_films_are_shown_upright(build_dicom, orientation: tuple[str, str]) -> None:
    upright = load_radiograph(build_dicom(PICTURE, **WINDOW))
    stored = np.ascontiguousarray(UPRIGHT_TO_STORED[orientation](PICTURE))
    film = load_radiograph(build_dicom(stored, PatientOrientation=list(orientation), **WINDOW))
    assert np.array_equal(film.pixels, upright.pixels)
    assert (film.width, film.height) == stored.shape[::-1]
    flagged = "orientation-corrected" in {notice.code for notice in film.notices}
    assert flagged == (orientation != ("L", "F"))


@pytest.mark.parametrize("orientation", UPRIGHT_TO_STORED)
def test_the_map_back_points_at_the_stored_pixel(build_dicom, orientation: tuple[str, str]) -> None:
    marked = np.zeros((40, 64), dtype=np.uint16)
    marked[5:9, 50:60] = 4095
    stored = np.ascontiguousarray(UPRIGHT_TO_STORED[orientation](marked))
    film = load_radiograph(build_dicom(stored, PatientOrientation=list(orientation), **WINDOW))
    y, x = np.nonzero(film.pixels)
    box = (x.min(), y.min(), x.max() + 1, y.max() + 1)
    there_y, there_x = np.nonzero(stored)
    expected = (there_x.min(), there_y.min(), there_x.max() + 1, there_y.max() + 1)
    assert film.to_original.apply_box(tuple(map(float, box))) == pytest.approx(expected)


@given(st.sampled_from("AP"), st.sampled_from("HF"), st.booleans())
def test_lateral_films_are_turned_and_never_mirrored(across: str, down: str, lying: bool) -> None:
    row, column = (down, across) if lying else (across, down)
    turn = upright_turn(row, column)
    assert (turn.transpose + turn.mirror_columns + turn.mirror_rows) % 2 == 0


@pytest.mark.parametrize("orientation", [["A", "P"], ["A", "A"], ["X", "F"], ["L"], ["LE", "CD"]])
def test_an_unreadable_orientation_is_told_and_left(build_dicom, orientation: list[str]) -> None:
    film = load_radiograph(build_dicom(PatientOrientation=orientation, **WINDOW))
    codes = {notice.code for notice in film.notices}
    if principal_directions(orientation) is None:
        assert "patient-orientation-unreadable" in codes
    assert film.to_original.apply(3.0, 4.0) == (3.0, 4.0)


def test_oblique_orientations_go_by_their_first_letter() -> None:
    assert principal_directions(["RA", "FP"]) == ("R", "F")


@pytest.mark.parametrize("orientation", [[], None, ""])
def test_a_missing_orientation_is_taken_as_upright(build_dicom, orientation) -> None:
    film = load_radiograph(build_dicom(PatientOrientation=orientation, **WINDOW))
    assert not film.notices


@pytest.mark.parametrize(
    "attributes",
    [
        {"PixelAspectRatio": [2, 1]},
        {"PixelSpacing": [0.4, 0.2]},
        {"ImagerPixelSpacing": [0.4, 0.2]},
        {"NominalScannedPixelSpacing": [0.4, 0.2]},
        {"PixelAspectRatio": [2, 1], "PixelSpacing": [0.2, 0.2]},
    ],
)
def test_oblong_pixels_are_told_and_kept_for_the_resize(build_dicom, attributes) -> None:
    film = load_radiograph(build_dicom(PICTURE, **attributes, **WINDOW))
    assert film.pixel_aspect == pytest.approx(2.0)
    assert film.pixels.shape == (40, 64)
    assert film.display_size == (64, 80)
    assert {notice.code for notice in film.notices} == {"pixel-aspect-corrected"}


def test_turning_a_film_turns_its_pixels_aspect(build_dicom) -> None:
    film = load_radiograph(
        build_dicom(PICTURE, PixelAspectRatio=[2, 1], PatientOrientation=["F", "L"], **WINDOW)
    )
    assert film.pixel_aspect == pytest.approx(0.5)
    assert film.display_size == (80, 64)


@pytest.mark.parametrize(
    ("spacing", "told"), [([0, 0], False), ([0.2, 0.2], False), ([100, 0.1], True)]
)
def test_incredible_spacing_is_ignored(build_dicom, spacing: list[float], told: bool) -> None:
    film = load_radiograph(build_dicom(PixelSpacing=spacing, **WINDOW))
    assert film.pixel_aspect == 1.0
    assert ("pixel-aspect-ignored" in {notice.code for notice in film.notices}) == told
