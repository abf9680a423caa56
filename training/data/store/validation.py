"""What every example must satisfy before it is stored, and what a whole store must."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from service.reading import MOST_IMAGES, Mode, Task, strip_special_tokens
from training.data.example import ROLES, SPLITS, Box, Example, ReasoningTarget
from training.data.groups import OLDEST, SEXES, is_age

_REQUIRED = ("id", "subject", "view", "source", "licence", "answer")

_NOT_BLANK = ("study", "device", "site")

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Which JSON can hold, and UTF-8 cannot."""


def faults_of(example: Example) -> list[str]:
    """What is wrong with an example, in words that name no patient; empty when nothing is."""
    return list(_faults(example))


def _faults(example: Example) -> Iterator[str]:
    for name in _REQUIRED:
        if not getattr(example, name).strip():
            yield f"no {name}"
    if any(not text.isascii() and _LONE_SURROGATE.search(text) for text in _texts(example)):
        yield "half a character (a lone surrogate) in a text"
    if any("\0" in text for text in _texts(example)):
        yield "NUL character in a text"
    if any(not name.strip() for name in _names(example)):
        yield "label, region or step without a text"
    if example.steps and example.mode is Mode.ANSWER:
        yield "reasoning steps for an answer alone"
    written = (example.answer, *(step.text for step in example.steps))
    if any("<" in text and strip_special_tokens(text) != text for text in written):
        yield "special token or think tag in what the model is to write"
    if example.split not in SPLITS:
        yield f"split is none of {', '.join(SPLITS)}"
    for name in _NOT_BLANK:
        value = getattr(example, name)
        if value is not None and not value.strip():
            yield f"{name} is blank: None where it is not known"
    if example.sex is not None and example.sex not in SEXES:
        yield f"sex is none of {', '.join(SEXES)}"
    if example.age is not None and not is_age(example.age):
        yield f"age is not from 0 to {OLDEST} years"
    if not example.images and (example.split != "test" or example.task is Task.VQA):
        yield "no image"  # reports alone are good for metrics of text, never for training
    for path in example.images:
        if path.startswith("/") or ".." in path.split("/") or "\\" in path:
            yield "image path is not relative to the images' folder"
    count = len(example.images)
    if count > MOST_IMAGES:
        yield f"more than {MOST_IMAGES} images"
    if len(example.sizes) != count:
        yield "not one size for each image"
        return  # boxes cannot be judged
    if any(width < 1 or height < 1 for width, height in example.sizes):
        yield "image without a size"
    if example.roles and len(example.roles) != count:
        yield "not one role for each image"
    if set(example.roles) - set(ROLES):
        yield f"role is none of {', '.join(ROLES)}"
    elif example.roles and example.roles[0] != "current":
        yield "the first image is not the current one"
    if example.image_hashes and len(example.image_hashes) != count:
        yield "not one hash for each image"
    if (example.task is Task.VQA) != bool(example.question and example.question.strip()):
        yield "question without a text, or report section with one"
    elif example.question and not strip_special_tokens(example.question).strip():
        yield "question of nothing but special tokens"
    if example.regions_by_image and len(example.regions_by_image) != count:
        yield "not one list of regions for each image"
    for image, box in _placed_boxes(example):
        if not 0 <= image < count:
            yield "box on an image that there is none of"
        elif not fits(box, example.sizes[image]):
            yield "box without area or beyond its film"


def _texts(value: object) -> Iterator[str]:
    """Every text of an example, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, Example | ReasoningTarget):
        yield from _texts(tuple(vars(value).values()))


def _names(example: Example) -> Iterator[str]:
    """What labels, boxes and steps are called by."""
    yield from example.labels
    for name, _ in chain(example.regions, example.structures, *example.regions_by_image):
        yield name
    for step in chain(example.steps, example.grounded_sentences):
        yield step.text


def _placed_boxes(example: Example) -> Iterator[tuple[int, Box]]:
    for _, box in chain(example.regions, example.structures):
        yield 0, box
    for image, regions in enumerate(example.regions_by_image):
        for _, box in regions:
            yield image, box
    for step in chain(example.steps, example.grounded_sentences):
        yield from step.boxes


def fits(box: Box, size: tuple[int, int]) -> bool:
    """Whether a box has an area and lies within a film of some width and height."""
    x_min, y_min, x_max, y_max = box
    return 0 <= x_min < x_max <= size[0] and 0 <= y_min < y_max <= size[1]


def subjects_in_several_splits(splits_of: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """How many subjects stand in each combination of two or more splits.

    Parameters
    ----------
    splits_of
        By subject, the splits that hold examples of it.
    """
    shared = (sorted(set(splits), key=SPLITS.index) for splits in splits_of.values())
    return dict(Counter(" and ".join(splits) for splits in shared if len(splits) > 1))
