"""What becomes of an engine that dies or hangs; time passes when the test says so."""

import asyncio
import logging
from contextlib import aclosing

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from service.engine import (
    EngineState,
    EngineUnavailable,
    GenerationRequest,
    RestartPolicy,
    Sampling,
    SupervisedEngine,
    WatchedEngine,
)
from tests.service.mortal_engine import MortalEngine, PassingTime, settled

FILM = np.zeros((224, 224, 3), np.uint8)


def request():
    return GenerationRequest("r", "Findings?", (FILM,), Sampling(0, 1.0, 64))


def restarts(reason):
    labels = {"reason": reason}
    return REGISTRY.get_sample_value("deepmedix_engine_restarts_total", labels) or 0.0


class Supervision:
    """A supervised engine, started, with all that a test wants to know of it."""

    def __init__(self, **policy):
        self.time = PassingTime()
        self.engine = MortalEngine()
        self.warmed: list[EngineState] = []
        self.warming: asyncio.Event | None = None
        self.states: list[EngineState] = []
        self.supervised = SupervisedEngine(
            self.engine,
            self._warm_up,
            RestartPolicy(**policy),
            clock=self.time,
            sleep=self.time.sleep,
        )
        self.supervised.follow(self.states.append)

    async def _warm_up(self, engine):
        assert engine is self.engine
        self.warmed.append(self.supervised.state)
        if self.warming is not None:
            await self.warming.wait()

    async def read(self):
        return [delta async for delta in self.supervised.generate(request())]

    async def refusal(self):
        with pytest.raises(EngineUnavailable) as caught:
            await self.read()
        return caught.value

    async def healthy(self):
        try:
            await self.supervised.check_health()
        except EngineUnavailable:
            return False
        return True


@pytest_asyncio.fixture(loop_scope="session")
async def supervision():
    made = []

    async def make(**policy):
        supervision = Supervision(**policy)
        made.append(supervision)
        await supervision.supervised.start()
        await settled()
        return supervision

    yield make
    for one in made:
        await one.supervised.stop()


async def test_an_engine_that_is_well_is_left_alone(supervision):
    watched = await supervision()
    await watched.time.passes(200)
    assert watched.engine.happened == ["start"]
    assert await watched.healthy()
    assert (await watched.read())[-1].finish_reason == "stop"


async def test_an_engine_that_dies_is_started_again_and_warmed_up_before_it_is_called_ready(
    supervision,
):
    watched = await supervision(first_delay=1)
    watched.engine.die()
    assert not await watched.healthy()
    await settled()
    assert watched.supervised.state is EngineState.RESTARTING
    await watched.time.passes(0.9)
    assert watched.engine.happened == ["start", "kill", "stop"]
    await watched.time.passes(0.2)
    assert watched.engine.happened == ["start", "kill", "stop", "start"]
    assert watched.warmed == [EngineState.RESTARTING]
    assert watched.states == [EngineState.RUNNING, EngineState.RESTARTING, EngineState.RUNNING]
    assert await watched.healthy()
    assert (await watched.read())[-1].finish_reason == "stop"


async def test_how_a_process_ended_is_told_to_the_operator(supervision, monkeypatch, caplog):
    watched = await supervision(first_delay=1)
    monkeypatch.setattr(watched.engine, "endings", "EngineCore was ended by SIGSEGV")
    watched.engine.die()
    await settled()
    assert "its process ended (EngineCore was ended by SIGSEGV); restart in 1 s" in caplog.text


async def test_an_engine_that_is_gone_before_it_can_be_killed_is_started_again(
    supervision, monkeypatch
):
    def gone():
        raise ProcessLookupError

    watched = await supervision(first_delay=1)
    monkeypatch.setattr(watched.engine, "kill", gone)
    watched.engine.die()
    await watched.time.passes(1.1)
    assert watched.engine.happened == ["start", "stop", "start"]
    assert await watched.healthy()


async def test_nobody_but_the_warm_up_reads_before_it_is_over(supervision):
    watched = await supervision(first_delay=0)
    watched.warming = asyncio.Event()
    watched.engine.die()
    await watched.time.passes(1)
    assert watched.warmed
    assert not await watched.healthy()
    await watched.refusal()
    watched.warming.set()
    await settled()
    assert await watched.healthy()


