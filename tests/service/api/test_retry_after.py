"""``Retry-After`` against a simulated service whose every second is known."""

import asyncio
import heapq
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.admission import Admission, Bounds
from service.api.service_rate import ServiceRate
from service.problem import Problem


class Simulation:
    """Requests that each work for as many seconds of a clock which no one waits for."""

    def __init__(self, bounds: Bounds, seconds: float, tokens: int):
        self.now = 0.0
        self.seconds, self.tokens = seconds, tokens
        self.admission = Admission(bounds, retry_after=99, clock=lambda: self.now)
        self._ends: list[tuple[float, int, asyncio.Future]] = []
        self._numbers = itertools.count()
        self.tasks: set[asyncio.Task] = set()

    async def request(self, caller: str) -> None:
        with self.admission.admit(caller) as place:
            place.reserve(self.tokens)
            async with place.turn():
                end = asyncio.get_running_loop().create_future()
                entry = (self.now + self.seconds, next(self._numbers), end)
                heapq.heappush(self._ends, entry)
                await end

    async def fill(self) -> None:
        """Let requests of two callers come until one is refused."""
        for caller in itertools.cycle("ab"):
            task = asyncio.create_task(self.request(caller))
            await settle()
            if task.done():
                assert isinstance(task.exception(), Problem)
                return
            self.tasks.add(task)

    async def run_until(self, time: float, *, refill: bool) -> None:
        while self._ends and self._ends[0][0] <= time:
            self.now, _, end = heapq.heappop(self._ends)
            end.set_result(None)
            await settle()
            if refill:
                await self.fill()
        self.now = time


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@settings(max_examples=50, deadline=None)
@given(
    concurrency=st.integers(1, 5),
    queue=st.integers(0, 6),
    seconds=st.floats(0.2, 90),
    rounds=st.floats(1.05, 6),
    by_tokens=st.booleans(),
)
def test_there_is_room_when_the_time_has_passed_and_not_long_before(
    concurrency, queue, seconds, rounds, by_tokens
):
    places = concurrency + queue
    # Bounded by requests, or by tokens of which each request holds ten.
    bounds = Bounds(
        concurrency=concurrency,
        requests=100 if by_tokens else places,
        tokens=10 * places + 9 if by_tokens else 10_000,
        caller_requests=100,
        caller_tokens=10_000,
    )

    async def simulate() -> None:
        simulation = Simulation(bounds, seconds, tokens=10)
        await simulation.fill()
        await simulation.run_until(rounds * seconds, refill=True)
        with pytest.raises(Problem) as caught:
            await simulation.request("c")
        told = caught.value.retry_after
        assert caught.value.code == "overloaded"
        assert 1 <= told <= seconds + 2  # a place comes free at least once in that time
        # A millisecond is rounded away, so that 30.0000001 s are not told as 31.
        await simulation.run_until(simulation.now + told + 0.001, refill=False)
        task = asyncio.create_task(simulation.request("c"))
        await settle()
        assert not task.done()  # it was taken
        for running in (*simulation.tasks, task):
            running.cancel()
        await asyncio.gather(*simulation.tasks, task, return_exceptions=True)

    asyncio.run(simulate())


@given(seconds=st.floats(0.01, 500), count=st.integers(1, 40), tokens=st.integers(1, 10_000))
def test_a_steady_service_is_measured_exactly(seconds, count, tokens):
    rate = ServiceRate(0.0)
    now = 0.0
    rate.at_work(now, busy=True)
    for _ in range(count):
        now += seconds
        rate.finished(now, seconds=seconds, tokens=tokens)
    assert rate.requests_per_second(now) == pytest.approx(1 / seconds, rel=1e-6)
    assert rate.tokens_per_second(now) == pytest.approx(tokens / seconds, rel=1e-6)


def test_a_service_that_hangs_is_measured_ever_slower():
    rate = ServiceRate(0.0)
    rate.at_work(0.0, busy=True)
    rate.finished(1.0, seconds=1.0, tokens=10)
    waits = [rate.seconds_until(1.0 + passed, requests=1) for passed in (0, 10, 100, 1000, 10**6)]
    assert waits == sorted(waits)
    assert waits[0] < waits[2]
    assert waits[-1] <= 3600


