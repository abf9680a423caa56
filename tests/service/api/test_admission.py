import asyncio
from contextlib import ExitStack, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from service.api.admission import Admission, Bounds
from service.problem import Problem

WHOLE = Bounds(concurrency=1, requests=4, tokens=100, caller_requests=2, caller_tokens=60)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def admission(clock):
    return Admission(WHOLE, retry_after=7, clock=clock)


def refusal(admission, caller, tokens=0):
    with pytest.raises(Problem) as caught, admission.admit(caller) as place:
        place.reserve(tokens)
    return caught.value.code, caught.value.status, caught.value.retry_after


def hold(stack, admission, caller, tokens=0):
    place = stack.enter_context(admission.admit(caller))
    place.reserve(tokens)
    return place


def test_a_caller_over_its_share_of_requests_gets_429_and_others_are_taken(admission):
    with ExitStack() as held:
        for _ in range(2):
            hold(held, admission, "a")
        assert refusal(admission, "a") == ("too-many-requests", 429, 7)
        hold(held, admission, "b")


def test_a_full_service_answers_503(admission):
    with ExitStack() as held:
        for caller in "aabb":
            hold(held, admission, caller)
        assert refusal(admission, "c") == ("overloaded", 503, 7)


def test_tokens_are_shared_like_requests(admission):
    with ExitStack() as held:
        hold(held, admission, "a", 50)
        assert refusal(admission, "a", 11) == ("too-many-requests", 429, 7)
        hold(held, admission, "b", 45)
        assert refusal(admission, "c", 6) == ("overloaded", 503, 7)
        hold(held, admission, "c", 5)
        assert admission.tokens == 100


def test_bytes_of_bodies_are_shared_like_requests(clock):
    bounds = Bounds.shared(
        concurrency=1, queue=9, tokens=9, share=0.5, body_bytes=100, largest_body=60
    )
    admission = Admission(bounds, retry_after=7, clock=clock)

    def refused(caller, take):
        with pytest.raises(Problem) as caught, admission.admit(caller) as place:
            take(place)
        return caught.value.code, caught.value.status, caught.value.retry_after

    with ExitStack() as held:
        hold(held, admission, "a").expect_body(60)  # the largest is taken, whatever the share
        assert refused("a", lambda place: place.expect_body(1)) == ("too-many-requests", 429, 7)
        growing = hold(held, admission, "b")
        for _ in range(3):
            growing.take_body(10)
        assert admission.body_bytes == 90
        assert refused("c", lambda place: place.expect_body(11)) == ("overloaded", 503, 7)
        assert refused("c", lambda place: place.take_body(11)) == ("overloaded", 503, 7)
        announced = hold(held, admission, "c")
        announced.expect_body(10)
        announced.take_body(10)  # as announced
        assert admission.body_bytes == 100
    assert admission.body_bytes == 0


async def test_a_caller_with_too_many_bytes_waits_for_as_many_requests_as_hold_them(clock):
    bounds = Bounds.shared(concurrency=1, queue=9, tokens=9, share=1, body_bytes=100)
    admission = Admission(bounds, retry_after=7, clock=clock)
    for _ in range(3):
        await finish(admission, clock, "a", 1, 10.0)
    with ExitStack() as held:
        for _ in range(4):
            hold(held, admission, "a").expect_body(25)
        with pytest.raises(Problem) as caught:
            hold(held, admission, "b").expect_body(50)
        assert caught.value.retry_after >= 20


def test_a_request_that_could_never_fit_is_told_so(admission):
    assert refusal(admission, "a", 61) == ("too-many-tokens", 422, None)


def test_a_place_and_its_tokens_are_free_again_when_a_request_ends(admission):
    for _ in range(9):
        with admission.admit("a") as place:
            place.reserve(60)
            assert (admission.admitted, admission.tokens) == (1, 60)
    assert (admission.admitted, admission.tokens) == (0, 0)


def test_a_share_is_at_least_one_request():
    bounds = Bounds.shared(concurrency=1, queue=0, tokens=100, share=0.1)
    assert (bounds.caller_requests, bounds.caller_tokens) == (1, 10)


async def finish(admission, clock, caller, tokens, seconds):
    with admission.admit(caller) as place:
        place.reserve(tokens)
        async with place.turn():
            clock.now += seconds


async def test_the_wait_comes_from_the_measured_rate(admission, clock):
    for _ in range(3):
        await finish(admission, clock, "a", 50, 10.0)  # a request in 10 s, 5 tokens a second
    with ExitStack() as held:
        hold(held, admission, "a", 50)
        # 30 tokens over: six seconds until its own have their turn, which takes them ten.
        assert refusal(admission, "a", 40) == ("too-many-requests", 429, 16)
        hold(held, admission, "a", 5)
        assert refusal(admission, "a") == ("too-many-requests", 429, 20)
        hold(held, admission, "b", 40)
        # Two callers take turns, so that each gets half of the rate.
        assert refusal(admission, "a") == ("too-many-requests", 429, 30)


