"""The bounded queue before the engine, in requests, tokens and bytes, per caller and overall."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from service.api.ending import Ending
from service.api.problems import (
    overloaded,
    shutting_down,
    too_many_requests,
    too_many_tokens,
)
from service.api.service_rate import ServiceRate


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be admitted, those at work and those that wait taken together.

    Attributes
    ----------
    concurrency
        Requests at work at once.
    requests, tokens
        Of all callers together.
    caller_requests, caller_tokens
        Of one caller: its share.
    body_bytes, caller_body_bytes
        Of the requests' bodies and of the films opened from them, likewise.
    """

    concurrency: int
    requests: int
    tokens: int
    caller_requests: int
    caller_tokens: int
    body_bytes: int = sys.maxsize
    caller_body_bytes: int = sys.maxsize

    @classmethod
    def shared(
        cls,
        *,
        concurrency: int,
        queue: int,
        tokens: int,
        share: float,
        body_bytes: int = sys.maxsize,
        largest_body: int = 0,
    ) -> Bounds:
        """Return the bounds where one caller may hold a share (0 to 1) of the whole.

        Its share of bytes is one body of the largest size at least.
        """
        requests = concurrency + queue
        return cls(
            concurrency=concurrency,
            requests=requests,
            tokens=tokens,
            caller_requests=max(1, math.floor(requests * share)),
            caller_tokens=max(1, math.floor(tokens * share)),
            body_bytes=body_bytes,
            caller_body_bytes=max(largest_body, math.floor(body_bytes * share)),
        )


@dataclass(slots=True)
class _Load:
    requests: int = 0
    tokens: int = 0
    body_bytes: int = 0


