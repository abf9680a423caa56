"""A checkpoint of transformers, in this process, asked one example at a time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image

from training.chat.stopwatch import queueing
from training.checkpoint.errors import CheckpointError
from training.checkpoint.loading import load_complete
from training.data.example import Example
from training.systems.baselines import Baseline
from training.systems.picture import Unshowable, shown_film
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
        """The checkpoint's content, wherever it lies, and all of how it is asked."""
        return {
            "kind": "checkpoint",
            "content": self._content,
            "baseline": self._name,
            "prompts": self._baseline.prompts,
            "picture_pixels": self._baseline.picture_pixels,
            "max_tokens": self._max_tokens,
        }

    async def __aenter__(self) -> Self:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            self._processor: Any = await asyncio.to_thread(
                AutoProcessor.from_pretrained, self._path
            )
            self._model: Any = await asyncio.to_thread(
                load_complete,
                AutoModelForImageTextToText,
                self._path,
                surplus=True,
                dtype="auto",
            )
            self._content = await asyncio.to_thread(_content_of, self._path, self._model)
        except (OSError, ValueError, CheckpointError) as error:
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
        with queueing():
            await self._one_at_a_time.acquire()
        answer = asyncio.ensure_future(asyncio.to_thread(self._predict, example, films))
        answer.add_done_callback(self._next)
        # A thread cannot be stopped: one that takes too long keeps its turn until it is done.
        return await asyncio.shield(answer)

    def _next(self, answer: asyncio.Future[Prediction]) -> None:
        self._one_at_a_time.release()
        if not answer.cancelled():
            answer.exception()  # of an answer that nobody waits for any more

    def _predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        import torch

        images, shown = [], []
        for film in films:
            try:
                picture, extent = shown_film(film, self._baseline.picture_pixels)
            except Unshowable as error:
                raise FailedError(Failure.FILM, str(error)) from error
            images.append(Image.fromarray(picture))
            shown.append(extent)
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
            pointing=self._baseline.points(example.task),
        )


def _content_of(path: str, model: Any) -> str:
    """SHA-256 of all files of a folder; of a hub's checkpoint its commit."""
    folder = Path(path)
    if not folder.is_dir():
        return f"{path}@{model.config._commit_hash}"
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file():
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            found.update(f"{digest} {file.name}\n".encode())
    return found.hexdigest()
