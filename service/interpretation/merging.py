"""Several asynchronous streams as one, in the order in which their items come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")


async def merge(streams: Sequence[AsyncGenerator[Item, None]]) -> AsyncGenerator[Item, None]:
    """Run every stream in a task of its own and yield what they yield.

    A stream that raises ends the whole with its error. However the whole ends, by error, by
    cancellation or by ``aclose``, every stream is closed before it does.
    """
    # A TaskGroup would cancel whichever task happens to be consuming this generator, in the
    # middle of the consumer's own code; so the tasks are looked after here.
    arrivals: asyncio.Queue[Item | _Ended] = asyncio.Queue()

    async def pump(stream: AsyncGenerator[Item, None]) -> None:
        error: BaseException | None = None
        try:
            async with aclosing(stream):
                async for item in stream:
                    arrivals.put_nowait(item)
        except Exception as raised:
            error = raised
        arrivals.put_nowait(_Ended(error))

    tasks = [asyncio.create_task(pump(stream)) for stream in streams]
    try:
        running = len(tasks)
        while running:
            item = await arrivals.get()
            if not isinstance(item, _Ended):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                running -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Ended:
    """One stream's end."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
