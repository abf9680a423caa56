"""How fast the service works, measured, and what that means for one that has to wait."""

from __future__ import annotations

import math
from collections.abc import Iterable

_HALF_LIFE = 60.0
_LONGEST = 3600.0
_LEAST_REQUESTS = 1e-6
"""So that a rate once measured is never quite forgotten."""


class ServiceRate:
    """Requests and tokens done with in a second of work, the last minute of work counting most.

    Sums of completions and of the seconds in which anything was at work, both decayed with the
    same half-life of a minute of work. Idle time changes nothing: were it to decay the sums, the
    first seconds of the next burst would outweigh all that was measured. A hang lowers the rate.

    Parameters
    ----------
    now
        Seconds of a monotonic clock, as in every method.
    """

    def __init__(self, now: float) -> None:
        self._now = now
        self._busy = False
        self._busy_seconds = 0.0
        self._requests = 0.0
        self._tokens = 0.0
        self._seconds = 0.0

    def at_work(self, now: float, *, busy: bool) -> None:
        """Note whether anything is at work from now on."""
        self._advance(now)
        self._busy = busy

    def finished(self, now: float, *, seconds: float, tokens: int) -> None:
        """Note that a request was done with, after so many seconds at work."""
        self._advance(now)
        # The work was done over all of these seconds, of which the earlier count less by now.
        weight = _mean_decay(seconds)
        self._requests += weight
        self._tokens += weight * tokens
        self._seconds += weight * seconds

    def requests_per_second(self, now: float) -> float | None:
        """Return the measured rate; ``None`` before anything was finished."""
        self._advance(now)
        return self._rate(self._requests)

    def tokens_per_second(self, now: float) -> float | None:
        """Return the measured rate in estimated tokens; ``None`` before any were finished."""
        self._advance(now)
        return self._rate(self._tokens)

    def seconds_until(
        self,
        now: float,
        *,
        requests: float = 0,
        tokens: float = 0,
        callers: int | None = None,
        at_work: Iterable[tuple[float, int]] = (),
    ) -> float | None:
        """Return after how many seconds so much will have been finished; ``None``: not measured.

        Parameters
        ----------
        requests, tokens
            What must be finished first.
        callers
            Callers that share the rate, where it must be one caller's work; else anybody's counts.
        at_work
            When each request began, and its tokens, the oldest first: where these free enough, it
            is known better than by the rate when.
        """
        by_rate = self._by_rate(now, requests, tokens, callers or 1)
        if by_rate is None:
            return None
        mean = self._seconds / self._requests
        for began, held in at_work:
            requests -= 1
            tokens -= held
            if requests <= 0 and tokens <= 0:
                remaining = mean - (now - began)
                # What is overdue says nothing of when it will end; the rate does.
                return min(remaining, _LONGEST) if remaining > 0 else min(by_rate, _LONGEST)
        if callers is not None:
            # The caller's next have yet to get their turns, and then take their time.
            by_rate = mean + (self._by_rate(now, requests, tokens, callers) or 0.0)
        return min(by_rate, _LONGEST)

    def _by_rate(self, now: float, requests: float, tokens: float, callers: int) -> float | None:
        seconds = 0.0
        for amount, rate in (
            (requests, self.requests_per_second(now)),
            (tokens, self.tokens_per_second(now)),
        ):
            if amount > 0:
                if rate is None:
                    return None
                seconds = max(seconds, amount * callers / rate)
        return seconds

    def _rate(self, amount: float) -> float | None:
        if amount <= 0 or self._busy_seconds <= 0:
            return None
        return amount / self._busy_seconds

    def _advance(self, now: float) -> None:
        passed = max(0.0, now - self._now)
        self._now = max(now, self._now)
        if not self._busy:
            return
        kept = 0.5 ** (passed / _HALF_LIFE)
        self._busy_seconds = kept * self._busy_seconds + passed * _mean_decay(passed)
        if self._requests > 0:
            kept = min(1.0, max(kept, _LEAST_REQUESTS / self._requests))
        self._requests *= kept
        self._tokens *= kept
        self._seconds *= kept


def _mean_decay(seconds: float) -> float:
    """Mean of the decay over the last so many seconds."""
    exponent = seconds * math.log(2) / _HALF_LIFE
    return -math.expm1(-exponent) / exponent if exponent > 1e-9 else 1.0
