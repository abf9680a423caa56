"""A caller that leaves, over a real socket: the real engine's own numbers say that it stops."""

from __future__ import annotations

import asyncio
import io

import httpx
import pytest
from PIL import Image
from prometheus_client import REGISTRY, generate_latest
from starlette.middleware.base import BaseHTTPMiddleware

from service.api.problems import deadline_exceeded
from service.app import create_app
from service.interpretation import StudyRequest, estimated_tokens, interpret
from service.radiograph import RadiographDecoder
from service.settings import Settings
from tests.integration.running_engine import RunningEngine
from tests.service.api.test_server import serving

LONG = {"decoding": "free", "temperature": "1.5", "seed": "3"}


class PassThrough:
    """A pure ASGI layer that wraps both channels, as an operator's own may."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def received():
            return await receive()

        async def sent(message):
            await send(message)

        await self._app(scope, received, sent)


class Dispatching(BaseHTTPMiddleware):
    """Starlette's own base, which puts a queue between application and server."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


@pytest.fixture(params=[(), (PassThrough,), (Dispatching,), (Dispatching, PassThrough)], ids=len)
def app(request, engine):
    app = create_app(Settings(max_concurrency=1), engine=RunningEngine(engine))
    for layer in request.param:
        app.add_middleware(layer)
    return app


@pytest.fixture(scope="module")
def film() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, format="PNG")
    return buffer.getvalue()


def ended(code: str) -> float:
    """Reports that ended with a status so far."""
    labels = {"route": "/report", "code": code}
    return REGISTRY.get_sample_value("deepmedix_requests_total", labels) or 0.0


def engines(name: str) -> float:
    """A figure of vLLM's own metrics, over all its labels."""
    lines = generate_latest(REGISTRY).decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


def ask(client, film, accept="application/json"):
    return asyncio.create_task(
        client.post("/report", files={"image": film}, data=LONG, headers={"Accept": accept})
    )


async def leave(request) -> None:
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_its_generation_is_aborted(engine, app, film, accept):
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        answered, left = ended("200"), ended("499")
        request = ask(client, film, accept)
        await until(engine.unfinished_requests)
        await until(lambda: engines("vllm:num_requests_running{") > 0)
        await leave(request)
        await until(lambda: ended("499") == left + 1)
        assert engine.unfinished_requests() == 0
        assert ended("200") == answered
        assert app.state.service.admission.admitted == 0
        # vLLM counts what runs at each of its steps, so it takes one to see that nothing does.
        await client.post("/report", files={"image": film}, data={"max_tokens": "1"})
        await until(lambda: engines("vllm:num_requests_running{") == 0)


async def test_its_request_leaves_the_queue(engine, app, film):
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        admission = app.state.service.admission
        working = ask(client, film)
        await until(engine.unfinished_requests)
        waiting = ask(client, film)
        await until(lambda: admission.admitted == 2)
        left = ended("499")
        await leave(waiting)
        await until(lambda: ended("499") == left + 1)
        assert (admission.admitted, admission.at_work) == (1, 1)
        await leave(working)
        await until(lambda: admission.admitted == 0)
        assert engine.unfinished_requests() == 0


async def test_half_a_body_frees_its_place(engine, app):
    async with serving(app) as url:
        admission = app.state.service.admission
        _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(
            b"POST /report HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            b"Content-Length: 1000000\r\n\r\n" + bytes(1000)
        )
        await until(lambda: admission.admitted == 1)
        left = ended("499")
        writer.close()
        await until(lambda: admission.admitted == 0)
        await until(lambda: ended("499") == left + 1)


async def test_a_deadline_that_passes_aborts_the_generation(engine, app, film):
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        late = ask(client, film)
        await until(engine.unfinished_requests)
        # The timer's own call, made when the engine is known to be at work.
        (place,) = app.state.service.admission._places
        place.ending.end(deadline_exceeded())
        reply = await late
        assert (reply.status_code, reply.json()["code"]) == (504, "deadline-exceeded")
        assert engine.unfinished_requests() == 0
        assert app.state.service.admission.admitted == 0


async def test_the_estimate_covers_what_the_engine_counts(engine, film):
    decoder = RadiographDecoder()
    await decoder.start()
    try:
        request = StudyRequest(films=(film,), max_tokens=16)
        usage = (await interpret(request, decoder=decoder, engine=engine)).usage
    finally:
        await decoder.close()
    counted = usage.prompt_tokens + usage.completion_tokens
    estimate = estimated_tokens(request, engine.manifest)
    assert counted <= estimate <= 2 * counted
