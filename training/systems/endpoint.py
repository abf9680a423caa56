"""Any OpenAI-compatible endpoint, asked as its model wants to be."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from training.chat.client import ChatServer
from training.chat.errors import AwayError, ChatError, RefusedError
from training.data.example import Example
from training.systems.baselines import Baseline
from training.systems.picture import Unshowable, picture_of
from training.systems.prediction import Failure, Prediction
from training.systems.protocol import FailedError, NoSystemError


class EndpointSystem:
    """A model behind ``/v1/chat/completions``.

    Parameters
    ----------
    server
        Where it is, and how patiently it is asked.
    model
        Its name there.
    baseline
        How it is asked, and how its text is read.
    name
        Name of the baseline, which is part of the identity.
    """

    needs_films = True

    def __init__(
        self,
        server: ChatServer,
        model: str,
        baseline: Baseline,
        name: str,
        *,
        max_tokens: int = 1024,
    ) -> None:
        self._server = server
        self._model = model
        self._baseline = baseline
        self._name = name
        self._max_tokens = max_tokens

    @property
    def identity(self) -> dict[str, Any]:
        """Model and all of how it is asked."""
        return {
            "kind": "endpoint",
            "model": self._model,
            "baseline": self._name,
            "prompts": self._baseline.prompts,
            "picture_pixels": self._baseline.picture_pixels,
            "max_tokens": self._max_tokens,
        }

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        """Send the pictures and the prompt, at temperature 0.

        Raises
        ------
        FailedError
            When the server refuses this example, or its reply is none.
        NoSystemError
            When the key or the model is wrong.
        """
        shown, content = [], []
        for film in films:
            try:
                picture, extent = picture_of(film, self._baseline.picture_pixels)
            except Unshowable as error:
                raise FailedError(Failure.FILM, str(error)) from error
            shown.append(extent)
            url = f"data:image/png;base64,{picture}"
            content.append({"type": "image_url", "image_url": {"url": url}})
        content.append({"type": "text", "text": self._baseline.prompt(example)})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self._baseline.system:
            messages.insert(0, {"role": "system", "content": self._baseline.system})
        try:
            answer = await self._server.ask(
                {
                    "model": self._model,
                    "messages": messages,
                    "temperature": 0,
                    "max_tokens": self._max_tokens,
                }
            )
        except RefusedError as error:
            raise FailedError(Failure.REFUSED, str(error)) from error
        except AwayError as error:
            raise FailedError(Failure.UNREACHABLE, str(error)) from error
        except ChatError as error:
            raise NoSystemError(str(error)) from error
        said = self._baseline.read(answer.text, example, shown)
        return Prediction(
            "",
            "",
            text=answer.text,
            answer=said.answer,
            steps=said.steps,
            notices=said.notices,
            complete=said.complete and answer.finish_reason != "length",
            tokens=answer.tokens[1] or None,
            pointing=self._baseline.points(example.task),
        )
