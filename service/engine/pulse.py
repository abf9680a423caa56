"""An engine's heartbeat: is it there, does it answer, when did it last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from service.engine import metrics
from service.engine.failure import Failure
from service.engine.protocol import EngineUnavailable, WatchedEngine

INTERVAL = 0.25
"""Seconds from one look at the engine, and from one answered beat to the next."""

LATE = 1.25
"""Seconds without an answer after which an engine is not called healthy any more.

With the rest of an interval and a probe's own time that is less than two seconds from its hanging.
"""

_SPARE = 2.0
"""How much longer than the slowest of late an answer may take before it is late."""

_FADING = 0.98
"""What is left of the slowest answer with each further one: half within some ten seconds."""


_HANGING = 4.0
"""How many times longer than any silence before that ended with an answer: no step any more."""


class Pulse:
    """Watches one engine from its start to its failure.

    Silence is counted in intervals in which this process itself ran: being stopped, or a machine
    that was suspended, is not taken for the engine's silence.

    Parameters
    ----------
    engine
        The engine, started.
    stall_timeout
        Seconds of silence after which it counts as hung.
    clock, sleep
        Time, for tests.
    """

    def __init__(
        self,
        engine: WatchedEngine,
        stall_timeout: float,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._stall_timeout = stall_timeout
        self._clock = clock
        self._sleep = sleep
        self._silence = 0.0
        self._slowest = 0.0
        self._longest = LATE  # of the silences that ended with an answer

    @property
    def silence(self) -> float:
        """Seconds since the engine last answered."""
        return self._silence

    @property
    def late(self) -> bool:
        """Whether the engine has been silent for longer than a step of it takes."""
        return self.hangs or self._silence >= max(LATE, INTERVAL + _SPARE * self._slowest)

    @property
    def hangs(self) -> bool:
        """Whether the engine has been silent for so long that no newcomer should wait for it.

        What it was silent for is never forgotten, the warm-up's step with a film included, so that
        one long step among many short ones is taken for what it is. No step takes half of the
        time after which the engine counts as hung.
        """
        return self._silence >= min(_HANGING * self._longest, self._stall_timeout / 2)

    @property
    def patience(self) -> float:
        """Seconds that are left to the engine before it counts as hung."""
        return max(0.0, self._stall_timeout - self._silence)

    async def failure(self) -> Failure:
        """Return what happened to the engine, as soon as something has."""
        watches = {
            asyncio.create_task(self._death()),
            asyncio.create_task(self._stall()),
        }
        beating = asyncio.create_task(self._beat())
        try:
            done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in (*watches, beating):
                task.cancel()
            await asyncio.gather(*watches, beating, return_exceptions=True)

    async def _death(self) -> Failure:
        await self._engine.ended()
        return Failure.DEATH

    async def _stall(self) -> Failure:
        looked = self._clock()
        while self._silence < self._stall_timeout:
            await self._sleep(INTERVAL)
            now = self._clock()
            self._silence += min(now - looked, 2 * INTERVAL)
            looked = now
            metrics.SILENCE.set(self._silence)
            try:
                await self._engine.check_health()
            except EngineUnavailable:
                return Failure.DEATH
        return Failure.STALL

    async def _beat(self) -> None:
        while True:
            asked = self._clock()
            try:
                await self._engine.beat()
            except Exception:  # no answer, whatever it is; `_stall` looks into it
                await self._sleep(INTERVAL)
                continue
            self._longest = max(self._longest, self._silence)
            self._silence = 0.0
            self._slowest = max(self._clock() - asked, _FADING * self._slowest)
            metrics.SILENCE.set(0)
            await self._sleep(INTERVAL)
