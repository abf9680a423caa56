"""Boxes come back to the film's own pixels, whatever its size, and never leave it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.radiograph import Affine, PixelGrid, Radiograph, fit_to_grid
from service.reading import (
    BoxSpace,
    Mode,
    ParsedBox,
    ParsedStep,
    ParsedText,
    Reading,
    Task,
    from_model_space,
    ground,
    to_model_space,
)

GRID = PixelGrid(28 * 28 * 16, 224 * 224)
SPACES = st.sampled_from(list(BoxSpace))
SIDES = st.integers(24, 700)


def film(width: int, height: int) -> Radiograph:
    return Radiograph(
        pixels=np.zeros((height, width), np.uint8),
        width=width,
        height=height,
        media_type="image/png",
        view_position=None,
        rendering="raster/1",
        notices=(),
        to_original=Affine.identity(),
    )


def read(radiograph: Radiograph, space: BoxSpace, *boxes: ParsedBox) -> Reading:
    step = ParsedStep("A mass", boxes, "A mass")
    return ground(
        ParsedText((step,), "Mass.", (), True),
        task=Task.FINDINGS,
        mode=Mode.THINK,
        raw_text="",
        images=[fit_to_grid(radiograph, GRID)],
        radiographs=[radiograph],
        box_space=space,
    )


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SPACES, st.tuples(*[st.floats(0, 1)] * 4))
def test_a_box_comes_back_to_where_it_was_within_a_pixel(
    width: int, height: int, space: BoxSpace, corners: tuple[float, float, float, float]
) -> None:
    x0, x1 = sorted((corners[0] * width, corners[2] * width))
    y0, y1 = sorted((corners[1] * height, corners[3] * height))
    radiograph = film(width, height)
    image = fit_to_grid(radiograph, GRID)
    seen = image.to_original.inverse().apply_box((x0, y0, x1, y1))
    written = to_model_space(seen, image.width, image.height, space)
    (box,) = read(radiograph, space, ParsedBox(written)).steps[0].boxes
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx((x0, y0, x1, y1), abs=1)
    assert box.normalized == pytest.approx(
        (x0 / width, y0 / height, x1 / width, y1 / height), abs=0.05
    )


@settings(max_examples=80, deadline=None)
@given(SIDES, SIDES, SPACES, st.tuples(*[st.floats(-1e300, 1e300)] * 4))
def test_no_box_leaves_the_film_and_what_is_changed_is_flagged(
    width: int, height: int, space: BoxSpace, values: tuple[float, float, float, float]
) -> None:
    x0, x1 = sorted((values[0], values[2]))
    y0, y1 = sorted((values[1], values[3]))
    reading = read(film(width, height), space, ParsedBox((x0, y0, x1, y1)))
    codes = {notice.code for notice in reading.notices}
    if not reading.steps[0].boxes:
        assert "box-outside-film" in codes
    for box in reading.steps[0].boxes:
        assert 0 <= box.x_min <= box.x_max <= width
        assert 0 <= box.y_min <= box.y_max <= height
        assert box.model == (x0, y0, x1, y1)


def test_a_box_that_overshoots_is_clipped_and_flagged() -> None:
    reading = read(film(224, 224), BoxSpace.PROCESSOR, ParsedBox((100, 100, 300, 150)))
    (box,) = reading.steps[0].boxes
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == (100, 100, 224, 150)
    assert [notice.code for notice in reading.notices] == ["box-clipped"]


@given(SPACES, st.integers(28, 600), st.integers(28, 600), st.tuples(*[st.floats(0, 600)] * 4))
def test_spaces_go_there_and_back(
    space: BoxSpace, width: int, height: int, box: tuple[float, float, float, float]
) -> None:
    there = to_model_space(box, width, height, space)
    assert from_model_space(there, width, height, space) == pytest.approx(box, abs=1e-6)


@pytest.mark.parametrize("space", list(BoxSpace))
def test_the_whole_image_in_any_space_is_the_whole_film_unflagged(space: BoxSpace) -> None:
    radiograph = film(420, 512)
    image = fit_to_grid(radiograph, GRID)
    whole = to_model_space((0, 0, image.width, image.height), image.width, image.height, space)
    reading = read(radiograph, space, ParsedBox(whole))
    (box,) = reading.steps[0].boxes
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx((0, 0, 420, 512))
    assert reading.notices == ()


@pytest.mark.parametrize("space", [BoxSpace.SQUARE_512, BoxSpace.NORMALIZED_1000])
@given(st.integers(28, 1000), st.integers(28, 1000))
def test_the_whole_image_has_whole_sides(space: BoxSpace, width: int, height: int) -> None:
    side = 512 if space is BoxSpace.SQUARE_512 else 1000
    assert to_model_space((0, 0, width, height), width, height, space) == (0, 0, side, side)


@pytest.mark.parametrize("outside", [(300, 0, 400, 50), (-9, 0, -1, 50), (224, 0, 230, 50)])
def test_a_box_outside_the_film_is_a_flag_of_its_step(outside: tuple[int, int, int, int]) -> None:
    reading = read(film(224, 224), BoxSpace.PROCESSOR, ParsedBox(outside))
    assert reading.steps[0].boxes == ()
    assert reading.steps[0].flags == ("box-outside-film",)
    assert [notice.code for notice in reading.notices] == ["box-outside-film"]


def test_the_model_s_own_numbers_are_kept_as_it_wrote_them() -> None:
    box = ParsedBox((10, 20, 30, 40), 0, ("box-inverted",), (30, 40, 10, 20))
    (grounded,) = read(film(224, 224), BoxSpace.PROCESSOR, box).steps[0].boxes
    assert grounded.model == (30, 40, 10, 20)
    assert (grounded.x_min, grounded.x_max) == (10, 30)
    assert grounded.flags == ("box-inverted",)