async def test_a_place_that_a_failed_request_frees_counts_as_free(admission, clock):
    """What a caller waits for is the place, whether its holder got a reading or not."""
    for _ in range(40):
        with suppress(RuntimeError), admission.admit("a") as place:
            place.reserve(50)
            async with place.turn():
                clock.now += 20
                raise RuntimeError
    with ExitStack() as held:
        for caller in "ab":
            hold(held, admission, caller, 20)
        assert admission.next_end == 20


async def test_those_that_began_together_are_waited_for_however_high_the_rate(clock):
    bounds = Bounds(concurrency=4, requests=4, tokens=100, caller_requests=4, caller_tokens=100)
    admission = Admission(bounds, retry_after=7, clock=clock)
    for _ in range(2):  # four at once take 12 s and end together: 1/3 of a request in a second
        with ExitStack() as held:
            turns = [hold(held, admission, "a").turn() for _ in range(4)]
            for turn in turns:
                await turn.__aenter__()
            clock.now += 12
            for turn in turns:
                await turn.__aexit__(None, None, None)
    with ExitStack() as held:
        turns = [hold(held, admission, "a").turn() for _ in range(4)]
        for turn in turns:
            await turn.__aenter__()
        clock.now += 2
        assert refusal(admission, "a") == ("too-many-requests", 429, 10)
        clock.now += 9
        assert refusal(admission, "a")[2] == 1
        clock.now += 9  # overdue: the rate's own, which has fallen
        assert refusal(admission, "a")[2] > 3
        for turn in turns:
            await turn.__aexit__(None, None, None)


async def test_idle_time_does_not_lower_the_rate(admission, clock):
    await finish(admission, clock, "a", 50, 10.0)
    clock.now += 10_000
    await finish(admission, clock, "a", 50, 10.0)
    assert admission.tokens_per_second == pytest.approx(5, rel=0.1)


async def test_callers_take_turns_and_each_keeps_its_order(clock):
    bounds = Bounds(concurrency=1, requests=9, tokens=1, caller_requests=9, caller_tokens=1)
    admission = Admission(bounds, retry_after=7, clock=clock)
    order = []

    async def request(name):
        with admission.admit(name[0]) as place:
            async with place.turn():
                order.append(name)
                await asyncio.sleep(0)

    await asyncio.gather(*map(request, ("a1", "a2", "a3", "a4", "b1", "b2", "c1")))
    assert order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_draining_ends_what_waits_and_spares_what_works(admission):
    working, release = asyncio.Event(), asyncio.Event()

    async def request(caller):
        with admission.admit(caller) as place:

            async def work():
                async with place.turn():
                    working.set()
                    await release.wait()
                    return "read"

            return await place.ending.within(work())

    first = asyncio.create_task(request("a"))
    await working.wait()
    second = asyncio.create_task(request("b"))
    await asyncio.sleep(0)
    admission.drain()
    with pytest.raises(Problem) as caught:
        await second
    assert (caught.value.code, caught.value.retry_after) == ("shutting-down", 7)
    assert refusal(admission, "c")[0] == "shutting-down"
    assert not first.done()
    release.set()
    assert await first == "read"
    await admission.idle()


