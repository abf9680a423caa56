"""A real process of ``deepmedix serve``, ended by signals."""

import asyncio
import io
import os
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from PIL import Image

from service.api.connection import ProblemProtocol
from service.cli.serve import _Server
from service.cli.start_up import StartUp
from service.identity import KeyFile, Scope

HELD = {"indication": "Held.", "sections": "findings"}


async def start(**settings):
    """The process, its settings those named."""
    environment = {name: text for name, text in os.environ.items() if "DEEPMEDIX" not in name}
    settings = {"port": 0} | settings
    environment |= {f"DEEPMEDIX_{name.upper()}": str(value) for name, value in settings.items()}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.service.serving_process", "serve"),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def says(process, text):
    """Wait until the process says this, and return the line."""
    while True:
        line = (await process.stderr.readline()).decode()
        assert line, f"the process ended before it said {text}"
        if text in line:
            return line


@asynccontextmanager
async def serving(**settings):
    """The process, once it is ready, and a client of it; both are gone afterwards."""
    process = await start(**settings)
    try:
        url = None
        while url is None:
            line = (await process.stderr.readline()).decode()
            assert line, "the process ended before it was ready"
            if ready := re.search(r"ready on (http://[^\s\"]+)", line):
                url = ready[1]
        drained = asyncio.create_task(process.stderr.read())
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            yield process, client
        if process.returncode is None:
            process.kill()
        await drained
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def report(client, film, accept="application/json", **fields):
    return asyncio.create_task(
        client.post(
            "/report", files={"image": film}, data=HELD | fields, headers={"Accept": accept}
        )
    )


async def reaches(client, **figures):
    """Wait until the metrics page shows these figures."""
    while True:
        page = (await client.get("/metrics")).text.splitlines()
        if all(f"deepmedix_requests_{name} {value}.0" in page for name, value in figures.items()):
            return


@pytest.fixture
def film() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (256, 256)).save(buffer, format="PNG")
    return buffer.getvalue()


async def test_sigterm_fails_readiness_sends_waiting_away_and_finishes_what_works(film):
    async with serving(max_concurrency=1, shutdown_delay=0) as (process, client):
        working = report(client, film)
        await reaches(client, in_progress=1, waiting=0)
        waiting = report(client, film)
        await reaches(client, in_progress=2, waiting=1)
        process.send_signal(signal.SIGTERM)
        away = await waiting
        assert (away.status_code, away.json()["code"]) == (503, "shutting-down")
        assert int(away.headers["Retry-After"]) >= 1
        # The port is open for as long as anything works.
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
        late = await client.post("/report", files={"image": film})
        assert (late.status_code, late.json()["code"]) == (503, "shutting-down")
        process.send_signal(signal.SIGUSR1)
        assert (await working).status_code == 200
        assert await process.wait() == 0


async def test_without_authentication_another_sites_name_is_not_answered_to(film):
    """A web page can let its name resolve to 127.0.0.1."""
    async with serving(allowed_hosts="reader.example") as (_, client):
        for host, status in (
            (None, 200),
            (f"localhost:{client.base_url.port}", 200),
            ("reader.example", 200),
            ("rebound.example", 421),
        ):
            headers = {} if host is None else {"Host": host}
            assert (await client.get("/version", headers=headers)).status_code == status


async def test_a_process_that_cannot_be_killed_does_not_hold_up_the_end(monkeypatch):
    monkeypatch.setenv("CHILD_THAT_CANNOT_BE_KILLED", "1")
    async with serving(shutdown_delay=0) as (process, _):
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0


@asynccontextmanager
async def starting(monkeypatch, **settings):
    """The process in the midst of its start, which goes on when it gets a line."""
    monkeypatch.setenv("HELD_START", "1")
    process = await start(**settings)
    try:
        await says(process, "start is held")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("stopping", [signal.SIGTERM, signal.SIGINT])
async def test_a_start_is_stopped_at_once(monkeypatch, stopping):
    async with starting(monkeypatch) as process:
        process.send_signal(stopping)
        await says(process, "stopped while starting")
        assert await process.wait() == 0


