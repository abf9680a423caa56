"""Refused credentials, told together: whoever sends them could else fill the disk of the trail."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from service.audit.event import Occurrence, Repeats, outcome_of

_REST = object()
"""Key of the sources for which the table has no room."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class _Window:
    since: float
    latest: Occurrence | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    began: datetime = field(default_factory=_now)
    ended: datetime = field(default_factory=_now)

    def count(self, occurrence: Occurrence) -> None:
        self.ended = _now()
        if self.latest is None:
            self.began = self.ended
        self.latest = occurrence
        self.outcomes[outcome_of(occurrence)] += 1


class Refusals:
    """One event a source and period: the first at once, those after it counted.

    Parameters
    ----------
    period
        Seconds from a source's event to its next.
    most
        Sources that are told apart; those beyond share one event.
    clock
        Seconds that never run backwards.
    """

    def __init__(
        self,
        *,
        period: float = 60.0,
        most: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period = period
        self._most = most
        self._clock = clock
        self._windows: dict[Hashable, _Window] = {}

    def is_first(self, occurrence: Occurrence, source: Hashable) -> bool:
        """Tell whether a refusal is to be recorded at once; else it is counted."""
        if source not in self._windows and len(self._windows) >= self._most:
            source = _REST
        window = self._windows.get(source)
        if window is None:
            self._windows[source] = _Window(self._clock())
            return True
        window.count(occurrence)
        return False

    def pop_due(self, *, early: bool = False) -> Occurrence | None:
        """Return what was counted of a source whose period is over, or ``None`` where none is.

        It is the last refusal, with how many there were; sources that were quiet are forgotten.
        ``early``: also of sources whose period goes on.
        """
        now = self._clock()
        for source, window in list(self._windows.items()):
            if not early and now - window.since < self._period:
                continue
            del self._windows[source]
            if window.latest is None:
                continue
            if not early:
                self._windows[source] = _Window(now)
            repeats = Repeats(tuple(sorted(window.outcomes.items())), window.began, window.ended)
            if source is _REST:  # of many: the last one's name and address say nothing
                return replace(
                    window.latest,
                    repeats=repeats,
                    principal=None,
                    claimed_name=None,
                    client_address=None,
                )
            return replace(window.latest, repeats=repeats)
        return None

    def next_due(self) -> float | None:
        """Return the seconds until the next period is over, ``None`` where none runs."""
        if not self._windows:
            return None
        first = min(window.since for window in self._windows.values())
        return max(0.0, first + self._period - self._clock())
