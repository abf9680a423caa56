"""From an :class:`Example` to what TRL reads: prompt, completion and film on the model's grid."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from service.problem import Problem
from service.radiograph import Affine, PixelGrid, fit_to_grid, load_radiograph
from service.reading import (
    ClinicalContext,
    Conventions,
    Mode,
    build_prompt,
    strip_special_tokens,
    to_model_space,
    write_grounded_text,
)
from training.data.example import Example
from training.stages.errors import ConfigError

IMAGE_TOKEN = "<|image_pad|>"
_PLACE = "<|place|>"


def film_pixels(path: Path, grid: PixelGrid, size: tuple[int, int] | None = None) -> np.ndarray:
    """The film as the service would show it to the model, uint8 (rows, columns, 3).

    Parameters
    ----------
    size
        Width and height in original pixels that its boxes were drawn on, where they are known.

    Raises
    ------
    Problem
        When the service could not open it.
    ValueError
        When the film is turned, its pixels are oblong, or it is of another size: its boxes would
        not lie where the model's do.
    """
    film = load_radiograph(path.read_bytes(), allow_other_anatomy=True)
    if film.to_original != Affine.identity() or film.display_size != (film.width, film.height):
        raise ValueError(
            f"{path.name} is stored turned, or with oblong pixels. Write it upright first "
            "(`deepmedix render`) and take its boxes along."
        )
    if size is not None and size != (film.width, film.height):
        raise ValueError(
            f"it is {film.width} x {film.height} pixels large, and was {size[0]} x {size[1]} when "
            "the data were prepared"
        )
    return fit_to_grid(film, grid).pixels


def shown_film(
    folder: Path, film: str, grid: PixelGrid, size: tuple[int, int] | None = None
) -> np.ndarray:
    """:func:`film_pixels` of an example's film, for a stage that cannot go on without it.

    Raises
    ------
    ConfigError
        When the film cannot be shown.
    """
    try:
        return film_pixels(folder / film, grid, size)
    except (OSError, ValueError, Problem) as error:
        said = error.title if isinstance(error, Problem) else str(error)
        raise ConfigError(
            f"data: the film {film} cannot be shown ({said.rstrip('.')}). Mend it, or prepare the "
            "data again: `deepmedix data prepare --open-images` opens every film and leaves out "
            "what cannot be; without, headers alone are looked at."
        ) from error


def completion_text(example: Example, conventions: Conventions, grid: PixelGrid) -> str:
    """The grounded text that the model is to write, boxes in the manifest's box space.

    Special tokens and think tags are taken out of it, as the service takes them out of a question.

    Raises
    ------
    ConfigError
        When nothing is left of the answer or of a step, or the text would not read back as it is.
    """
    answer = _plain(example.answer, example)
    if example.mode is Mode.ANSWER:
        return answer
    steps = []
    for step in example.steps:
        boxes = []
        for image, box in step.boxes:
            width, height = example.sizes[image]
            columns, rows = grid.size_for(width, height)
            scaled = (
                box[0] * columns / width,
                box[1] * rows / height,
                box[2] * columns / width,
                box[3] * rows / height,
            )
            written = to_model_space(scaled, columns, rows, conventions.box_space)
            boxes.append(_whole(written))
        steps.append((_plain(step.text, example), boxes))
    try:
        placed = [[image for image, _ in step.boxes] for step in example.steps]
        return write_grounded_text(steps, answer, images=len(example.images), placed=placed)
    except ValueError as error:
        raise ConfigError(
            f"data: the example {example.id} cannot be learnt from: {error}. Correct it, or leave "
            "it out, and prepare the data again."
        ) from error


def _whole(box: Sequence[float]) -> tuple[int, int, int, int]:
    """A box in whole numbers, the nearest ones but where that would leave it no area."""
    x0, y0, x1, y1 = map(round, box)
    if x0 == x1:
        x0, x1 = floor(box[0]), max(ceil(box[2]), floor(box[0]) + 1)
    if y0 == y1:
        y0, y1 = floor(box[1]), max(ceil(box[3]), floor(box[1]) + 1)
    return x0, y0, x1, y1


def _plain(text: str, example: Example) -> str:
    stripped = strip_special_tokens(text)
    if stripped == text:
        return text
    if not stripped.strip():
        raise ConfigError(
            f"data: the answer or a step of the example {example.id} holds nothing but special "
            "tokens. Correct it, or leave it out, and prepare the data again."
        )
    return " ".join(stripped.split())


def prompt_text(example: Example, conventions: Conventions) -> str:
    """The user's turn, exactly as the service asks it.

    Raises
    ------
    ConfigError
        When the service would not ask it.
    """
    try:
        return build_prompt(
            conventions,
            example.task,
            example.mode,
            question=example.question,
            context=ClinicalContext(
                indication=example.indication,
                technique=example.technique,
                comparison=example.comparison,
                prior_report=example.prior_report,
            ),
            images=len(example.images),
        )
    except Problem as error:
        raise ConfigError(
            f"data: the example {example.id} cannot be asked ({error.title.rstrip('.')}). Correct "
            "it, or leave it out, and prepare the data again."
        ) from error


def check_texts(
    examples: Sequence[Example], conventions: Conventions, grid: PixelGrid, *, learnt: bool
) -> None:
    """Find what a stage could not ask or learn before it begins, not when it comes to it.

    Texts are built, but neither films opened nor tokens counted: ten microseconds an example, a
    quarter of a millisecond where reasoning is learnt.

    Parameters
    ----------
    learnt
        Whether the examples' own texts are learnt.

    Raises
    ------
    ConfigError
        For the first such example, with how many there are.
    """
    first, found = None, 0
    different = {id(example): example for example in examples}.values()  # passes share them
    for example in different:
        try:
            prompt_text(example, conventions)
            if learnt:
                completion_text(example, conventions, grid)
        except ConfigError as error:
            first, found = first or error, found + 1
    if first is not None:
        raise ConfigError(f"{first} Of {len(different)} examples, {found} are like that.")


def asked_text(
    example: Example,
    tokenizer: PreTrainedTokenizerBase,
    conventions: Conventions,
    grid: PixelGrid,
) -> str:
    """The prompt as the checkpoint's template writes it, an image token for each visual token."""
    content: list[dict[str, str]] = [{"type": "image"} for _ in example.images]
    content.append({"type": "text", "text": prompt_text(example, conventions)})
    asked = str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
    )
    for width, height in example.sizes:
        columns, rows = grid.size_for(width, height)
        tokens = columns * rows // (grid.patch_size * grid.merge_size) ** 2
        asked = asked.replace(IMAGE_TOKEN, _PLACE * tokens, 1)
    return asked.replace(_PLACE, IMAGE_TOKEN)


def training_row(
    example: Example,
    tokenizer: PreTrainedTokenizerBase,
    conventions: Conventions,
    grid: PixelGrid,
) -> dict[str, Any]:
    """Token ids with one image token for each visual token, labels on the completion alone.

    ``films`` holds the paths of the example's films in order.

    Raises
    ------
    ConfigError
        When the example cannot be asked, or its text cannot be learnt.
    """
    asked = asked_text(example, tokenizer, conventions, grid)
    prompt = tokenizer.encode(asked, add_special_tokens=False)
    said = completion_text(example, conventions, grid) + "<|im_end|>"
    completion = tokenizer.encode(said, add_special_tokens=False)
    return {
        "input_ids": prompt + completion,
        "labels": [-100] * len(prompt) + completion,
        "films": list(example.images),
    }
