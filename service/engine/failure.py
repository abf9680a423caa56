"""How an engine fails, how often it may, and how long to wait before it is started again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """What happened to an engine."""

    DEATH = "death"
    STALL = "stall"
    START = "start"


@dataclass(frozen=True)
class RestartPolicy:
    """When a failed engine is started again.

    Attributes
    ----------
    restarts
        Failures within ``window`` that are answered with a restart; the next one is the last.
    window
        Seconds after which a failure is forgotten.
    first_delay, longest_delay
        Seconds from a failure to the restart: the first for the first failure, twice as long for
        each further one within the window, never longer than the longest.
    start_timeout
        Seconds that a restart may take, the reading of a blank film included.
    stall_timeout
        Seconds without an answer after which the engine counts as hung; ``None`` takes the
        engine's own ``longest_step``.
    """

    restarts: int = 3
    window: float = 600.0
    first_delay: float = 1.0
    longest_delay: float = 60.0
    start_timeout: float = 600.0
    stall_timeout: float | None = None

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures within the window, at least one."""
        doublings = min(failures - 1, 32)  # a larger power is beyond any delay
        return min(self.first_delay * 2.0**doublings, self.longest_delay)


class FailureRecord:
    """The failures that have not been forgotten yet."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._times: deque[float] = deque()

    def add(self, now: float) -> None:
        """Record a failure at a time, in seconds of any clock that only goes forward."""
        self._times.append(now)

    def count(self, now: float) -> int:
        """Return how many there are."""
        while self._times and now - self._times[0] > self._policy.window:
            self._times.popleft()
        return len(self._times)

    def too_many(self, now: float) -> bool:
        """Whether no further restart is due."""
        return self.count(now) > self._policy.restarts
