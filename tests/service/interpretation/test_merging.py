"""Several streams as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import pytest

from service.interpretation import merging


class Source:
    """Yields its items; then raises, ends, or stays until it is closed."""

    def __init__(self, *items: str, error: Exception | None = None, stays: bool = False) -> None:
        self.items, self.error, self.stays = items, error, stays
        self.closed = False

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        try:
            for item in self.items:
                await asyncio.sleep(0)
                yield item
            if self.error is not None:
                raise self.error
            if self.stays:
                await asyncio.Event().wait()
        finally:
            self.closed = True


def merged(*sources: Source) -> AbstractAsyncContextManager[AsyncGenerator[str, None]]:
    return merging.merged([source.__aiter__() for source in sources])


async def test_every_item_of_every_stream_comes_once_and_in_its_streams_order() -> None:
    async with merged(Source("a1", "a2", "a3"), Source("b1", "b2")) as arrived:
        items = [item async for item in arrived]
    assert [item for item in items if item[0] == "a"] == ["a1", "a2", "a3"]
    assert [item for item in items if item[0] == "b"] == ["b1", "b2"]
    assert len(items) == 5


async def test_streams_run_side_by_side() -> None:
    waiting = Source(stays=True)
    async with merged(waiting, Source("b1")) as items:
        assert await anext(items) == "b1"


async def test_no_stream_at_all_ends_at_once() -> None:
    async with merged() as arrived:
        assert [item async for item in arrived] == []


async def test_one_streams_error_is_raised_and_closes_the_others() -> None:
    other = Source("b1", stays=True)

    async def consume() -> None:
        async with merged(Source("a1", error=LookupError()), other) as arrived:
            async for _ in arrived:
                pass

    with pytest.raises(LookupError):
        await consume()
    assert other.closed


async def test_streams_run_before_anything_is_asked_of_them() -> None:
    source = Source("a1")
    async with merged(source) as items:
        while not source.closed:
            await asyncio.sleep(0)
        assert [item async for item in items] == ["a1"]


async def test_closing_the_whole_closes_every_stream() -> None:
    sources = Source("a1", stays=True), Source("b1", stays=True)
    async with merged(*sources) as items:
        await anext(items)
        await anext(items)
    assert all(source.closed for source in sources)


async def test_cancelling_the_consumer_closes_every_stream() -> None:
    sources = Source("a1", stays=True), Source("b1", stays=True)
    got_both = asyncio.Event()

    async def consume() -> None:
        count = 0
        async with merged(*sources) as items:
            async for _ in items:
                count += 1
                if count == 2:
                    got_both.set()

    task = asyncio.create_task(consume())
    await got_both.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(source.closed for source in sources)


async def test_a_stream_that_fails_while_the_consumer_works_does_not_interrupt_it() -> None:
    failing = Source("a1", error=LookupError())
    async with merged(failing) as items:
        assert await anext(items) == "a1"
        while not failing.closed:
            await asyncio.sleep(0)
        with pytest.raises(LookupError):
            await anext(items)
