"""The films with the reasoning drawn on them."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from service.radiograph import Affine
from service.results import overlay_png
from service.results.overlay import legend
from service.results.overlay.palette import BACKGROUND, STEP_COLOURS, Colour

ONE_BOX = "<think> Heart [56, 112, 168, 196] </think>. \\boxed{Large.}"
"""A quarter to three quarters across, a half to seven eighths down."""


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def extent_of(colour: Colour, picture: np.ndarray, rows: int) -> tuple[int, int, int, int]:
    """First and last column, first and last row of a colour, in the upper part of a picture."""
    found = (picture[:rows] == colour).all(axis=2)
    columns, lines = np.flatnonzero(found.any(axis=0)), np.flatnonzero(found.any(axis=1))
    return int(columns[0]), int(columns[-1]), int(lines[0]), int(lines[-1])


@pytest.mark.parametrize("side", [300, 448, 1500, 3000])
async def test_a_box_is_drawn_where_it_lies_whatever_the_films_size(ask, side) -> None:
    picture = opened(overlay_png(await ask(ONE_BOX, sizes=((side, side),))))
    shown = min(max(side, 900), 2048)
    assert picture.shape[1] == shown
    left, right, top, bottom = extent_of(STEP_COLOURS[0], picture, shown)
    near = shown / 100
    assert left == pytest.approx(shown / 4, abs=near)
    assert right == pytest.approx(shown * 3 / 4, abs=near)
    assert bottom == pytest.approx(shown * 7 / 8, abs=near)
    # The number plate stands on the box.
    assert shown / 2 - shown / 15 < top < shown / 2 - shown / 60


async def test_boxes_in_stored_pixels_follow_the_film_to_its_upright_display(ask) -> None:
    interpretation = await ask(ONE_BOX, sizes=((900, 900),))
    mirrored = dataclasses.replace(
        interpretation.radiographs[0], to_original=Affine(-1, 0, 900, 0, 1, 0)
    )
    moved = "<think> Heart [0, 112, 56, 196] </think>. \\boxed{Large.}"
    interpretation = dataclasses.replace(
        await ask(moved, sizes=((900, 900),)), radiographs=(mirrored,)
    )
    left, right, _, _ = extent_of(STEP_COLOURS[0], opened(overlay_png(interpretation)), 900)
    assert left == pytest.approx(675, abs=9)
    assert right == pytest.approx(900, abs=9)


async def test_lines_and_letters_grow_with_the_film(ask) -> None:
    small, large = [
        Image.open(io.BytesIO(overlay_png(await ask(ONE_BOX, sizes=((side, side),)))))
        for side in (300, 3000)
    ]
    assert large.height / large.width == pytest.approx(small.height / small.width, abs=0.1)


async def test_equal_interpretations_give_equal_bytes(read_study) -> None:
    assert overlay_png(await read_study()) == overlay_png(await read_study())


async def test_the_file_holds_pixels_and_nothing_else(read_study) -> None:
    png = overlay_png(await read_study())
    kinds, at = set(), 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4])
        kinds.add(png[at + 4 : at + 8])
        at += 12 + length
    assert kinds == {b"IHDR", b"IDAT", b"IEND"}


async def test_every_step_with_boxes_has_a_colour_of_its_own(read_study) -> None:
    picture = opened(overlay_png(await read_study(ONE_BOX)))
    # Findings and impression point at the very same place, and both show.
    for colour in STEP_COLOURS[:2]:
        left, right, _, _ = extent_of(colour, picture, 900)
        assert left == pytest.approx(225, abs=18)
        assert right == pytest.approx(675, abs=18)


async def test_several_films_stand_side_by_side(ask) -> None:
    picture = opened(overlay_png(await ask(sizes=((448, 448), (448, 896), (896, 448)))))
    assert picture.shape[1] > 2500
    one = opened(overlay_png(await ask(sizes=((448, 448),))))
    assert picture.shape[1] > 2 * one.shape[1]


async def test_the_legend_grows_with_the_text(ask) -> None:
    short = opened(overlay_png(await ask("<think> Clear </think>. \\boxed{No}")))
    long = opened(overlay_png(await ask(f"<think> {'Clear ' * 200}</think>. \\boxed{{No}}")))
    assert long.shape[0] > short.shape[0] + 100
    assert long.shape[1] == short.shape[1]


@pytest.mark.parametrize("sizes", [((2000, 12),), ((12, 2000),), ((1, 1),)])
async def test_films_of_odd_shapes_are_drawn(ask, sizes) -> None:
    picture = opened(overlay_png(await ask(sizes=sizes)))
    assert picture.shape[0] >= 320
    assert picture.shape[1] >= 320


async def test_hundreds_of_boxes_are_drawn(ask) -> None:
    boxes = " ".join(f"[{n % 200}, {n % 190}, {n % 200 + 20}, {n % 190 + 30}]" for n in range(300))
    picture = opened(overlay_png(await ask(f"<think> All {boxes} </think>. \\boxed{{Much.}}")))
    assert (picture[:900] == STEP_COLOURS[0]).all(axis=2).any()


async def test_a_reading_without_reasoning_shows_the_film(ask) -> None:
    picture = opened(overlay_png(await ask("<think></think>. \\boxed{No}")))
    assert not any((picture[:900] == colour).all(axis=2).any() for colour in STEP_COLOURS)
    assert (picture[-1] == BACKGROUND).all()


async def test_a_model_that_never_stops_makes_no_endless_picture(ask, monkeypatch) -> None:
    monkeypatch.setattr(legend, "_MOST_PIXELS", 2_000_000)
    steps = "; ".join(f"Step {number} says something [56, 112, 168, 196]" for number in range(200))
    picture = opened(overlay_png(await ask(f"<think> {steps} </think>. \\boxed{{Large.}}")))
    assert picture.shape[0] * picture.shape[1] < 2_000_000 + 2_000_000


async def test_warnings_and_an_assumed_film_are_on_the_picture(ask) -> None:
    sizes = ((448, 448), (448, 448))
    named = "<think> Image 1: heart [56, 112, 168, 196] </think>. \\boxed{Large.}"
    told = await ask(named, sizes=sizes)
    assumed = await ask(named.replace("Image 1: heart", "Heart"), sizes=sizes)
    assert [notice.code for notice in told.notices] == []
    assert [notice.code for notice in assumed.notices] == ["box-image-assumed"]
    pictures = [opened(overlay_png(it)) for it in (told, assumed)]
    # A row more below, and another plate on the first film.
    assert pictures[1].shape[0] > pictures[0].shape[0]
    half = pictures[0].shape[0] // 2
    assert (pictures[0][:half] != pictures[1][:half]).any()
