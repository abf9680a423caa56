"""On a real server and a loopback port: what the test transport cannot show."""

import asyncio
import json
import os
import socket
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn

from tests.service.scripted_engine import Script


@asynccontextmanager
async def serving(app):
    """The application behind uvicorn; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5, lifespan="on")
    )
    # Signals are the test runner's.
    task = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        while not hasattr(app.state, "service") or not app.state.service.started.is_set():
            await asyncio.wait({task}, timeout=0.01)
            assert not task.done()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_connection_that_closes_stops_the_generation(make_app, engine, film, accept):
    app = make_app()
    async with serving(app) as url:
        engine.say(Script(hold_after=2))
        engine.asked.clear()
        async with httpx.AsyncClient(base_url=url) as client:
            request = asyncio.create_task(
                client.post("/report", files={"image": film}, headers={"Accept": accept})
            )
            await engine.asked.wait()
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
        async with asyncio.timeout(20):
            await engine.gave_up.wait()
            while engine.running or app.state.service.admission.admitted:
                await asyncio.sleep(0)


async def test_what_can_be_got_can_be_asked_for_its_head(make_app):
    app = make_app()
    paths = [path for path, asked in app.openapi()["paths"].items() if "get" in asked]
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        for path in [*paths, "/openapi.json", "/docs"]:
            whole, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (whole.status_code, b""), path
            assert head.headers["content-type"] == whole.headers["content-type"]
        refused = await client.head("/report")
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


async def test_events_arrive_while_the_model_still_writes(make_app, engine, film):
    async with serving(make_app()) as url:
        release = asyncio.Event()
        engine.say(Script(hold_after=12, release=release))
        async with (
            asyncio.timeout(20),
            httpx.AsyncClient(base_url=url) as client,
            client.stream(
                "POST",
                "/report",
                files={"image": film},
                data={"sections": "findings"},
                headers={"Accept": "text/event-stream"},
            ) as reply,
        ):
            names = []
            async for line in reply.aiter_lines():
                if line.startswith("event: "):
                    names.append(line.removeprefix("event: "))
                    if names[-1] == "step":
                        assert engine.running == 1
                        release.set()
                if line.startswith("data: "):
                    json.loads(line.removeprefix("data: "))
        assert names[0] == "images"
        assert names[-1] == "reply"


async def test_an_upload_over_the_cap_is_answered_413(make_app, film):
    async with serving(make_app(max_body_bytes=100_000)) as url, httpx.AsyncClient() as client:

        async def chunks():
            for _ in range(64):
                yield bytes(65_536)

        reply = await client.post(
            f"{url}/report", content=chunks(), headers={"Content-Type": "image/png"}
        )
        assert (reply.status_code, reply.json()["code"]) == (413, "body-too-large")


async def test_an_upload_opens_no_file(make_app, film):
    """Looks at the process itself, not at our own code."""
    async with serving(make_app()) as url, httpx.AsyncClient(timeout=30) as client:
        folder = "/proc/self/fd"
        if not os.path.isdir(folder):
            pytest.skip("this system does not list open files")
        seen: set[str] = set()

        def look():
            for descriptor in os.listdir(folder):
                try:
                    seen.add(os.readlink(f"{folder}/{descriptor}"))
                except OSError:
                    continue

        look()
        before = {path for path in seen if path.startswith("/") and "(deleted)" in path}
        boundary = b"--b\r\nContent-Disposition: form-data; name=image; filename=x\r\n\r\n"

        async def chunks():
            yield boundary
            for _ in range(80):
                yield bytes(65_536)
                look()
            yield b"\r\n--b--\r\n"

        await client.post(
            f"{url}/report",
            content=chunks(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        look()
        after = {path for path in seen if path.startswith("/") and "(deleted)" in path}
        assert after == before
