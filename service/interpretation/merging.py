"""Several asynchronous streams as one, in the order in which their items come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

Item = TypeVar("Item")


@asynccontextmanager
async def merged(
    streams: Sequence[AsyncGenerator[Item, None]],
) -> AsyncIterator[AsyncGenerator[Item, None]]:
    """Run every stream in a task of its own, from now on, and give what they yield as one.

    A stream that raises ends the whole with its error. However the block ends, by error, by
    cancellation or because the consumer wants no more, every stream is closed before it does.
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

    async def arrived() -> AsyncGenerator[Item, None]:
        running = len(streams)
        while running:
            item = await arrivals.get()
            if not isinstance(item, _Ended):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                running -= 1

    tasks = [asyncio.create_task(pump(stream)) for stream in streams]
    try:
        async with aclosing(arrived()) as items:
            yield items
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Ended:
    """One stream's end."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