async def test_who_reads_while_the_engine_dies_is_told_so(supervision):
    watched = await supervision()
    watched.engine.say_until_lost()
    async with aclosing(watched.supervised.generate(request())) as deltas:
        await anext(deltas)
        await anext(deltas)
        waiting = asyncio.create_task(anext(deltas))
        await settled()
        assert not waiting.done()
        watched.engine.die()
        with pytest.raises(EngineUnavailable):
            await waiting


async def test_retry_after_is_the_time_that_the_restart_takes(supervision):
    watched = await supervision(first_delay=4)
    starting = watched.engine.starting = asyncio.Event()
    watched.supervised._start_seconds = 30.0  # what the first start took
    watched.engine.die()
    assert (await watched.refusal()).retry_after == 34
    await watched.time.passes(4)
    assert (await watched.refusal()).retry_after == 30
    await watched.time.passes(20)
    assert (await watched.refusal()).retry_after == 10
    await watched.time.passes(60)  # longer than the time before: soon, as far as one knows
    assert 1 <= (await watched.refusal()).retry_after <= 10
    starting.set()
    await settled()
    assert await watched.healthy()


async def test_a_silent_engine_is_not_healthy_before_two_seconds_are_over(supervision):
    watched = await supervision()
    await watched.time.passes(10)
    watched.engine.hanging = True
    await watched.time.passes(1.75)
    assert not await watched.healthy()
    assert watched.supervised.state is EngineState.RUNNING


async def test_an_engine_that_answers_late_is_healthy_again_and_not_replaced(supervision):
    watched = await supervision()
    watched.engine.hanging = True
    await watched.time.passes(10)
    assert not await watched.healthy()
    watched.engine.beat_answered()
    await watched.time.passes(1)
    assert await watched.healthy()
    assert watched.engine.happened == ["start"]


async def test_steps_that_are_slow_on_this_machine_are_not_late(supervision):
    watched = await supervision()
    watched.engine.hanging = True
    await watched.time.passes(3)
    watched.engine.beat_answered()
    await watched.time.passes(3)  # no longer than the last one, twice over
    assert await watched.healthy()


async def test_an_engine_that_is_silent_for_long_is_told_from_one_that_is_late(supervision):
    watched = await supervision(first_delay=4)
    watched.supervised._start_seconds = 20.0
    watched.engine.hanging = True
    await watched.time.passes(4.5)
    assert not await watched.healthy()
    assert not watched.supervised.hangs
    await watched.time.passes(1)
    assert watched.supervised.hangs
    left = watched.engine.longest_step - 5.5
    assert abs(watched.supervised.unavailable().retry_after - (left + 4 + 20)) <= 1
    watched.engine.beat_answered()
    await watched.time.passes(1)
    assert not watched.supervised.hangs


async def test_a_long_step_is_no_hang_where_one_was_seen_however_long_ago(supervision):
    watched = await supervision(stall_timeout=60)
    watched.engine.hanging = True
    await watched.time.passes(4)  # the warm-up's film, say
    watched.engine.beat_answered()
    await watched.time.passes(300)
    watched.engine.hanging = True
    await watched.time.passes(14)
    assert not watched.supervised.hangs
    await watched.time.passes(4)
    assert watched.supervised.hangs
    watched.engine.beat_answered()
    await watched.time.passes(1)
    watched.engine.hanging = True
    await watched.time.passes(29)  # after a silence of 18 s
    assert not watched.supervised.hangs
    await watched.time.passes(2)
    assert watched.supervised.hangs


async def test_an_engine_that_hangs_is_killed_and_started_again(supervision):
    before = restarts("stall")
    watched = await supervision(stall_timeout=5, first_delay=1)
    watched.engine.say_until_lost()
    reading = asyncio.create_task(watched.refusal())
    watched.engine.hanging = True
    await watched.time.passes(4.5)
    assert watched.engine.happened == ["start"]
    assert not reading.done()
    await watched.time.passes(1)
    assert watched.engine.happened == ["start", "kill", "stop"]
    assert (await reading).retry_after >= 1
    await watched.time.passes(1)
    assert await watched.healthy()
    assert restarts("stall") == before + 1


