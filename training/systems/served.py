"""A checkpoint behind our own service, started for the evaluation and stopped after it."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from service.reading import Mode
from training.chat.address import address_of, settle
from training.data.example import Example
from training.systems.prediction import Prediction
from training.systems.protocol import NoSystemError
from training.systems.service import ServiceSystem

_START = "from service.cli import main; main()"
_POLL = 0.5
_GRACE = 60.0


class ServedSystem:
    """``deepmedix serve`` in a process of its own, on a free port, asked over HTTP.

    Parameters
    ----------
    model
        Folder of a checkpoint, or its hub id.
    """

    needs_films = True

    def __init__(self, model: str, *, mode: Mode = Mode.THINK, timeout: float = 300.0) -> None:
        self._model = model
        self._mode = mode
        self._timeout = timeout

    @property
    def identity(self) -> dict[str, Any]:
        """That of the service that it runs."""
        return self._service.identity

    async def __aenter__(self) -> Self:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the system is left
        arguments = ("serve", "--host", "127.0.0.1", "--port", str(port), "--model", self._model)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _START, *arguments),
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            await self._ready(address)
            endpoint = settle(address_of(address))
            self._service = ServiceSystem(endpoint, mode=self._mode, timeout=self._timeout)
            await self._service.__aenter__()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._service.__aexit__(kind, error, trace)
        await self._stop()

    async def predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        """Ask the service."""
        return await self._service.predict(example, films)

    async def _ready(self, address: str) -> None:
        """Wait until the service answers, as long as its process lives."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while self._process.returncode is None:
                try:
                    if (await client.get(f"{address}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(_POLL)
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()[-5:]
        raise NoSystemError(f"{self._model} cannot be served:\n" + "\n".join(said))

    async def _stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _GRACE)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._log.close()
