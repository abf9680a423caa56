"""Several streams as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from service.interpretation.merging import merge


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


def merged(*sources: Source) -> AsyncGenerator[str, None]:
    return merge([source.__aiter__() for source in sources])


async def test_every_item_of_every_stream_comes_once_and_in_its_streams_order() -> None:
    items = [item async for item in merged(Source("a1", "a2", "a3"), Source("b1", "b2"))]
    assert [item for item in items if item[0] == "a"] == ["a1", "a2", "a3"]
    assert [item for item in items if item[0] == "b"] == ["b1", "b2"]
    assert len(items) == 5


async def test_streams_run_side_by_side() -> None:
    waiting = Source(stays=True)
    async with aclosing(merged(waiting, Source("b1"))) as items:
        assert await anext(items) == "b1"


async def test_no_stream_at_all_ends_at_once() -> None:
    assert [item async for item in merge(list[AsyncGenerator[str, None]]())] == []


async def test_one_streams_error_is_raised_and_closes_the_others() -> None:
    other = Source("b1", stays=True)
    with pytest.raises(LookupError):
        async for _ in merged(Source("a1", error=LookupError()), other):
            pass
    assert other.closed


async def test_closing_the_whole_closes_every_stream() -> None:
    sources = Source("a1", stays=True), Source("b1", stays=True)
    async with aclosing(merged(*sources)) as items:
        await anext(items)
        await anext(items)
    assert all(source.closed for source in sources)


async def test_cancelling_the_consumer_closes_every_stream() -> None:
    sources = Source("a1", stays=True), Source("b1", stays=True)
    got_both = asyncio.Event()

    async def consume() -> None:
        count = 0
        async with aclosing(merged(*sources)) as items:
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
    async with aclosing(merged(failing)) as items:
        assert await anext(items) == "a1"
        while not failing.closed:
            await asyncio.sleep(0)
        with pytest.raises(LookupError):
            await anext(items)
