"""Who is told how long a stage of the walk took, when it ends, in success or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from service.interpretation.interpretation import SectionTiming

StageObserver = Callable[[str, float], None]
"""Gets a stage (``decode``, ``first_token``, ``generate`` or ``parse``) and its seconds."""


def unobserved(stage: str, seconds: float) -> None:
    """Tell nobody."""


@contextmanager
def observed(stage: str, observe: StageObserver) -> Iterator[None]:
    """Tell of a stage when this block ends, in whatever way."""
    started = perf_counter()
    try:
        yield
    finally:
        observe(stage, perf_counter() - started)


class AttemptClock:
    """Times the stages of one attempt, which begins now.

    Parameters
    ----------
    observe
        Is told of each stage that took place, when it ends.
    """

    def __init__(self, observe: StageObserver) -> None:
        self._observe = observe
        self._asked = self._arrived = self._ended = perf_counter()
        self._first: float | None = None
        self._parsing = self._parsing_meanwhile = 0.0

    @property
    def timing(self) -> SectionTiming:
        """Seconds of the stages, once the attempt has run to its end."""
        first = self._ended if self._first is None else self._first
        return SectionTiming(
            first_token=first - self._asked,
            generate=max(0.0, self._ended - first - self._parsing_meanwhile),
            parse=self._parsing,
        )

    def text_arrived(self) -> None:
        """Note that the engine has said something."""
        self._arrived = perf_counter()
        if self._first is None:
            self._first = self._arrived
            self._observe("first_token", self._first - self._asked)

    def text_parsed(self) -> None:
        """Note that what arrived last has been read."""
        self._parsing += perf_counter() - self._arrived

    def engine_ended(self) -> None:
        """Note that the engine says no more, whether it has finished, failed or been stopped."""
        self._ended = perf_counter()
        self._parsing_meanwhile = self._parsing
        timing = self.timing
        if self._first is None:
            self._observe("first_token", timing.first_token)
        else:
            self._observe("generate", timing.generate)

    def attempt_ended(self, *, read: bool) -> None:
        """Note the end of it all; ``read``: the whole text has been read since the engine ended."""
        if read:
            self._parsing += perf_counter() - self._ended
        if self._parsing > 0:
            self._observe("parse", self._parsing)
