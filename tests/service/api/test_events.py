"""An event stream that does not go as planned: what it holds is given back at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest

from service.api.ending import Ending
from service.api.events import Event, EventStream
from service.api.problems import ClientDisconnectedError, deadline_exceeded


async def _events() -> AsyncGenerator[Event, None]:
    yield Event("images", {})
    await asyncio.Event().wait()


async def _stays() -> dict[str, str]:
    await asyncio.Event().wait()
    return {}


def _stream(ending: Ending) -> tuple[EventStream, asyncio.Event]:
    """A stream, and whether what it holds has been given back."""
    held, given_back = AsyncExitStack(), asyncio.Event()
    held.callback(given_back.set)
    return EventStream(_events(), held, ending, None), given_back


async def test_a_caller_that_leaves_while_the_head_is_recorded_ends_the_walk() -> None:
    stream, given_back = _stream(Ending())
    recorded = asyncio.Event()
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        await recorded.wait()
        sent.append(message["type"])

    answering = asyncio.create_task(stream({"type": "http"}, receive, send))
    await given_back.wait()
    assert not sent
    recorded.set()
    with pytest.raises(ClientDisconnectedError):
        await answering
    assert sent == ["http.response.start"]


async def test_what_is_held_is_given_back_before_a_slow_reader_has_the_last_event() -> None:
    ending = Ending()
    stream, given_back = _stream(ending)
    reads_on = asyncio.Event()
    sent = []

    async def send(message: dict[str, object]) -> None:
        if sent:
            await reads_on.wait()
        sent.append(message)

    answering = asyncio.create_task(stream({"type": "http"}, _stays, send))
    while not sent:
        await asyncio.sleep(0)
    ending.end(deadline_exceeded())
    await given_back.wait()
    assert len(sent) == 1
    reads_on.set()
    await answering
    assert b"deadline-exceeded" in sent[-2]["body"]