async def test_the_engine_itself_says_how_long_a_step_may_take(supervision):
    watched = await supervision()
    watched.engine.hanging = True
    await watched.time.passes(watched.engine.longest_step - 1)
    assert watched.engine.happened == ["start"]
    await watched.time.passes(1.5)
    assert "kill" in watched.engine.happened


async def test_a_service_that_was_stopped_itself_does_not_blame_the_engine(supervision):
    watched = await supervision(stall_timeout=5)
    await watched.time.jumps(3600)
    await watched.time.passes(10)
    assert watched.engine.happened == ["start"]
    assert await watched.healthy()


async def test_each_failure_doubles_the_delay_up_to_the_longest(supervision):
    watched = await supervision(restarts=5, first_delay=1, longest_delay=5)
    for delay in (1, 2, 4, 5, 5):
        watched.engine.die()
        await settled()
        await watched.time.passes(delay - 0.1)
        assert watched.supervised.state is EngineState.RESTARTING
        await watched.time.passes(0.2)
        assert watched.supervised.state is EngineState.RUNNING


async def test_an_engine_that_ran_well_for_the_window_is_never_given_up(supervision):
    watched = await supervision(restarts=1, window=100, first_delay=1)
    for _ in range(4):
        watched.engine.die()
        await watched.time.passes(2)
        assert watched.supervised.state is EngineState.RUNNING
        await watched.time.passes(100)


async def test_an_engine_that_never_runs_for_the_window_is_given_up(supervision):
    watched = await supervision(restarts=2, window=100, first_delay=1)
    for _ in range(3):
        assert watched.supervised.state is EngineState.RUNNING
        await watched.time.passes(80)
        watched.engine.die()
        await watched.time.passes(5)
    assert watched.supervised.state is EngineState.GIVEN_UP


async def test_the_silence_of_an_engine_that_hangs_is_no_running(supervision):
    watched = await supervision(restarts=1, window=20, stall_timeout=30, first_delay=1)
    for _ in range(2):
        assert watched.supervised.state is EngineState.RUNNING
        watched.engine.hanging = True
        await watched.time.passes(32)
    assert watched.supervised.state is EngineState.GIVEN_UP


@pytest.mark.parametrize("seconds", [30, 200, 600])
async def test_restarts_that_take_long_to_fail_are_counted_all_the_same(supervision, seconds):
    watched = await supervision(restarts=3, window=600, first_delay=1)
    watched.engine.start_failure = RuntimeError("no memory")
    watched.engine.die()
    for delay in (1, 2, 4):  # so it grows, too
        starting = watched.engine.starting = asyncio.Event()
        await watched.time.passes(delay - 0.1)
        assert watched.engine.happened[-1] == "stop"
        await watched.time.passes(0.1)
        assert watched.engine.happened[-1] == "start"
        await watched.time.passes(seconds)
        assert watched.supervised.state is EngineState.RESTARTING
        starting.set()
        await settled()
    assert watched.supervised.state is EngineState.GIVEN_UP
    assert watched.engine.happened.count("start") == 4


async def test_an_engine_that_fails_too_often_is_given_up(supervision):
    watched = await supervision(restarts=2, first_delay=1)
    for _ in range(2):
        watched.engine.die()
        await watched.time.passes(4)
    assert watched.supervised.state is EngineState.RUNNING
    watched.engine.die()
    await watched.time.passes(200)
    assert watched.supervised.state is EngineState.GIVEN_UP
    assert watched.engine.happened.count("start") == 3
    assert "3 times and never ran for 600 seconds" in watched.supervised.why_given_up
    await watched.refusal()


async def test_an_engine_that_cannot_be_started_again_is_given_up_in_the_end(supervision):
    before = restarts("death"), restarts("start")
    watched = await supervision(restarts=3, first_delay=1)
    watched.engine.start_failures = [RuntimeError("no weights")] * 9
    watched.engine.die()
    await watched.time.passes(200)
    assert watched.supervised.state is EngineState.GIVEN_UP
    assert watched.engine.happened.count("start") == 4
    assert (restarts("death"), restarts("start")) == (before[0] + 1, before[1] + 2)


