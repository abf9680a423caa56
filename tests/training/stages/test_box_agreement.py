"""Training's boxes in the model's space are the service's, on films of every shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from service.radiograph import Affine, PixelGrid, Radiograph, fit_to_grid, load_radiograph
from service.reading import (
    BoxSpace,
    Conventions,
    Mode,
    Task,
    from_model_space,
    ground,
    parse_text,
    to_model_space,
)
from training.architecture import GRID
from training.data.example import Example, ReasoningTarget
from training.stages.text_targets import completion_text, film_pixels

SEVEN_B = PixelGrid(min_pixels=56 * 56, max_pixels=262_144)


def film(path: Path, width: int, height: int) -> bytes:
    pixels = np.random.default_rng(width * 10_000 + height).integers(0, 256, (height, width))
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("grid", [GRID, SEVEN_B], ids=["embedded", "7b"])
@pytest.mark.parametrize("space", list(BoxSpace))
@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(24, 420),
    height=st.integers(24, 420),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_training_writes_the_box_that_the_service_would(
    tmp_path_factory: pytest.TempPathFactory,
    grid: PixelGrid,
    space: BoxSpace,
    width: int,
    height: int,
    corners: tuple[float, float, float, float],
) -> None:
    data = film(tmp_path_factory.mktemp("film") / "film.png", width, height)
    assert_agreement(load_radiograph(data), grid, space, box_of(width, height, corners))


SIDES = st.one_of(st.integers(24, 4400), st.sampled_from([2022, 2500, 2544, 3056, 3520, 4280]))
CORNERS = st.tuples(*[st.floats(0, 1)] * 4)


@pytest.mark.parametrize("grid", [GRID, SEVEN_B], ids=["embedded", "7b"])
@pytest.mark.parametrize("space", list(BoxSpace))
@settings(max_examples=200, deadline=None)
@given(width=SIDES, height=SIDES, corners=CORNERS)
@example(width=4280, height=3520, corners=(0.0, 0.0, 1.0, 1.0))
@example(width=24, height=4400, corners=(0.0, 0.0, 1.0, 1.0))
@example(width=4400, height=24, corners=(0.3, 0.3, 0.7, 0.7))
def test_the_boxes_of_films_in_their_real_sizes_agree_too(
    grid: PixelGrid,
    space: BoxSpace,
    width: int,
    height: int,
    corners: tuple[float, float, float, float],
) -> None:
    assert_agreement(unseen(width, height, grid), grid, space, box_of(width, height, corners))


def box_of(
    width: int, height: int, corners: tuple[float, float, float, float]
) -> tuple[int, int, int, int]:
    x0, x1 = sorted((round(corners[0] * (width - 1)), round(corners[2] * (width - 1))))
    y0, y1 = sorted((round(corners[1] * (height - 1)), round(corners[3] * (height - 1))))
    return x0, y0, x1 + 1, y1 + 1  # a box has an area


def unseen(width: int, height: int, grid: PixelGrid) -> Radiograph:
    """A film of a size as the service holds it, resized by its rule, of which no pixel is kept."""
    radiograph = Radiograph(
        pixels=np.broadcast_to(np.uint8(0), (height, width)),
        width=width,
        height=height,
        media_type="image/png",
        view_position=None,
        rendering="raster/1",
        notices=(),
        to_original=Affine.identity(),
    )
    columns, rows = grid.size_for(*radiograph.display_size)
    radiograph.resized[grid] = np.zeros((rows, columns, 3), np.uint8)
    return radiograph


def assert_agreement(
    radiograph: Radiograph, grid: PixelGrid, space: BoxSpace, annotated: tuple[int, int, int, int]
) -> None:
    """Training writes the box that the service would, and the service reads back the same."""
    width, height = radiograph.width, radiograph.height
    asked = Example(
        id="x",
        images=("film.png",),
        sizes=((width, height),),
        task=Task.FINDINGS,
        mode=Mode.THINK,
        answer="Cardiomegaly.",
        steps=(ReasoningTarget("The heart is enlarged", ((0, annotated),)),),
        split="train",
        subject="s",
        view="PA",
    )
    text = completion_text(asked, Conventions(box_space=space), grid)

    # The service's own way: resize, and its affine turned round.
    image = fit_to_grid(radiograph, grid)
    seen = image.to_original.inverse().apply_box(annotated)
    wanted = to_model_space(seen, image.width, image.height, space)
    (step,) = parse_text(text, mode=Mode.THINK).steps
    (written,) = step.boxes
    assert not written.flags
    x0, y0, x1, y1 = map(round, wanted)
    # A side that is thinner than a pixel is written as one.
    off = [0.5 + 0.5 * thin + 1e-6 for thin in (x0 == x1, y0 == y1)] * 2
    for value, true, most in zip(written.values, wanted, off, strict=True):
        assert abs(value - true) <= most
    assert all(value == int(value) for value in written.values)

    # And back: what a caller gets is the box that was annotated, to as much.
    reading = ground(
        parse_text(text, mode=Mode.THINK),
        task=Task.FINDINGS,
        mode=Mode.THINK,
        raw_text=text,
        images=[image],
        radiographs=[radiograph],
        box_space=space,
    )
    unit = from_model_space((1, 1, 1, 1), image.width, image.height, space)
    slack = [
        o * u * s + 1e-6
        for o, u, s in zip(off, unit, (width / image.width, height / image.height) * 2, strict=True)
    ]
    (box,) = reading.steps[0].boxes
    found = (box.x_min, box.y_min, box.x_max, box.y_max)
    for value, true, most in zip(found, annotated, slack, strict=True):
        assert abs(value - true) <= most


@settings(max_examples=25, deadline=None)
@given(width=st.integers(24, 420), height=st.integers(24, 420))
def test_training_shows_the_pixels_that_the_service_shows(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int
) -> None:
    path = tmp_path_factory.mktemp("film") / "film.png"
    image = fit_to_grid(load_radiograph(film(path, width, height)), GRID)
    assert np.array_equal(film_pixels(path, GRID), image.pixels)
    assert (image.width, image.height) == GRID.size_for(width, height)