class Place:
    """One admitted request's place, held until its end.

    Attributes
    ----------
    caller
        Whose share it counts against.
    tokens
        Estimated tokens that it holds.
    body_bytes
        Bytes that it holds: of its body, as announced or as many as have arrived, and of its films.
    had_its_turn
        Whether it is at work, or was: then only its reply is left to be made.
    ending
        What ends the request from outside.
    """

    def __init__(self, admission: Admission, caller: str) -> None:
        self._admission = admission
        self.caller = caller
        self.had_its_turn = False
        self.tokens = 0
        self.body_bytes = 0
        self._arrived = 0
        self.ending = Ending()

    def reserve(self, tokens: int) -> None:
        """Hold the request's estimated tokens, once they are known.

        Raises
        ------
        Problem
            ``too-many-tokens`` (422) where they exceed a caller's share even alone,
            ``too-many-requests`` (429) where they do with what the caller holds already,
            ``overloaded`` (503) where they exceed the service's bound.
        """
        self._admission._reserve(self, tokens)

    def expect_body(self, length: int) -> None:
        """Hold the bytes of a body whose length is announced, before it is read.

        Raises
        ------
        Problem
            ``too-many-requests`` (429) where they exceed the caller's share with what it holds
            already, ``overloaded`` (503) where they exceed the service's bound.
        """
        self._admission._hold_bytes(self, length)

    def take_body(self, count: int) -> None:
        """Hold so many bytes more that have arrived, unless they were expected.

        Raises
        ------
        Problem
            As :meth:`expect_body`.
        """
        self._arrived += count
        self._admission._hold_bytes(self, self._arrived - self.body_bytes)

    def hold_film(self, size: int) -> None:
        """Hold the bytes of a film's pixels, once it is open.

        What is alone may hold more than there is for all: nobody else's end would let it in.

        Raises
        ------
        Problem
            As :meth:`expect_body`.
        """
        self._arrived += size  # else a part of the body that is still to come would pay for it
        self._admission._hold_bytes(self, size, alone=True)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one of the places at work and hold it.

        Callers take turns; the requests of one come in their order.
        """
        await self._admission._begin(self)
        try:
            yield
        finally:
            self._admission._end(self)


class Admission:
    """The doorkeeper.

    A request is admitted before its body is read. Its body counts with the length that is
    announced, else as it arrives, and its films' pixels once they are open, until the request ends;
    its tokens are reserved once the body is there, and then it waits for its turn to work.

    Parameters
    ----------
    bounds
        How much is admitted.
    retry_after
        Seconds that a refused caller is asked to wait before the service's rate is known.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self, bounds: Bounds, *, retry_after: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bounds = bounds
        self._retry_after = retry_after
        self._clock = clock
        self._rate = ServiceRate(clock())
        self._loads: dict[str, _Load] = {}
        self._places: set[Place] = set()
        self._at_work: dict[Place, float] = {}  # with the time when each began, in that order
        # The callers in the order of their next turn, each with its requests in theirs.
        self._waiting: dict[str, deque[tuple[Place, asyncio.Future[None]]]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.tokens = 0
        self.body_bytes = 0
        self.draining = False

    @property
    def admitted(self) -> int:
        """Requests that hold a place."""
        return len(self._places)

    @property
    def at_work(self) -> int:
        """Requests that have their turn."""
        return len(self._at_work)

    @property
    def waiting(self) -> int:
        """Requests that have not had their turn."""
        return sum(not place.had_its_turn for place in self._places)

    @property
    def tokens_per_second(self) -> float:
        """Measured rate in estimated tokens; 0 before any were finished."""
        return self._rate.tokens_per_second(self._clock()) or 0.0

    @property
    def next_end(self) -> int:
        """Seconds until one more request has ended, as the measured rate has it."""
        return self._wait(requests=1)

    @contextmanager
    def admit(self, caller: str) -> Iterator[Place]:
        """Hold a place for one request.

        Raises
        ------
        Problem
            ``shutting-down`` (503) while draining, ``too-many-requests`` (429) when the
            caller's share is used up, ``overloaded`` (503) when the service is full.
        """
        if self.draining:
            raise shutting_down(self._retry_after)
        load = self._loads.get(caller)
        if load is not None and load.requests >= self._bounds.caller_requests:
            raise too_many_requests(self._wait(requests=1, caller=caller))
        if len(self._places) >= self._bounds.requests:
            raise overloaded(self._wait(requests=1))
        load = self._loads.setdefault(caller, _Load())
        load.requests += 1
        place = Place(self, caller)
        self._places.add(place)
        self._idle.clear()
        try:
            yield place
        finally:
            self._release(place, load)

    def drain(self) -> None:
        """Refuse newcomers, and end at once what is admitted and has not had its turn."""
        self.draining = True
        for place in [place for place in self._places if not place.had_its_turn]:
            place.ending.end(shutting_down(self._retry_after))

    def end_all(self) -> None:
        """End all that is admitted, at work or not."""
        for place in self._places:
            place.ending.end(shutting_down(self._retry_after))

    async def idle(self) -> None:
        """Return when no request holds a place."""
        await self._idle.wait()

    def _release(self, place: Place, load: _Load) -> None:
        self._places.discard(place)
        load.requests -= 1
        load.tokens -= place.tokens
        self.tokens -= place.tokens
        load.body_bytes -= place.body_bytes
        self.body_bytes -= place.body_bytes
        if load.requests == 0:
            del self._loads[place.caller]
        if not self._places:
            self._idle.set()

    def _reserve(self, place: Place, tokens: int) -> None:
        bounds = self._bounds
        load = self._loads[place.caller]
        if tokens > bounds.caller_tokens:
            raise too_many_tokens(bounds.caller_tokens)
        over = load.tokens + tokens - bounds.caller_tokens
        if over > 0:
            raise too_many_requests(self._wait(tokens=over, caller=place.caller))
        over = self.tokens + tokens - bounds.tokens
        if over > 0:
            raise overloaded(self._wait(tokens=over))
        place.tokens += tokens
        load.tokens += tokens
        self.tokens += tokens

    def _hold_bytes(self, place: Place, count: int, *, alone: bool = False) -> None:
        if count <= 0:
            return
        bounds, load = self._bounds, self._loads[place.caller]
        over = load.body_bytes + count - bounds.caller_body_bytes
        if over > 0 and not (alone and load.requests == 1):
            requests = math.ceil(over * load.requests / max(1, load.body_bytes))
            raise too_many_requests(self._wait(requests=requests, caller=place.caller))
        over = self.body_bytes + count - bounds.body_bytes
        if over > 0 and not (alone and len(self._places) == 1):
            # As many must end first as hold so much on average.
            requests = math.ceil(over * len(self._places) / max(1, self.body_bytes))
            raise overloaded(self._wait(requests=requests))
        place.body_bytes += count
        load.body_bytes += count
        self.body_bytes += count

    def _wait(self, *, requests: int = 0, tokens: int = 0, caller: str | None = None) -> int:
        """Seconds until there is room, as the measured rate has it."""
        own = [
            (began, place.tokens)
            for place, began in self._at_work.items()
            if caller is None or place.caller == caller
        ]
        # Callers take turns, so one of several gets its part of the rate.
        callers = None if caller is None else len(self._loads)
        seconds = self._rate.seconds_until(
            self._clock(), requests=requests, tokens=tokens, callers=callers, at_work=own
        )
        return self._retry_after if seconds is None else max(1, math.ceil(round(seconds, 3)))

    async def _begin(self, place: Place) -> None:
        if not self._waiting and len(self._at_work) < self._bounds.concurrency:
            self._start(place)
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (place, granted)
        self._waiting.setdefault(place.caller, deque()).append(entry)
        try:
            await granted
        except asyncio.CancelledError:
            queue = self._waiting.get(place.caller)
            if place in self._at_work:  # granted and cancelled in the same moment
                self._end(place)
            elif queue is not None and entry in queue:
                queue.remove(entry)
                if not queue:
                    del self._waiting[place.caller]
            raise

    def _start(self, place: Place) -> None:
        now = self._clock()
        place.had_its_turn = True
        self._at_work[place] = now
        self._rate.at_work(now, busy=True)

    def _end(self, place: Place) -> None:
        now = self._clock()
        began = self._at_work.pop(place)
        # However it ended: what those outside wait for is the place.
        self._rate.finished(now, seconds=now - began, tokens=place.tokens)
        self._rate.at_work(now, busy=bool(self._at_work))
        while self._waiting and len(self._at_work) < self._bounds.concurrency:
            caller = next(iter(self._waiting))
            queue = self._waiting.pop(caller)
            following, granted = queue.popleft()
            if queue:
                self._waiting[caller] = queue
            if not granted.cancelled():  # else it has yet to be told, and leaves by itself
                self._start(following)
                granted.set_result(None)
