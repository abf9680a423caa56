"""Our service, asked over HTTP as any caller would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, ValidationError

from service.reading import Mode, Task
from training.chat.address import Endpoint
from training.chat.pace import retry_after
from training.chat.stopwatch import queueing
from training.data.example import Example
from training.systems.prediction import Failure, PredictedStep, Prediction
from training.systems.protocol import FailedError, NoSystemError

_UNFINISHED = frozenset(("answer-unbalanced", "answer-empty", "cut-off", "think-unclosed"))
_CONTEXT = ("indication", "technique", "comparison", "prior_report")
_TRIES = 4
_LONGEST_PAUSE = 60.0


class ServiceSystem:
    """Asks ``/report`` or ``/vqa``; waits where the service is busy.

    Parameters
    ----------
    endpoint
        The service's base address, resolved and judged (:func:`training.chat.address.settle`).
    mode
        Reason first, or answer at once.
    timeout
        Seconds that one reply may take.
    key
        Sent as a bearer token.
    """

    needs_films = True

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        mode: Mode = Mode.THINK,
        timeout: float = 300.0,
        key: str | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._mode = mode
        self._timeout = timeout
        self._headers = {"Host": endpoint.host, "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._version: dict[str, Any] = {}

    @property
    def identity(self) -> dict[str, Any]:
        """What the service says of itself, and how it is asked."""
        return {"kind": "service", "version": self._version, "mode": str(self._mode)}

    async def __aenter__(self) -> Self:
        self._client = httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(self._timeout, connect=20),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )
        try:
            reply = await self._client.get(self._url("/version"), extensions=self._sni)
            reply.raise_for_status()
            self._version = dict(reply.json())
        except (httpx.HTTPError, ValueError, TypeError) as error:
            await self._client.aclose()
            raise NoSystemError(
                f"No service answers at {self._endpoint.host}/version "
                f"({type(error).__name__}). Start it with `make serve`, or check the address."
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        """Post the films and what is asked.

        Raises
        ------
        FailedError
            When the service refuses, is away, stays busy or takes too long.
        """
        fields: dict[str, Any] = {"mode": str(self._mode), "temperature": "0"}
        fields |= {"include": "raw_text", "allow_other_anatomy": "true"}
        fields |= {name: text for name in _CONTEXT if (text := getattr(example, name))}
        if example.task is Task.VQA:
            path, section = "/vqa", "answer"
            fields["question"] = example.question or ""
        else:
            path, section = "/report", str(example.task)
            fields["sections"] = section
        said = _read(await self._post(path, fields, films), section)
        return replace(said, pointing=self._mode is Mode.THINK)

    async def _post(
        self, path: str, fields: Mapping[str, Any], films: Sequence[bytes]
    ) -> dict[str, Any]:
        files = [("image", ("film", film, "application/octet-stream")) for film in films]
        for number in range(_TRIES):
            try:
                reply = await self._client.post(
                    self._url(path), data=dict(fields), files=files, extensions=self._sni
                )
            except httpx.TimeoutException as error:
                raise FailedError(Failure.TIMEOUT) from error
            except httpx.TransportError as error:
                raise FailedError(Failure.UNREACHABLE, type(error).__name__) from error
            if reply.status_code == 200:
                return _json(reply)
            if reply.status_code not in (429, 503):
                break
            pause = retry_after(reply.headers.get("retry-after")) or 2.0**number
            with queueing():
                await asyncio.sleep(min(pause, _LONGEST_PAUSE))
        busy = reply.status_code in (429, 502, 503, 504)
        code = _json(reply).get("code", "")
        raise FailedError(
            Failure.UNREACHABLE if busy else Failure.REFUSED, f"HTTP {reply.status_code} {code}"
        )

    def _url(self, path: str) -> httpx.URL:
        base = self._endpoint.url
        return base.copy_with(path=base.path.rstrip("/") + path)

    @property
    def _sni(self) -> dict[str, str]:
        return {"sni_hostname": self._endpoint.server_name}


def _json(reply: httpx.Response) -> dict[str, Any]:
    try:
        content = reply.json()
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    if reply.status_code != 200:
        return {}
    raise FailedError(Failure.BROKEN, "the reply is no JSON object")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Box(_Part):
    image: NonNegativeInt
    x_min: FiniteFloat
    y_min: FiniteFloat
    x_max: FiniteFloat
    y_max: FiniteFloat


class _Step(_Part):
    text: str
    boxes: list[_Box]


class _Warning(_Part):
    code: str


class _Usage(_Part):
    completion_tokens: int


class _Reply(_Part):
    """What is read of a reply."""

    reasoning: list[_Step]
    warnings: list[_Warning]
    usage: _Usage
    raw_text: dict[str, str | None]
    answer: str | None = None
    report: dict[str, str | None] | None = None


def _read(content: Mapping[str, Any], section: str) -> Prediction:
    try:
        reply = _Reply.model_validate(content)
    except ValidationError as error:
        # The value itself is the model's or the film's: only its place is said.
        place = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        raise FailedError(Failure.BROKEN, f"the reply is not what it should be: {place}") from error
    answer = reply.answer if section == "answer" else (reply.report or {}).get(section)
    text = reply.raw_text.get(section)
    if answer is None or text is None:
        raise FailedError(Failure.BROKEN, "the reply lacks fields")
    notices = tuple(warning.code for warning in reply.warnings)
    return Prediction(
        "",
        "",
        text=text,
        answer=answer,
        steps=tuple(
            PredictedStep(
                step.text,
                tuple(
                    (box.image, (box.x_min, box.y_min, box.x_max, box.y_max)) for box in step.boxes
                ),
            )
            for step in reply.reasoning
        ),
        notices=notices,
        complete=not _UNFINISHED.intersection(notices),
        tokens=reply.usage.completion_tokens,
    )
