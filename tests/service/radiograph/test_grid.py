"""The vision tower's grid, the one resize, and the way back from it."""

from __future__ import annotations

import ast
import importlib.util
import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from service.problem import Problem
from service.radiograph import (
    Affine,
    PixelGrid,
    Radiograph,
    clip_box,
    fit_to_grid,
    load_radiograph,
    render_png,
    resize_to_grid,
)
from service.radiograph.orientation import EXIF_TURNS

GRID = PixelGrid(min_pixels=56 * 56, max_pixels=262144)


def transformers_smart_resize() -> Callable[..., tuple[int, int]]:
    """Take the function out of the installed transformers without importing its torch."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "models" / "qwen2_vl" / "image_processing_qwen2_vl.py"
    tree = ast.parse(source.read_text())
    found = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "smart_resize"
    ]
    scope: dict[str, object] = {"math": math}
    exec(compile(ast.Module(found, []), str(source), "exec"), scope)
    return scope["smart_resize"]  # type: ignore[return-value]  # the function, by its name


SMART_RESIZE = transformers_smart_resize()


@given(
    width=st.integers(1, 6000),
    height=st.integers(1, 6000),
    min_pixels=st.sampled_from([28 * 28, 56 * 56, 256 * 28 * 28]),
    max_pixels=st.sampled_from([56 * 56, 224 * 224, 262144, 1280 * 28 * 28]),
)
def test_sizes_are_those_of_transformers(
    width: int, height: int, min_pixels: int, max_pixels: int
) -> None:
    grid = PixelGrid(min_pixels, max_pixels)
    try:
        expected = SMART_RESIZE(
            height, width, factor=28, min_pixels=min_pixels, max_pixels=max_pixels
        )
    except ValueError:
        with pytest.raises(Problem) as refusal:
            grid.size_for(width, height)
        assert refusal.value.code == "aspect-ratio-too-extreme"
        return
    assert grid.size_for(width, height) == expected[::-1]


@pytest.mark.parametrize(
    ("stored", "seen"),
    [((512, 512), (504, 504)), ((2544, 3056), (448, 560)), ((420, 512), (420, 504))],
)
def test_sizes_are_those_known_of_the_published_model(
    stored: tuple[int, int], seen: tuple[int, int]
) -> None:
    assert GRID.size_for(*stored) == seen


def film_of(rows: int, columns: int, exif: int = 1, aspect: float = 1.0) -> Radiograph:
    turn = EXIF_TURNS[exif]
    pixels = turn.apply(np.zeros((rows, columns), dtype=np.uint8))
    return Radiograph(
        pixels=pixels,
        width=columns,
        height=rows,
        media_type="image/png",
        view_position=None,
        rendering="raster/1",
        notices=(),
        to_original=turn.to_original(columns, rows),
        pixel_aspect=aspect,
    )


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 900),
    columns=st.integers(1, 900),
    exif=st.sampled_from(sorted(EXIF_TURNS)),
    aspect=st.floats(0.2, 5.0),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_a_box_comes_back_within_a_pixel_for_any_size_orientation_and_aspect(
    rows: int, columns: int, exif: int, aspect: float, corners: tuple[float, ...]
) -> None:
    film = film_of(rows, columns, exif, aspect)
    width, height = film.display_size
    assume(max(width, height) <= 200 * min(width, height))
    seen = fit_to_grid(film, GRID)
    x0, x1 = sorted((corners[0] * columns, corners[1] * columns))
    y0, y1 = sorted((corners[2] * rows, corners[3] * rows))
    box = (x0, y0, x1, y1)
    there = seen.to_original.inverse().apply_box(box)
    assert -1e-6 <= there[0] <= there[2] <= seen.width + 1e-6
    assert -1e-6 <= there[1] <= there[3] <= seen.height + 1e-6
    back = seen.to_original.apply_box(there)
    assert max(abs(a - b) for a, b in zip(back, box, strict=True)) < 1.0


@given(
    box=st.tuples(*[st.floats(-1e6, 1e6)] * 4),
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
)
def test_no_clipped_box_leaves_the_film(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    x_min, y_min, x_max, y_max = clip_box(box, width, height)
    assert 0 <= min(x_min, x_max) <= max(x_min, x_max) <= width
    assert 0 <= min(y_min, y_max) <= max(y_min, y_max) <= height


@given(exif=st.sampled_from(sorted(EXIF_TURNS)), rows=st.integers(2, 9), columns=st.integers(2, 9))
def test_the_map_back_points_at_the_pixel_that_was_turned(
    exif: int, rows: int, columns: int
) -> None:
    stored = np.arange(rows * columns, dtype=np.uint8).reshape(rows, columns)
    turn = EXIF_TURNS[exif]
    upright = turn.apply(stored)
    to_original = turn.to_original(columns, rows)
    for y, x in np.ndindex(upright.shape):
        there_x, there_y = to_original.apply(x + 0.5, y + 0.5)
        assert upright[y, x] == stored[int(there_y), int(there_x)]


numbers = st.floats(-100, 100).filter(lambda value: abs(value) > 0.01)


@given(numbers, numbers, numbers, numbers, st.floats(-50, 50), st.floats(-50, 50))
def test_maps_compose_and_invert(
    a: float, b: float, d: float, e: float, x: float, y: float
) -> None:
    one = Affine(a, 0.0, b, 0.0, e, d)
    other = Affine(0.0, b, a, d, 0.0, e)
    assert one.then(other).apply(x, y) == pytest.approx(other.apply(*one.apply(x, y)))
    assert one.inverse().apply(*one.apply(x, y)) == pytest.approx((x, y), abs=1e-6)


def test_a_flat_map_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="no inverse"):
        Affine(1, 1, 0, 1, 1, 0).inverse()


def test_the_resize_lands_on_the_grid_in_three_channels(real_film: bytes) -> None:
    film = load_radiograph(real_film)
    seen = fit_to_grid(film, GRID)
    assert seen.pixels.shape == (504, 476, 3)
    assert seen.pixels.dtype == np.uint8
    assert (seen.pixels[..., 0] == seen.pixels[..., 2]).all()
    assert np.array_equal(seen.pixels, resize_to_grid(film.pixels, GRID))


def test_the_resize_is_what_the_checkpoints_own_processor_does(real_film: bytes) -> None:
    film = load_radiograph(real_film)
    theirs = Image.fromarray(film.pixels).convert("RGB").resize((476, 504), Image.BICUBIC)
    assert np.array_equal(fit_to_grid(film, GRID).pixels, np.asarray(theirs))


def test_an_image_already_on_the_grid_is_not_resampled() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (504, 504), dtype=np.uint8)
    assert np.array_equal(resize_to_grid(pixels, GRID)[..., 0], pixels)


def test_tiny_images_grow_to_the_least_size() -> None:
    assert resize_to_grid(np.zeros((1, 1), np.uint8), GRID).shape == (56, 56, 3)


def test_a_strip_is_refused() -> None:
    with pytest.raises(Problem) as refusal:
        fit_to_grid(film_of(2, 500), GRID)
    assert refusal.value.code == "aspect-ratio-too-extreme"
    assert refusal.value.status == 422


def test_oblong_pixels_become_square_in_the_same_step() -> None:
    film = replace(film_of(100, 200), pixel_aspect=2.0)
    seen = fit_to_grid(film, GRID)
    assert seen.width == seen.height
    assert seen.to_original.apply(seen.width, seen.height) == pytest.approx((200, 100))


def test_the_png_holds_exactly_the_models_pixels_and_nothing_else(real_film: bytes) -> None:
    seen = fit_to_grid(load_radiograph(real_film), GRID)
    png = render_png(seen)
    assert png == render_png(seen)
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (seen.width, seen.height)
        assert not image.info
        assert np.array_equal(np.asarray(image), seen.pixels)
