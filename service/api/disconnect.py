"""A race between the work for a request and the caller's going away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

from service.api.problems import ClientDisconnectedError

Result = TypeVar("Result")


async def until_disconnect(receive: Receive, work: Awaitable[Result]) -> Result:
    """Await ``work``, and cancel it when the caller disconnects first.

    The request's body must have been read: what ``receive`` then brings is the disconnect.
    ``Request.is_disconnected()`` polls and fails behind middleware; awaiting the ASGI message
    itself does neither. The cancellation reaches the engine, which aborts the generation.

    Raises
    ------
    ClientDisconnectedError
        When the caller went away before the work was done.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        watcher.result()  # an error of the server's own receive channel is not a disconnect
        raise ClientDisconnectedError
    finally:
        task.cancel()
        watcher.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
