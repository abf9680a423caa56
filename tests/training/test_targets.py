"""Training shows and writes exactly what the service shows and reads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.radiograph import Affine, PixelGrid, Radiograph, fit_to_grid
from service.reading import SPECIAL_TOKENS, Mode, Task, from_model_space, parse_text
from training.architecture import (
    COORDINATES,
    GRID,
    build_image_processor,
    build_model,
    number_ids,
    train_tokenizer,
)
from training.conventions import EMBEDDED_CONVENTIONS
from training.data.example import Example, ReasoningTarget
from training.stages.errors import ConfigError
from training.stages.muon import _orthogonal
from training.stages.supervised import in_similar_lengths
from training.stages.text_targets import completion_text, training_row
from training.stages.warm_up import pack_patches

SPACE = EMBEDDED_CONVENTIONS.box_space


@pytest.fixture(scope="module")
def tokenizer():  # type: ignore[no-untyped-def]  # the type is transformers'
    return train_tokenizer(["<think> The heart is enlarged [1, 2, 3, 4] </think>"] * 40)


def example(width: int, height: int, *boxes: tuple[int, int, int, int]) -> Example:
    return Example(
        id="x",
        images=("film.png",),
        sizes=((width, height),),
        task=Task.FINDINGS,
        mode=Mode.THINK,
        answer="Cardiomegaly.",
        steps=(ReasoningTarget("The heart is enlarged", tuple((0, box) for box in boxes)),),
        split="train",
        subject="s",
        view="PA",
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(60, 900), st.integers(60, 900), st.tuples(*[st.floats(0, 1)] * 4))
def test_a_target_box_is_where_the_service_reads_it_to_the_pixel(
    width: int, height: int, corners: tuple[float, float, float, float]
) -> None:
    x0, x1 = sorted((round(corners[0] * (width - 1)), round(corners[2] * (width - 1))))
    y0, y1 = sorted((round(corners[1] * (height - 1)), round(corners[3] * (height - 1))))
    x1, y1 = x1 + 1, y1 + 1  # a box has an area
    text = completion_text(example(width, height, (x0, y0, x1, y1)), EMBEDDED_CONVENTIONS, GRID)
    film = Radiograph(
        pixels=np.zeros((height, width), np.uint8),
        width=width,
        height=height,
        media_type="image/png",
        view_position=None,
        rendering="raster/1",
        notices=(),
        to_original=Affine.identity(),
    )
    image = fit_to_grid(film, GRID)
    (box,) = parse_text(text, mode=Mode.THINK).steps[0].boxes
    assert all(value == int(value) for value in box.values)
    read = from_model_space(box.values, image.width, image.height, SPACE)
    back = image.to_original.apply_box(read)
    # Half a model pixel of rounding, a whole one of what is thinner; seen in the film's pixels.
    across, down = width / image.width, height / image.height
    thin = round(x0 / across) == round(x1 / across) or round(y0 / down) == round(y1 / down)
    slack = max(across, down) * (1.0 if thin else 0.5) + 1e-6
    assert back == pytest.approx((x0, y0, x1, y1), abs=slack)


def test_only_the_completion_is_learnt(tokenizer) -> None:  # type: ignore[no-untyped-def]  # see above
    row = training_row(example(448, 448, (1, 2, 3, 4)), tokenizer, EMBEDDED_CONVENTIONS, GRID)
    learnt = [
        token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label >= 0
    ]
    assert tokenizer.decode(learnt).startswith("<think>")
    assert tokenizer.decode(learnt).endswith("<|im_end|>")
    image = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert row["input_ids"].count(image) == 64
    assert image not in learnt


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_tokens_are_taken_out_of_what_is_learnt(tokenizer, token: str, mode: Mode) -> None:  # type: ignore[no-untyped-def]  # see above
    plain = replace(example(448, 448, (1, 2, 3, 4)), mode=mode)
    said = replace(
        plain,
        answer=f"Cardiomegaly{token}.",
        steps=(replace(plain.steps[0], text=f"The heart {token}is enlarged"),),
    )
    assert training_row(said, tokenizer, EMBEDDED_CONVENTIONS, GRID) == training_row(
        plain, tokenizer, EMBEDDED_CONVENTIONS, GRID
    )


@pytest.mark.parametrize("answer", ["<|im_end|>", "a } b"])
def test_an_answer_that_cannot_be_learnt_is_named(tokenizer, answer: str) -> None:  # type: ignore[no-untyped-def]  # see above
    wrong = replace(example(448, 448, (1, 2, 3, 4)), id="e5", answer=answer)
    with pytest.raises(ConfigError, match="example e5"):
        training_row(wrong, tokenizer, EMBEDDED_CONVENTIONS, GRID)


def test_patches_are_those_of_the_checkpoints_processor() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (196, 224, 3), dtype=np.uint8)
    expected = build_image_processor()([pixels], return_tensors="pt")
    assert expected["image_grid_thw"].tolist() == [[1, 14, 16]]
    torch.testing.assert_close(pack_patches(pixels), expected["pixel_values"])


def test_every_coordinate_is_one_token(tokenizer, tmp_path) -> None:  # type: ignore[no-untyped-def]  # see above
    from transformers import AutoTokenizer

    assert len(set(number_ids(tokenizer).tolist())) == COORDINATES
    tokenizer.save_pretrained(tmp_path)
    assert torch.equal(number_ids(AutoTokenizer.from_pretrained(tmp_path)), number_ids(tokenizer))


def test_the_grid_leaves_every_coordinate_of_a_film_among_the_tokens() -> None:
    assert isinstance(GRID, PixelGrid)
    assert max(GRID.size_for(1000, 250)) < COORDINATES


def test_a_fresh_model_fits_the_size_limit(tokenizer) -> None:  # type: ignore[no-untyped-def]  # see above
    model = build_model(tokenizer)
    assert sum(p.numel() for p in model.parameters()) * 2 < 25e6


@given(st.lists(st.integers(1, 300), min_size=1, max_size=200), st.integers(0, 5))
def test_batches_of_like_length_hold_every_example_once(lengths: list[int], seed: int) -> None:
    order = in_similar_lengths(lengths, 8, seed)
    assert sorted(order) == list(range(len(lengths)))


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (32, 32)])
def test_muon_steps_towards_an_orthogonal_matrix(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    singular = torch.linalg.svdvals(_orthogonal(torch.randn(shape)))
    assert float(singular.min()) > 0.4
    assert float(singular.max()) < 1.4