async def test_an_engine_that_dies_while_it_is_warmed_up_is_started_once_more(supervision):
    watched = await supervision(first_delay=1)
    watched.warming = asyncio.Event()
    watched.engine.die()
    await watched.time.passes(1)
    assert watched.warmed
    watched.engine.die()
    await settled()
    watched.warming = None
    await watched.time.passes(2)
    assert watched.supervised.state is EngineState.RUNNING
    assert watched.engine.happened.count("start") == 3


async def test_an_engine_that_dies_while_the_service_stops_stays_dead(supervision):
    watched = await supervision(first_delay=0)
    watched.supervised.retire()
    watched.engine.die()
    await watched.time.passes(200)
    assert watched.engine.happened.count("start") == 1
    assert watched.supervised.state is EngineState.STOPPED
    await watched.refusal()


@pytest.mark.parametrize("seconds", [0, 5], ids=["delay", "start"])
async def test_a_restart_ends_with_the_service(supervision, seconds):
    watched = await supervision(first_delay=1)
    watched.engine.starting = asyncio.Event()
    watched.engine.die()
    await watched.time.passes(seconds)
    await watched.supervised.stop()
    watched.engine.starting.set()
    await watched.time.passes(200)
    assert watched.engine.happened[-1] == "stop"
    assert watched.supervised.state is EngineState.STOPPED


async def test_a_hanging_engine_is_not_asked_to_stop_but_killed(supervision):
    watched = await supervision()
    watched.engine.hanging = True
    await watched.time.passes(5)
    await watched.supervised.stop()
    assert watched.engine.happened == ["start", "kill", "stop"]


async def test_no_task_is_left_behind_by_restarts(supervision):
    watched = await supervision(restarts=20, first_delay=1, longest_delay=1)
    before = len(asyncio.all_tasks())
    for _ in range(20):
        watched.engine.die()
        await watched.time.passes(2)
    assert watched.supervised.state is EngineState.RUNNING
    assert len(asyncio.all_tasks()) == before


async def test_a_first_start_that_fails_is_not_repeated():
    watched = Supervision()
    watched.engine.start_failures = [RuntimeError("no weights")]
    with pytest.raises(RuntimeError, match="no weights"):
        await watched.supervised.start()
    assert watched.engine.happened == ["start"]
    await watched.supervised.stop()


async def test_a_start_tells_every_half_minute_that_it_goes_on(caplog):
    watched = Supervision()
    watched.engine.starting = asyncio.Event()
    with caplog.at_level(logging.INFO, logger="deepmedix"):
        starting = asyncio.create_task(watched.supervised.start())
        await watched.time.passes(65)
        watched.engine.started = True
        await watched.time.passes(30)
        watched.engine.starting.set()
        await starting
        await watched.time.passes(120)
    assert [message for message in caplog.messages if "still starts" in message] == [
        "the engine still starts, 30 s (no process of it yet)",
        "the engine still starts, 60 s (no process of it yet)",
        "the engine still starts, 90 s (its process is there)",
    ]
    await watched.supervised.stop()


async def test_a_time_out_of_the_engines_own_is_told_as_it_is():
    watched = Supervision()
    watched.engine.start_failures = [TimeoutError("of vLLM")]
    with pytest.raises(TimeoutError, match="of vLLM"):
        await watched.supervised.start()
    await watched.supervised.stop()


def test_the_scripted_engine_is_a_watched_one():
    assert isinstance(MortalEngine(), WatchedEngine)


@given(
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.lists(st.integers(1, 10**6), min_size=2, max_size=2).map(sorted),
)
def test_the_delay_never_shrinks_and_never_passes_the_longest(first, longest, failures):
    policy = RestartPolicy(first_delay=first, longest_delay=longest)
    fewer, more = (policy.delay(number) for number in failures)
    assert 0 <= fewer <= more <= longest
    assert policy.delay(1) == min(first, longest)
