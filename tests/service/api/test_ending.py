import asyncio
import gc
import weakref

import pytest

from service.api.ending import Ending
from service.api.problems import deadline_exceeded, shutting_down
from service.problem import Problem


async def test_it_interrupts_what_is_watched_with_its_problem():
    ending = Ending()
    asyncio.get_running_loop().call_soon(ending.end, deadline_exceeded())
    with pytest.raises(Problem, match="deadline-exceeded"), ending.watch():
        await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0


async def test_the_first_problem_counts_and_holds_for_later_blocks():
    ending = Ending()
    ending.end(deadline_exceeded())
    ending.end(shutting_down(1))
    work = asyncio.sleep(0)
    with pytest.raises(Problem, match="deadline-exceeded"):
        await ending.within(work)


async def test_a_cancellation_from_elsewhere_stays_one():
    ending = Ending()

    async def watched():
        with ending.watch():
            await asyncio.Event().wait()

    task = asyncio.create_task(watched())
    await asyncio.sleep(0)
    task.cancel()
    ending.end(deadline_exceeded())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_not_watched_goes_on():
    ending = Ending()
    with ending.watch():
        await asyncio.sleep(0)
    ending.end(deadline_exceeded())
    await asyncio.sleep(0)


async def test_time_that_does_not_pass_ends_nothing():
    ending = Ending()
    with ending.after(1e6, deadline_exceeded()), ending.watch():
        await asyncio.sleep(0)
    assert ending.problem is None


class Film:
    """Something large."""


async def test_what_an_end_interrupts_is_freed_without_a_collection():
    async def hold(ending):
        film = Film()
        films.append(weakref.ref(film))
        with ending.watch():
            await asyncio.Event().wait()

    films = []
    gc.disable()
    try:
        ending = Ending()
        task = asyncio.create_task(hold(ending))
        await asyncio.sleep(0)
        ending.end(deadline_exceeded())
        try:  # pytest.raises would keep the frames
            await task
        except Problem as problem:
            ended = problem.code
        del task
        await asyncio.sleep(0)  # until then the loop's own call holds it
        assert ended == "deadline-exceeded"
        assert films[0]() is None
        assert ending.problem is not None
    finally:
        gc.enable()
