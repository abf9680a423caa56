"""The films of one study, opened together and put on the checkpoint's grid."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from service.engine import Manifest
from service.interpretation.request import StudyRequest
from service.notice import Notice
from service.problem import Problem
from service.radiograph import ModelImage, PixelGrid, Radiograph, fit_to_grid
from service.radiograph.problems import frame_out_of_range

_NO_SUCH_FRAME = "frame-out-of-range"

_SMALL = 1 << 18
"""Samples of a film that is resized in a millisecond: handing it to a thread would cost more."""


class FilmDecoder(Protocol):
    """What is needed of :class:`service.radiograph.RadiographDecoder`."""

    async def load(
        self, data: bytes, *, frame: int | None = None, allow_other_anatomy: bool = False
    ) -> Radiograph:
        """Decode and render one film."""


@dataclass(frozen=True, slots=True, eq=False)
class FilmSet:
    """Films as decoded and as the model sees them, in the order given."""

    radiographs: tuple[Radiograph, ...]
    model_images: tuple[ModelImage, ...]

    @property
    def pixels(self) -> tuple[npt.NDArray[np.uint8], ...]:
        """What the engine gets; the same arrays for every section, so it encodes them once."""
        return tuple(image.pixels for image in self.model_images)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """The films' notices, which name their film where there are several."""
        if len(self.radiographs) == 1:
            return self.radiographs[0].notices
        return tuple(
            Notice(notice.code, f"Image {number}: {notice.detail}")
            for number, radiograph in enumerate(self.radiographs, start=1)
            for notice in radiograph.notices
        )


async def _load(data: bytes, request: StudyRequest, decoder: FilmDecoder) -> Radiograph:
    """Open one film; of several, the frame that is asked for is of those that have frames."""
    anatomy = request.allow_other_anatomy
    try:
        return await decoder.load(data, frame=request.frame, allow_other_anatomy=anatomy)
    except Problem as problem:
        if problem.code != _NO_SUCH_FRAME or len(request.films) == 1:
            raise
        radiograph = await decoder.load(data, allow_other_anatomy=anatomy)
        if radiograph.frames > 1:
            raise
        return radiograph


async def load_films(request: StudyRequest, decoder: FilmDecoder, manifest: Manifest) -> FilmSet:
    """Open all films at once and resize each, once.

    Raises
    ------
    Problem
        The first film's, in the order given, that cannot be read; ``frame-out-of-range`` where a
        frame is asked for that no film has.
    """
    pixels = manifest.pixels
    grid = PixelGrid(pixels.min_pixels, pixels.max_pixels, pixels.patch_size, pixels.merge_size)

    async def load(data: bytes) -> tuple[Radiograph, ModelImage]:
        radiograph = await _load(data, request, decoder)
        if radiograph.pixels.size <= _SMALL or grid in radiograph.resized:
            return radiograph, fit_to_grid(radiograph, grid)
        # A large film takes a tenth of a second to resize; other requests go on meanwhile.
        return radiograph, await asyncio.to_thread(fit_to_grid, radiograph, grid)

    # All are waited for, so that which refusal is told does not depend on which comes first.
    outcomes = await asyncio.gather(*map(load, request.films), return_exceptions=True)
    radiographs, model_images = [], []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        radiographs.append(outcome[0])
        model_images.append(outcome[1])
    if (request.frame or 1) > max(radiograph.frames for radiograph in radiographs):
        raise frame_out_of_range()
    return FilmSet(tuple(radiographs), tuple(model_images))
