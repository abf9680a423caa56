"""How fast a server is asked: requests a minute, evenly, and pauses that it asks for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


class Pace:
    """Lets requests start at even distances; one pause holds up all of them.

    Parameters
    ----------
    per_minute
        Requests in a minute at most; None: as fast as they come.
    clock, sleep
        Seconds that only grow, and the way to wait for some.
    """

    def __init__(
        self,
        per_minute: float | None = None,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._distance = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = self._held = clock()
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until the next request may start."""
        async with self._turn:  # one waits at the head of the queue, the rest behind it
            while (wait := max(self._next, self._held) - self._clock()) > 0:
                await self._sleep(wait)
            self._next = self._clock() + self._distance

    def hold(self, seconds: float) -> None:
        """Let no request start before that many seconds have passed."""
        self._held = max(self._held, self._clock() + seconds)


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3: seconds or a date).

    None where there is no header, or none that can be read.
    """
    if header is None:
        return None
    try:
        return max(0.0, float(int(header)))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())
