"""Replies kept for a repeated Idempotency-Key: in memory, bounded, for a while."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_OVERHEAD = 1024
"""Bytes that an entry takes beside its reply, amply."""


@dataclass(frozen=True, slots=True)
class KeptReply:
    """A whole reply, and the digest of the request that it answers.

    ``studies`` are what the audit trail called the request's studies: a replay discloses them, too.
    ``problem`` is the code of a refusal.
    """

    digest: bytes
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = field(repr=False)
    studies: tuple[Any, ...] = field(default=(), repr=False)
    problem: str | None = None

    @property
    def size(self) -> int:
        """Bytes of memory that it takes."""
        headers = sum(len(name) + len(value) for name, value in self.headers)
        return _OVERHEAD + len(self.body) + headers


class ReplyStore:
    """Keeps replies by key, the oldest making room for new ones; knows which are in flight.

    Parameters
    ----------
    entries
        Most keys, those in flight counted too.
    max_bytes
        Most bytes of replies, those being gathered counted too.
    expiry
        Seconds that a reply is kept.
    clock
        Monotonic, in seconds.
    later
        Calls a function after so many seconds. Default: the running loop's ``call_later``.
    """

    def __init__(
        self,
        *,
        entries: int,
        max_bytes: int,
        expiry: float,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self._entries = entries
        self._max_bytes = max_bytes
        self._expiry = expiry
        self._clock = clock
        self._later = later or _in_the_loop
        self._timed = False
        self._replies: OrderedDict[bytes, tuple[float, KeptReply]] = OrderedDict()
        self._in_flight: dict[bytes, int] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._replies) + len(self._in_flight)

    def find(self, key: bytes) -> KeptReply | None:
        """Return the reply of a key, if it is still kept."""
        self.expire()
        found = self._replies.get(key)
        return None if found is None else found[1]

    def in_flight(self, key: bytes) -> bool:
        """Return whether the first request of a key is being worked on."""
        return key in self._in_flight

    def begin(self, key: bytes) -> bool:
        """Note that a key's first request is in flight; ``False`` where there is no room."""
        self.expire()
        if len(self) >= self._entries and not self._forget_oldest():
            return False
        self._in_flight[key] = 0
        return True

    def gather(self, key: bytes, size: int) -> bool:
        """Make room for so many bytes more of a reply in flight; ``False`` where there is none."""
        self.expire()
        if not self._make_room(size):
            return False
        self._in_flight[key] += size
        self.bytes += size
        return True

    def end(self, key: bytes, reply: KeptReply | None) -> None:
        """Note that a key's first request has ended, and keep its reply if it has one to keep."""
        self.bytes -= self._in_flight.pop(key)
        if reply is None:
            return
        if not self._make_room(reply.size):
            return
        self._replies[key] = (self._clock() + self._expiry, reply)
        self.bytes += reply.size
        self._time_the_oldest()

    def _make_room(self, size: int) -> bool:
        """Forget the oldest replies for a new one; none where that would not be enough."""
        if sum(self._in_flight.values()) + size > self._max_bytes:
            return False
        while self.bytes + size > self._max_bytes:
            if not self._forget_oldest():
                return False
        return True

    def expire(self) -> None:
        """Forget what has expired."""
        now = self._clock()
        while self._replies:
            expires, _ = next(iter(self._replies.values()))
            if expires > now:
                return
            self._forget_oldest()

    def _time_the_oldest(self) -> None:
        # What a reply says of a patient is not to outlast its time because nobody asks.
        if self._replies and not self._timed:
            expires, _ = next(iter(self._replies.values()))
            self._timed = True
            self._later(max(0.0, expires - self._clock()), self._time_is_up)

    def _time_is_up(self) -> None:
        self._timed = False
        self.expire()
        self._time_the_oldest()

    def _forget_oldest(self) -> bool:
        if not self._replies:
            return False
        _, (_, reply) = self._replies.popitem(last=False)
        self.bytes -= reply.size
        return True


def _in_the_loop(seconds: float, call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)
