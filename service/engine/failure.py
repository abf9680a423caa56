"""How an engine fails, how often it may, and how long to wait before it is started again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EngineStartTimeoutError(Exception):
    """The engine's first start took too long; the text says how long it may take.

    Parameters
    ----------
    seconds
        That time.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the engine did not start within {seconds:g} s, a blank film included: its driver "
            "may hang, or the checkpoint take longer to load (DEEPMEDIX_ENGINE_START_TIMEOUT)"
        )


class EngineStartError(Exception):
    """A process of the engine's could not start; the text is what it said last."""


class EngineStuckError(Exception):
    """A start of the engine hangs in this process, where nothing but its end can end it."""

    def __init__(self) -> None:
        super().__init__("a start of the engine hangs and cannot be given up")


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
        Failures in a row that are answered with a restart; the next one is the last.
    window
        Seconds that the engine must run well for its failures to be forgotten.
    first_delay, longest_delay
        Seconds from a failure to the restart: the first for the first failure, twice as long for
        each further one in a row, never longer than the longest.
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
        """Return the seconds to wait after so many failures in a row, at least one."""
        doublings = min(failures - 1, 32)  # a larger power is beyond any delay
        return min(self.first_delay * 2.0**doublings, self.longest_delay)


class FailureRecord:
    """The failures since the engine last ran well for a whole window.

    Only its running counts: restarts that take long to fail would be forgotten before they are
    too many, if the clock on the wall did.
    """

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._count = 0

    def add(self, ran: float) -> int:
        """Record a failure after so many seconds of running, 0 for a start that failed.

        Returns how many there are.
        """
        self._count = self.count(ran) + 1
        return self._count

    def count(self, ran: float) -> int:
        """Return how many there are once the engine has run for so many seconds."""
        return 0 if ran >= self._policy.window else self._count

    @property
    def too_many(self) -> bool:
        """Whether no further restart is due."""
        return self._count > self._policy.restarts
