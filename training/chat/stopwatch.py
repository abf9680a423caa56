"""How long an answer takes, the wait for one's turn left out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

_running: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


class Stopwatch:
    """Ends what is done within it after so many seconds, those in :func:`queueing` not counted.

    Parameters
    ----------
    limit
        Seconds.

    Raises
    ------
    TimeoutError
        On leaving it, when they were used up.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._used = 0.0
        self._queues = 0

    @property
    def seconds(self) -> float:
        """Counted so far."""
        running = 0.0 if self._queues else self._loop.time() - self._since
        return self._used + running

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._timeout = asyncio.timeout(self._limit)
        await self._timeout.__aenter__()
        self._token: Token[Stopwatch | None] = _running.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _running.reset(self._token)
        self._used, self._queues = self.seconds, 1
        await self._timeout.__aexit__(kind, error, trace)

    def _stop(self) -> None:
        if not self._queues:
            self._used = self.seconds
            self._timeout.reschedule(None)
        self._queues += 1

    def _go_on(self) -> None:
        self._queues -= 1
        if not self._queues:
            self._since = self._loop.time()
            self._timeout.reschedule(self._since + self._limit - self._used)


@contextmanager
def queueing() -> Iterator[None]:
    """Others have their turn: no time goes by on the stopwatch that runs, if one does."""
    watch = _running.get()
    if watch is None:
        yield
        return
    watch._stop()
    try:
        yield
    finally:
        watch._go_on()