STRETCHES = st.lists(
    st.tuples(
        st.floats(0.05, 120),  # seconds of a request
        st.integers(1, 5000),  # its tokens
        st.floats(0, 100_000),  # idle seconds after it
        st.integers(0, 50),  # times that somebody reads the rate meanwhile
    ),
    min_size=1,
    max_size=12,
)


def work_off(stretches, *, idle: bool) -> tuple[ServiceRate, float]:
    """One request after the other, with or without the idle time between them."""
    rate, now = ServiceRate(0.0), 0.0
    for seconds, tokens, gap, reads in stretches:
        rate.at_work(now, busy=True)
        now += seconds
        rate.finished(now, seconds=seconds, tokens=tokens)
        rate.at_work(now, busy=False)
        for _ in range(reads if idle else 0):
            now += gap / reads
            rate.tokens_per_second(now)
    return rate, now


@settings(max_examples=50, deadline=None)
@given(STRETCHES)
def test_whatever_the_idle_time_the_rate_lies_among_the_true_ones(stretches):
    rate, now = work_off(stretches, idle=True)
    requests = [1 / seconds for seconds, *_ in stretches]
    tokens = [count / seconds for seconds, count, *_ in stretches]
    for measured, true in (
        (rate.requests_per_second(now), requests),
        (rate.tokens_per_second(now), tokens),
    ):
        assert min(true) * (1 - 1e-9) <= measured <= max(true) * (1 + 1e-9)


@settings(max_examples=50, deadline=None)
@given(STRETCHES, st.floats(0, 60))
def test_the_next_burst_is_told_what_it_would_be_without_the_idle_time(stretches, passed):
    waits = []
    for idle in (True, False):
        rate, now = work_off(stretches, idle=idle)
        rate.at_work(now, busy=True)
        now += passed
        waits += [rate.seconds_until(now, requests=1), rate.seconds_until(now, tokens=1000)]
    assert waits[:2] == pytest.approx(waits[2:], rel=1e-6, abs=1e-3)


def test_a_service_that_has_idled_and_been_scraped_for_a_day_forgets_nothing():
    rate, now = work_off([(2.0, 1000, 0, 0)] * 30, idle=False)
    for _ in range(6_000):  # a day
        now += 15
        rate.tokens_per_second(now)
    rate.at_work(now, busy=True)
    assert rate.seconds_until(now + 20, requests=1, at_work=[(now, 1000)]) < 5


def test_a_hang_of_a_day_is_no_error_and_is_forgotten_soon_after():
    rate, now = work_off([(2.0, 1000, 0, 0)] * 30, idle=False)
    rate.at_work(now, busy=True)
    for _ in range(6_000):  # a day
        now += 15
        assert rate.seconds_until(now, tokens=1, at_work=[(now - 9, 1000)]) <= 3600
    for _ in range(300):
        now += 2
        rate.finished(now, seconds=2.0, tokens=1000)
    assert rate.requests_per_second(now) == pytest.approx(0.5, rel=0.01)


def test_a_caller_with_nothing_at_work_is_told_of_its_own_turn_too():
    bounds = Bounds(
        concurrency=4, requests=40, tokens=10_000, caller_requests=8, caller_tokens=10_000
    )

    async def simulate() -> None:
        simulation = Simulation(bounds, 15.0, tokens=10)

        async def hold(caller: str, count: int) -> None:
            for _ in range(count):
                simulation.tasks.add(asyncio.create_task(simulation.request(caller)))
                await settle()

        await hold("a", 4)
        await simulation.run_until(40.0, refill=False)  # measured: four in fifteen seconds
        await hold("a", 4)
        await hold("b", 8)
        with pytest.raises(Problem) as caught:
            await simulation.request("b")
        assert caught.value.code == "too-many-requests"
        # The first of its eight begins when a place is free, and then takes fifteen seconds.
        await simulation.run_until(simulation.now + caught.value.retry_after, refill=False)
        await simulation.run_until(simulation.now + 15.0, refill=False)
        await hold("b", 1)
        assert not any(task.done() and task.exception() for task in simulation.tasks)
        assert caught.value.retry_after >= 15
        for running in simulation.tasks:
            running.cancel()
        await asyncio.gather(*simulation.tasks, return_exceptions=True)

    asyncio.run(simulate())
