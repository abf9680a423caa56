"""A checkpoint of transformers, in this process, asked one example at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from PIL import Image

from service.problem import Problem
from service.radiograph import PixelGrid, fit_to_grid, load_radiograph
from training.data.example import Example
from training.systems.baselines import Baseline
from training.systems.formats import Shown
from training.systems.prediction import Failure, Prediction
from training.systems.protocol import FailedError, NoSystemError


class CheckpointSystem:
    """Any image-text-to-text model that transformers loads, with its own chat template.

    Parameters
    ----------
    path
        Folder, or hub id.
    baseline
        How it is asked, and how its text is read.
    name
        Name of the baseline, which is part of the identity.
    """

    needs_films = True

    def __init__(self, path: str, baseline: Baseline, name: str, *, max_tokens: int = 1024) -> None:
        self._path = path
        self._baseline = baseline
        self._name = name
        self._max_tokens = max_tokens
        self._one_at_a_time = asyncio.Lock()

    @property
    def identity(self) -> dict[str, Any]:
        """Weights by path and how they are asked."""
        return {"kind": "checkpoint", "path": self._path, "baseline": self._name}

    async def __aenter__(self) -> Self:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            self._processor: Any = await asyncio.to_thread(
                AutoProcessor.from_pretrained, self._path
            )
            self._model: Any = await asyncio.to_thread(
                AutoModelForImageTextToText.from_pretrained, self._path, dtype="auto"
            )
        except (OSError, ValueError) as error:
            raise NoSystemError(f"{self._path} cannot be loaded: {error}") from error
        self._model.eval()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._model, self._processor

    async def predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        """Generate greedily.

        Raises
        ------
        FailedError
            When a film cannot be shown.
        """
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._predict, example, films)

    def _predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        import torch

        images, shown = [], []
        pixels = self._baseline.picture_pixels
        grid = PixelGrid(min(56 * 56, pixels), pixels)
        for film in films:
            try:
                opened = load_radiograph(film, allow_other_anatomy=True)
            except Problem as error:
                raise FailedError(Failure.FILM, error.code) from error
            image = Image.fromarray(fit_to_grid(opened, grid).pixels)
            images.append(image)
            shown.append(Shown(opened.width, opened.height, *image.size))
        content: list[dict[str, Any]] = [{"type": "image"} for _ in images]
        content.append({"type": "text", "text": self._baseline.prompt(example)})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self._baseline.system:
            turn = [{"type": "text", "text": self._baseline.system}]
            messages.insert(0, {"role": "system", "content": turn})
        prompt = self._processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = self._processor(text=[prompt], images=images, return_tensors="pt")
        with torch.inference_mode():
            written = self._model.generate(
                **inputs, max_new_tokens=self._max_tokens, do_sample=False
            )
        new = written[0, inputs["input_ids"].shape[1] :]
        text = self._processor.decode(new, skip_special_tokens=True)
        said = self._baseline.read(text, example, shown)
        return Prediction(
            "",
            "",
            text=text,
            answer=said.answer,
            steps=said.steps,
            notices=said.notices,
            complete=said.complete and len(new) < self._max_tokens,
            tokens=len(new),
        )
