import asyncio

import pytest

from service.api.disconnect import until_disconnect
from service.api.problems import ClientDisconnectedError


async def _never():
    await asyncio.Event().wait()


async def test_work_that_ends_first_gives_its_result():
    async def work():
        return "reading"

    assert await until_disconnect(_never, work()) == "reading"


async def test_an_error_of_the_work_is_raised_as_it_is():
    async def work():
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - raised empty, there is no text to match
        await until_disconnect(_never, work())


async def test_a_disconnect_cancels_the_work():
    cancelled = asyncio.Event()
    working = asyncio.Event()

    async def work():
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def receive():
        await working.wait()
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnectedError):
        await until_disconnect(receive, work())
    assert cancelled.is_set()


async def test_cancelling_the_race_cancels_the_work():
    cancelled = asyncio.Event()
    working = asyncio.Event()

    async def work():
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    race = asyncio.create_task(until_disconnect(_never, work()))
    await working.wait()
    race.cancel()
    with pytest.raises(asyncio.CancelledError):
        await race
    assert cancelled.is_set()
