"""Pieces of an answer gathered for a moment before they are sent.

A model writes them faster than anybody reads, and to send each by itself costs a busy service more
than to make it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from time import monotonic

from service.interpretation import AnswerRead, StudyEvent
from service.reading import Task

MOMENT = 0.05
"""Seconds from one piece that is sent to the next."""


async def gathered(
    events: AsyncIterable[StudyEvent],
    *,
    moment: float = MOMENT,
    clock: Callable[[], float] = monotonic,
) -> AsyncGenerator[StudyEvent, None]:
    """Yield the events of a study, pieces of one answer that come close together as one.

    A piece waits for the next event at most, and only where one has gone out within the moment
    before; the pieces of each section together are the same text, and come before whatever else
    is told.

    Parameters
    ----------
    events
        What is known of a study as it is known.
    moment
        Seconds within which pieces are gathered.
    clock
        Time in seconds, for tests.
    """
    held: dict[Task, str] = {}
    sent = clock() - moment

    def release() -> Iterator[AnswerRead]:
        nonlocal sent
        if held:
            sent = clock()
        for task in list(held):
            yield AnswerRead(task, held.pop(task))

    try:
        async for event in events:
            if isinstance(event, AnswerRead):
                held[event.task] = held.get(event.task, "") + event.text
                if clock() - sent < moment:
                    continue
            for piece in release():
                yield piece
            if not isinstance(event, AnswerRead):
                yield event
    except Exception:  # what was said before is said, whatever ends it
        for piece in release():
            yield piece
        raise
    for piece in release():
        yield piece
