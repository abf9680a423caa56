"""What callers see of an engine that dies, over HTTP, with an engine that does so when told to."""

import asyncio
import json

import httpx
import pytest

from service.api.service import State
from service.app import create_app
from service.cli.serve import _announce
from service.engine import EngineState, RestartPolicy, SupervisedEngine
from service.settings import Settings
from tests.service.api.conftest import OpenDecoder, running
from tests.service.mortal_engine import MortalEngine, PassingTime, settled

FAILED = (503, "engine-unavailable")


class Failing:
    """An application over an engine that a test lets die."""

    def __init__(self, decoder, **policy):
        self.time = PassingTime()
        self.engine = MortalEngine()
        self.warming: asyncio.Event | None = None
        supervised = SupervisedEngine(
            self.engine,
            self._warm_up,
            RestartPolicy(**policy),
            clock=self.time,
            sleep=self.time.sleep,
        )
        self.app = create_app(Settings(), engine=supervised, decoder=OpenDecoder(decoder))
        self.service = self.app.state.service

    async def _warm_up(self, engine):
        if self.warming is not None:
            await self.warming.wait()

    async def at_work(self, requests: int) -> None:
        async with asyncio.timeout(20):
            while self.engine.running < requests:
                await asyncio.sleep(0)


@pytest.fixture
def failing(decoder):
    return lambda **policy: Failing(decoder, **policy)


def told(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json().get("code")


async def test_requests_at_work_get_a_503_and_the_next_ones_too_until_it_runs_again(failing, film):
    failing = failing(first_delay=7)
    async with running(failing.app) as client:
        failing.engine.say_until_lost()
        report = asyncio.create_task(
            client.post("/report", files={"image": film}, data={"sections": "findings"})
        )
        await failing.at_work(1)
        failing.engine.die()
        lost = await report
        assert told(lost) == FAILED
        assert lost.headers["Retry-After"] == "7"
        assert told(await client.get("/readyz")) == FAILED
        assert (await client.get("/livez")).status_code == 200
        late = await client.post("/report", files={"image": film})
        assert told(late) == FAILED
        assert late.headers["Retry-After"] == "7"
        failing.engine._rules.clear()
        await failing.time.passes(8)
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/report", files={"image": film})).status_code == 200


async def test_an_event_stream_ends_with_an_error(failing, film):
    failing = failing()
    async with running(failing.app) as client:
        failing.engine.say_until_lost()
        report = asyncio.create_task(
            client.post("/report", files={"image": film}, headers={"Accept": "text/event-stream"})
        )
        await failing.at_work(1)
        failing.engine.die()
        events = (await report).text.strip().split("\n\n")
        name, data = events[-1].splitlines()
        assert name == "event: error"
        assert json.loads(data.removeprefix("data: "))["code"] == "engine-unavailable"


async def test_it_is_not_ready_before_the_new_engine_is_warm(failing):
    failing = failing(first_delay=0)
    async with running(failing.app) as client:
        failing.warming = asyncio.Event()
        failing.engine.die()
        await failing.time.passes(1)
        assert failing.engine.happened.count("start") == 2
        assert told(await client.get("/readyz")) == FAILED
        failing.warming.set()
        await settled()
        assert (await client.get("/readyz")).status_code == 200


async def test_a_hanging_engine_fails_the_readiness_probe_within_two_seconds(failing):
    failing = failing()
    async with running(failing.app) as client:
        await failing.time.passes(5)
        failing.engine.hanging = True
        await failing.time.passes(1.75)
        assert told(await client.get("/readyz")) == FAILED
        assert "deepmedix_ready 0.0" in (await client.get("/metrics")).text


async def test_newcomers_are_refused_while_the_engine_hangs(failing, film):
    failing = failing(first_delay=3)
    async with running(failing.app) as client:
        failing.engine.hanging = True
        await failing.time.passes(3)
        assert (await client.post("/report", files={"image": film})).status_code == 200
        await failing.time.passes(3)
        refused = await client.post("/report", files={"image": film})
        assert told(refused) == FAILED
        assert 1 <= int(refused.headers["Retry-After"]) <= failing.engine.longest_step
        failing.engine.beat_answered()
        await failing.time.passes(1)
        assert (await client.post("/report", files={"image": film})).status_code == 200


async def test_an_engine_that_is_given_up_ends_the_server_with_a_failure(failing, film):
    class Server:
        should_exit = False

    failing = failing(restarts=0)
    server = Server()
    async with running(failing.app) as client:
        announcing = asyncio.create_task(_announce(failing.service, server, "http://test"))
        await settled()
        assert not server.should_exit
        failing.engine.die()
        await announcing
        assert server.should_exit
        assert failing.service.failure is not None
        assert told(await client.get("/readyz")) == (503, "shutting-down")
        assert told(await client.post("/report", files={"image": film})) == (503, "shutting-down")


async def test_who_waits_for_a_film_when_the_engine_is_given_up_is_told(failing, film):
    class Server:
        should_exit = False

    failing = failing(restarts=0)
    async with running(failing.app) as client:
        opening = asyncio.Event()

        async def load(*_, **__):
            opening.set()
            await asyncio.Event().wait()

        failing.service.decoder.load = load
        announcing = asyncio.create_task(_announce(failing.service, Server(), "http://test"))
        for path in ("/report", "/render"):
            opening.clear()
            waiting = asyncio.create_task(client.post(path, files={"image": film}))
            await opening.wait()
            if path == "/report":
                first = waiting
        failing.engine.die()
        await announcing
        for reply in (await first, await waiting):
            assert told(reply) == (503, "shutting-down")
            assert "Retry-After" in reply.headers


async def test_an_engine_that_dies_while_the_service_drains_is_not_started_again(failing, film):
    failing = failing(first_delay=0)
    async with running(failing.app) as client:
        failing.engine.say_until_lost()
        report = asyncio.create_task(client.post("/report", files={"image": film}))
        await failing.at_work(1)
        failing.service.drain()
        failing.engine.die()
        assert told(await report) == FAILED
        await failing.time.passes(100)
        assert failing.engine.happened.count("start") == 1
        assert failing.service.state is State.DRAINING
        assert failing.service.failure is None


async def test_an_engine_that_dies_during_the_start_fails_the_start(failing):
    failing = failing(first_delay=0)
    failing.engine.say_until_lost()
    async with failing.app.router.lifespan_context(failing.app):
        await failing.at_work(1)
        failing.engine.die()
        await failing.service.started.wait()
        assert failing.service.state is State.FAILED
        await failing.time.passes(10)
        assert failing.service.state is State.FAILED


async def test_the_engines_state_is_on_the_metrics_page(failing):
    failing = failing()
    async with running(failing.app) as client:
        assert "deepmedix_engine_up 1.0" in (await client.get("/metrics")).text
        failing.engine.die()
        await settled()
        page = (await client.get("/metrics")).text
        assert "deepmedix_engine_up 0.0" in page
        assert "deepmedix_ready 0.0" in page
        assert failing.service.engine.state is EngineState.RESTARTING
        await failing.time.passes(2)
        page = (await client.get("/metrics")).text
        assert "deepmedix_ready 1.0" in page
        assert 'deepmedix_engine_restarts_total{reason="death"}' in page
