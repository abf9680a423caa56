"""A scripted engine that a test can let die and hang, and time that passes when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from service.engine import EngineUnavailable
from tests.service.scripted_engine import Script, ScriptedEngine


class MortalEngine(ScriptedEngine):
    """What it says waits for ``lost`` where ``say_until_lost`` was called.

    Attributes
    ----------
    happened
        ``start``, ``kill``, ``stop`` in their order.
    hanging
        While true, no beat is answered.
    start_failures
        Raised by the next starts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.happened: list[str] = []
        self.hanging = False
        self.start_failures: list[Exception] = []
        self.lost = asyncio.Event()
        self._answered = asyncio.Event()

    def say_until_lost(self) -> None:
        """Say two deltas, and fail the way vLLM does when its processes end."""
        self.say(Script(hold_after=2, release=self.lost, failure=EngineUnavailable(), fail_after=2))

    def die(self) -> None:
        """End as by ``kill -9``."""
        self.health = EngineUnavailable()
        self.lost.set()

    def beat_answered(self) -> None:
        """Answer the beat that waits, and those to come."""
        self.hanging = False
        self._answered.set()
        self._answered = asyncio.Event()

    async def start(self) -> None:
        self.happened.append("start")
        if self.start_failures:
            raise self.start_failures.pop(0)
        await super().start()
        self.lost.clear()
        self.health, self.hanging = None, False

    async def stop(self) -> None:
        self.happened.append("stop")
        self.die()
        await super().stop()

    def kill(self) -> None:
        self.happened.append("kill")
        self.die()

    async def ended(self) -> None:
        await self.lost.wait()

    async def beat(self) -> None:
        if self.hanging:
            await self._answered.wait()


class PassingTime:
    """A clock and a sleep that go by ``passes`` alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), woken))
        await woken

    async def passes(self, seconds: float) -> None:
        """Let time pass, and everything happen that happens meanwhile."""
        end = self.now + seconds
        await settled()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            self.now = max(self.now, due)
            if not woken.done():
                woken.set_result(None)
                await settled()
        self.now = max(self.now, end)

    async def jumps(self, seconds: float) -> None:
        """Let time pass while this process is stopped: nobody wakes before its end."""
        self.now += seconds
        await self.passes(0)


async def settled() -> None:
    """Let every task run until it waits for something that only the test can bring about."""
    for _ in range(50):
        await asyncio.sleep(0)
