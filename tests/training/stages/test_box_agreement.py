"""Training's boxes in the model's space are the service's, on films of every shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.radiograph import PixelGrid, fit_to_grid, load_radiograph
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
    x0, x1 = sorted((round(corners[0] * width), round(corners[2] * width)))
    y0, y1 = sorted((round(corners[1] * height), round(corners[3] * height)))
    example = Example(
        id="x",
        images=("film.png",),
        sizes=((width, height),),
        task=Task.FINDINGS,
        mode=Mode.THINK,
        answer="Cardiomegaly.",
        steps=(ReasoningTarget("The heart is enlarged", ((0, (x0, y0, x1, y1)),)),),
        split="train",
        subject="s",
        view="PA",
    )
    text = completion_text(example, Conventions(box_space=space), grid)

    # The service's own way: decode, resize, and its affine turned round.
    radiograph = load_radiograph(data)
    image = fit_to_grid(radiograph, grid)
    seen = image.to_original.inverse().apply_box((x0, y0, x1, y1))
    wanted = to_model_space(seen, image.width, image.height, space)
    (step,) = parse_text(text, mode=Mode.THINK).steps
    (written,) = step.boxes
    assert written.values == pytest.approx(wanted, abs=0.5 + 1e-6)
    assert all(value == int(value) for value in written.values)

    # And back: what a caller gets is the box that was annotated, to half a model pixel.
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
        0.5 * u * s + 1e-6
        for u, s in zip(unit, (width / image.width, height / image.height) * 2, strict=True)
    ]
    (box,) = reading.steps[0].boxes
    found = (box.x_min, box.y_min, box.x_max, box.y_max)
    for value, true, most in zip(found, (x0, y0, x1, y1), slack, strict=True):
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
