"""A bounded number of requests at work, a bounded number waiting, the rest refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.api.problems import shutting_down, too_many_requests


class Admission:
    """The doorkeeper.

    A request is admitted before its body is read, so that the memory which bodies take is
    bounded by ``(max_concurrency + max_queue) * max_body_bytes``; it gets its turn to work
    once the body is there.

    Parameters
    ----------
    max_concurrency
        Requests at work at once.
    max_queue
        Requests admitted beyond those.
    retry_after
        Seconds that a refused caller is asked to wait.
    """

    def __init__(self, *, max_concurrency: int, max_queue: int, retry_after: int) -> None:
        self._turns = asyncio.Semaphore(max_concurrency)
        self._bound = max_concurrency + max_queue
        self._retry_after = retry_after
        self._idle = asyncio.Event()
        self._idle.set()
        self.admitted = 0
        self.draining = False

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """Hold a place for one request.

        Raises
        ------
        Problem
            ``shutting-down`` (503) while draining, ``too-many-requests`` (429) when full.
        """
        if self.draining:
            raise shutting_down(self._retry_after)
        if self.admitted >= self._bound:
            raise too_many_requests(self._retry_after)
        self.admitted += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.admitted -= 1
            if self.admitted == 0:
                self._idle.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one of the places at work and hold it."""
        async with self._turns:
            yield

    async def drain(self) -> None:
        """Refuse newcomers and wait for those admitted to finish."""
        self.draining = True
        await self._idle.wait()
