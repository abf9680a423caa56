"""What a study will cost the engine, estimated before its films are opened."""

from __future__ import annotations

import math

from service.engine import Manifest
from service.interpretation.plan import section_prompt
from service.interpretation.request import StudyRequest, sampling_for
from service.problem import Problem
from service.radiograph import PixelGrid, stated_size

_TEMPLATE = 64
"""Tokens that the chat template adds, amply."""

_BYTES_PER_TOKEN = 3
"""Of UTF-8 text, a careful average: English has about four, other scripts about three."""


def estimated_tokens(request: StudyRequest, manifest: Manifest) -> int:
    """Return the tokens that the engine may have to read and write for a study, all sections.

    A PNG or JPEG counts by the size that its header states, anything else as the largest image of
    the checkpoint; the text counts by its bytes, and every section's reply as its most.

    Raises
    ------
    Problem
        ``invalid-field`` where nothing of the question is left.
    """
    images = sum(_visual_tokens(film, manifest) + 2 for film in request.films)
    reply = sampling_for(request, manifest)[0].max_tokens
    total = 0
    for task in request.tasks:
        prompt = section_prompt(task, request, manifest)
        text = math.ceil(len(prompt.encode()) / _BYTES_PER_TOKEN)
        total += _TEMPLATE + text + images + reply
    return total


def _visual_tokens(film: bytes, manifest: Manifest) -> int:
    pixels = manifest.pixels
    grid = PixelGrid(pixels.min_pixels, pixels.max_pixels, pixels.patch_size, pixels.merge_size)
    most = math.ceil(pixels.max_pixels / grid.factor**2)
    size = stated_size(film)
    if size is None:
        return most
    try:
        width, height = grid.size_for(*size)
    except Problem:
        return most  # told when the film is opened
    return min(most, width * height // grid.factor**2)