async def test_sighup_during_the_start_is_obeyed_after_it(monkeypatch, tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    file.add("viewer", [Scope.READ])
    async with starting(monkeypatch, keys_file=file.path) as process:
        process.send_signal(signal.SIGHUP)
        process.stdin.write(b"\n")
        await says(process, "the key file was read again")


async def test_until_it_can_answer_connections_are_refused(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with starting(monkeypatch, port=port) as process:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        process.stdin.write(b"\n")
        line = await says(process, "listening on")
        assert f":{port}" in line
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


async def test_an_idle_service_is_seen_not_ready_before_its_port_closes():
    async with serving(shutdown_delay=1) as (process, client):
        process.send_signal(signal.SIGTERM)
        statuses = []
        with suppress(httpx.TransportError):  # the port closes
            while True:
                statuses.append((await client.get("/readyz")).status_code)
        assert set(statuses) <= {200, 503}
        assert statuses[-1] == 503
        assert await process.wait() == 0


async def test_what_is_not_finished_within_the_grace_gets_503(film):
    async with serving(shutdown_grace=0, shutdown_delay=0) as (process, client):
        plain, stream = report(client, film), report(client, film, "text/event-stream")
        await reaches(client, in_progress=2, waiting=0)
        process.send_signal(signal.SIGTERM)
        reply = await plain
        assert (reply.status_code, reply.json()["code"]) == (503, "shutting-down")
        last = (await stream).text.rpartition("event: ")[2]
        assert last.startswith("error\n")
        assert "shutting-down" in last
        assert await process.wait() == 0


async def test_a_second_signal_stops_now(film, monkeypatch):
    monkeypatch.setenv("ENGINE_THAT_NEVER_STOPS", "1")
    async with serving(shutdown_grace=600, shutdown_delay=0) as (process, client):
        working = report(client, film)
        await reaches(client, in_progress=1, waiting=0)
        process.send_signal(signal.SIGTERM)
        while (await client.get("/readyz")).status_code == 200:
            pass
        process.send_signal(signal.SIGTERM)
        reply = await working
        assert (reply.status_code, reply.json()["code"]) == (503, "shutting-down")
        assert await process.wait() == 128 + signal.SIGTERM


async def test_a_second_signal_stops_an_idle_service_whose_engine_hangs(monkeypatch):
    monkeypatch.setenv("ENGINE_THAT_NEVER_STOPS", "1")
    async with serving(shutdown_delay=0) as (process, client):
        process.send_signal(signal.SIGTERM)
        with suppress(httpx.TransportError):  # the port closes, and the engine's stop begins
            while True:
                await client.get("/livez")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("grace", [600, 0])
async def test_what_a_slow_client_has_not_taken_yet_has_the_grace_too(grace):
    """Of the server alone: that a client is slow takes seconds to show."""

    class Service:
        settings = SimpleNamespace(shutdown_grace=grace, shutdown_delay=0)

        def drain(self) -> None: ...

        async def finish(self, grace: float) -> None: ...

    class Connection(ProblemProtocol):
        looks = 0

        def __init__(self) -> None: ...

        @property
        def has_sent_all(self) -> bool:
            self.looks += 1
            return self.looks == 3

    server = _Server(uvicorn.Config(None), Service(), StartUp(), "http://here")
    slow = Connection()
    server.server_state.connections.add(slow)
    server._stop(signal.SIGTERM)
    await server._stopping
    assert server.should_exit
    assert slow.looks == (3 if grace else 0)


@pytest.mark.parametrize(("timeout", "status"), [(0.5, 1), (600, 0)], ids=["too late", "SIGTERM"])
async def test_a_driver_that_hangs_at_the_start_does_not_keep_the_process(
    monkeypatch, timeout, status
):
    monkeypatch.setenv("HANGING_DRIVER", "1")
    process = await start(engine_start_timeout=timeout)
    if timeout == 600:
        await says(process, "starting the engine")
        process.terminate()
    else:
        await says(process, "did not start within 0.5 s")
    await says(process, "cannot be given up")
    await process.stderr.read()
    assert await process.wait() == status