class Accounting(RuleBasedStateMachine):
    """Requests come, reserve, wait, work, end and are cancelled in any order."""

    requests = Bundle("requests")

    @initialize(
        concurrency=st.integers(1, 3),
        queue=st.integers(0, 3),
        tokens=st.integers(1, 50),
        share=st.floats(0.05, 1),
        body_bytes=st.integers(20, 100),
    )
    def begin(self, concurrency, queue, tokens, share, body_bytes):
        self.loop = asyncio.new_event_loop()
        self.bounds = Bounds.shared(
            concurrency=concurrency,
            queue=queue,
            tokens=tokens,
            share=share,
            body_bytes=body_bytes,
            largest_body=20,
        )
        self.clock = Clock()
        self.admission = Admission(self.bounds, retry_after=7, clock=self.clock)
        self.live = {}
        self.arrived = {caller: [] for caller in "abc"}  # those that wait or work, in order
        self.refused = 0

    def settle(self):
        for _ in range(6):
            self.loop.run_until_complete(asyncio.sleep(0))

    async def _request(self, caller, tokens, state, announced, pieces):
        with self.admission.admit(caller) as place:
            state["admitted"] = True
            if announced:
                place.expect_body(sum(pieces))
            for piece in pieces:
                place.take_body(piece)
            state["bytes"] = sum(pieces)
            place.reserve(tokens)
            self.arrived[caller].append(state)
            async with place.turn():
                # FIFO: nobody of this caller came earlier and still waits.
                mine = self.arrived[caller]
                assert all(other["working"] for other in mine[: mine.index(state)])
                state["working"] = True
                await state["release"].wait()
                if state["fails"]:
                    raise ValueError

    @rule(
        target=requests,
        caller=st.sampled_from("abc"),
        tokens=st.integers(0, 40),
        fails=st.booleans(),
        announced=st.booleans(),
        pieces=st.lists(st.integers(0, 10), max_size=2),
    )
    def arrive(self, caller, tokens, fails, announced, pieces):
        state = {"working": False, "admitted": False, "fails": fails, "caller": caller}
        state["release"] = asyncio.Event()
        task = self.loop.create_task(self._request(caller, tokens, state, announced, pieces))
        self.settle()
        if task.done():
            assert isinstance(task.exception(), Problem)
            return multiple()
        self.live[task] = state
        return task

    @rule(task=consumes(requests), seconds=st.floats(0, 100))
    def finish(self, task, seconds):
        self.clock.now += seconds
        self.live[task]["release"].set()
        self.settle()

    @rule(task=consumes(requests))
    def leave(self, task):
        task.cancel()
        self.settle()

    @rule(tasks=st.lists(consumes(requests), min_size=2, max_size=4))
    def finish_and_leave_at_once(self, tasks):
        for number, task in enumerate(tasks):
            if number % 2:
                task.cancel()
            else:
                self.live[task]["release"].set()
        self.settle()

    @precondition(lambda self: not self.admission.draining)
    @rule(last=st.just(True))
    def look_at_the_wait(self, last):
        refused = None
        try:
            with self.admission.admit("d") as place:
                place.reserve(self.bounds.caller_tokens)
        except Problem as problem:
            refused = problem
        assert refused is None or 1 <= refused.retry_after <= 3600

    @invariant()
    def never_over_the_bounds_and_nothing_lost(self):
        if not hasattr(self, "loop"):
            return
        for task in [task for task in self.live if task.done()]:
            state = self.live.pop(task)
            self.arrived[state["caller"]].remove(state)
            assert task.cancelled() or isinstance(task.exception(), ValueError | None.__class__)
        admission, bounds = self.admission, self.bounds
        assert admission.admitted == len(self.live)
        assert admission.admitted <= bounds.requests
        assert admission.tokens <= bounds.tokens
        working = sum(state["working"] for state in self.live.values())
        assert admission.at_work == working <= bounds.concurrency
        waiting = len(self.live) - working
        assert waiting == 0 or working == bounds.concurrency
        loads = admission._loads
        assert sum(load.requests for load in loads.values()) == admission.admitted
        assert sum(load.tokens for load in loads.values()) == admission.tokens
        held = sum(state["bytes"] for state in self.live.values())
        assert sum(load.body_bytes for load in loads.values()) == admission.body_bytes == held
        assert held <= bounds.body_bytes
        for load in loads.values():
            assert 0 <= load.body_bytes <= bounds.caller_body_bytes
            assert 0 < load.requests <= bounds.caller_requests
            assert 0 <= load.tokens <= bounds.caller_tokens
        assert set(admission._waiting) <= set(loads)

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        for task in self.live:
            task.cancel()
        self.settle()
        admission = self.admission
        assert (admission.admitted, admission.at_work, admission.tokens) == (0, 0, 0)
        assert admission.body_bytes == 0
        assert not self.admission._waiting
        self.loop.close()


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    # Tight bounds refuse most of what comes, and then there is nothing to finish or cancel.
    suppress_health_check=[HealthCheck.filter_too_much],
)


@given(
    share=st.floats(0.001, 1),
    concurrency=st.integers(1, 100),
    queue=st.integers(0, 100),
    tokens=st.integers(1, 10**6),
)
def test_a_share_never_exceeds_the_whole(share, concurrency, queue, tokens):
    bounds = Bounds.shared(concurrency=concurrency, queue=queue, tokens=tokens, share=share)
    assert 1 <= bounds.caller_requests <= bounds.requests
    assert 1 <= bounds.caller_tokens <= bounds.tokens


def test_an_opened_film_counts_with_its_body(clock):
    bounds = Bounds.shared(
        concurrency=1, queue=9, tokens=9, share=0.5, body_bytes=200, largest_body=60
    )
    admission = Admission(bounds, retry_after=5, clock=clock)
    with admission.admit("a") as place:
        place.expect_body(20)
        place.take_body(20)
        place.hold_film(70)
        assert (place.body_bytes, admission.body_bytes) == (90, 90)
        with admission.admit("a") as second, pytest.raises(Problem, match="too-many-requests"):
            second.hold_film(11)
        with admission.admit("b") as other:
            other.hold_film(100)
            with admission.admit("c") as third, pytest.raises(Problem, match="overloaded"):
                third.hold_film(11)
    with admission.admit("a") as place:
        place.hold_film(1000)  # alone, it waits for nobody
    assert admission.body_bytes == 0
