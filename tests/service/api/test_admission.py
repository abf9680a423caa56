import asyncio
from contextlib import AsyncExitStack

import pytest

from service.api.admission import Admission
from service.problem import Problem


async def test_requests_beyond_the_bound_are_refused_with_429():
    admission = Admission(max_concurrency=1, max_queue=1, retry_after=7)
    async with admission.admit(), admission.admit():
        with pytest.raises(Problem) as caught:
            async with admission.admit():
                pass
    assert (caught.value.status, caught.value.retry_after) == (429, 7)


async def test_a_place_is_free_again_when_a_request_ends():
    admission = Admission(max_concurrency=1, max_queue=0, retry_after=7)
    for _ in range(3):
        async with admission.admit():
            assert admission.admitted == 1
    assert admission.admitted == 0


async def test_only_so_many_work_at_once():
    admission = Admission(max_concurrency=2, max_queue=6, retry_after=7)
    at_work = 0
    most = 0

    async def request() -> None:
        nonlocal at_work, most
        async with admission.admit(), admission.turn():
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0)
            at_work -= 1

    await asyncio.gather(*(request() for _ in range(8)))
    assert most == 2


async def test_draining_refuses_newcomers_and_waits_for_the_rest():
    admission = Admission(max_concurrency=2, max_queue=0, retry_after=7)
    running = AsyncExitStack()
    await running.enter_async_context(admission.admit())
    draining = asyncio.create_task(admission.drain())
    await asyncio.sleep(0)
    with pytest.raises(Problem) as caught:
        async with admission.admit():
            pass
    assert (caught.value.code, caught.value.status) == ("shutting-down", 503)
    assert not draining.done()
    await running.aclose()
    await draining
