"""The engine's process killed and stopped under a served service, and what the callers see of it.

One service for the file, in a process of its own. The tests go through its failures in turn: each
waits until it is ready again, and the last one uses up its restarts.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from pydicom.data import get_testdata_file

ROOT = Path(__file__).parents[2]
FILMS = ("RG1_J2KR.dcm", "RG1_J2KI.dcm")
SLOW = 300  # seconds within which anything here ends, also on a busy machine
STALL_TIMEOUT = 6  # seconds of silence after which an engine is given up
NOTICED = 10
"""Seconds within which ``/readyz`` says that the engine is gone.

`make chaos` allows two, with processor time to spare; on a busy machine 2.2 were measured, and this
allows more than four times as many. It is far less than `SLOW`: what is noticed too late fails.
"""

pytestmark = pytest.mark.timeout(SLOW)


class Served:
    """``deepmedix serve`` on a free port, with what it says on standard error."""

    def __init__(self, folder: Path) -> None:
        settings = {
            "DEEPMEDIX_PORT": "0",
            "DEEPMEDIX_ENGINE_RESTARTS": "2",
            "DEEPMEDIX_ENGINE_RESTART_DELAY": "0.1",
            "DEEPMEDIX_ENGINE_STALL_TIMEOUT": str(STALL_TIMEOUT),
            "TMPDIR": str(folder),
            "PYTHONPATH": str(ROOT),
        }
        self.folder = folder
        self.log = folder.with_suffix(".log")
        with self.log.open("w") as log:
            self.process = psutil.Popen(
                [sys.executable, "-c", "from service.cli import main; main()", "serve"],
                env=os.environ | settings,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def cores(self) -> list[psutil.Process]:
        """The engine's processes, by the titles that they have while they start and after."""
        found = []
        for child in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if re.search("EngineCore|spawn_main", " ".join(child.cmdline())):
                    found.append(child)
        return found

    async def until(self, condition) -> None:
        async with asyncio.timeout(SLOW):
            while not condition():
                assert self.process.poll() is None, self.said
                await asyncio.sleep(0.1)  # a process of its own: there is no event to wait for

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[httpx.AsyncClient]:
        """Wait until it answers, and give a client of it."""
        await self.until(lambda: "ready on http" in self.said)
        address = re.search(r"ready on (http://[0-9.]+:\d+)", self.said)
        assert address is not None
        async with httpx.AsyncClient(base_url=address[1], timeout=SLOW) as client:
            await until_status(client, 200)
            yield client


async def until_status(
    client: httpx.AsyncClient, status: int, *, within: float = SLOW
) -> httpx.Response:
    async with asyncio.timeout(within):
        while (reply := await client.get("/readyz")).status_code != status:
            await asyncio.sleep(0.1)
        return reply


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("served"))
    yield served
    if served.process.poll() is None:
        served.process.terminate()
        served.process.wait(timeout=SLOW)


def film(name: str = FILMS[0]) -> bytes:
    path = get_testdata_file(name)
    assert path is not None
    return Path(path).read_bytes()


async def report(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    return await client.post("/report", files={"image": film()}, data=fields)


async def reading(client: httpx.AsyncClient) -> dict:
    reply = await report(client, temperature="0")
    assert reply.status_code == 200, reply.text
    told = reply.json()
    return {key: told[key] for key in ("report", "reasoning", "warnings", "usage")}


async def streamed(client: httpx.AsyncClient, asked: asyncio.Event) -> list[tuple[str, dict]]:
    events: list[tuple[str, dict]] = []
    async with client.stream(
        "POST", "/report", files={"image": film()}, headers={"Accept": "text/event-stream"}
    ) as reply:
        name = ""
        async for line in reply.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
                asked.set()
    return events


async def during_requests(client: httpx.AsyncClient, happen) -> None:
    """Let something happen to the engine while it works, and see that every caller is told."""
    asked = asyncio.Event()
    stream = asyncio.create_task(streamed(client, asked))
    await asked.wait()
    plain = [asyncio.create_task(report(client, seed=str(seed))) for seed in range(8)]
    page = ""
    while "deepmedix_requests_in_progress 9.0" not in page:
        page = (await client.get("/metrics")).text
    await happen([stream, *plain])
    events = await stream
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "engine-unavailable"
    for reply in await asyncio.gather(*plain):
        assert reply.status_code == 503
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["code"] == "engine-unavailable"
        assert int(reply.headers["Retry-After"]) >= 1


def metric(page: str, line: str) -> float:
    found = re.findall(rf"^{re.escape(line)} (\S+)$", page, re.M)
    assert len(found) == 1, line
    return float(found[0])


def resources(served: Served) -> dict[str, int]:
    process = served.process
    return {
        # But for the callers' connections, which stay open for a while.
        "descriptors": process.num_fds() - len(process.net_connections(kind="tcp")),
        "processes": len(process.children(recursive=True)),
        "temporary files": len(list(served.folder.rglob("*"))),
    }


async def test_an_engine_that_is_killed_is_replaced_and_reads_as_before(served):
    async with served.ready() as client:
        before = await reading(client)
        (core,) = served.cores

        async def kill(requests):
            core.kill()
            await until_status(client, 503, within=NOTICED)

        await during_requests(client, kill)
        refused = await client.get("/readyz")
        assert (refused.status_code, refused.json()["code"]) == (503, "engine-unavailable")
        refused = await report(client)
        assert (refused.status_code, refused.json()["code"]) == (503, "engine-unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await client.get("/livez")).status_code == 200
        await until_status(client, 200)
        assert await reading(client) == before
        assert not core.is_running()
        page = (await client.get("/metrics")).text
    assert metric(page, 'deepmedix_engine_restarts_total{reason="death"}') == 1
    assert metric(page, "deepmedix_engine_up") == 1
    model = 'engine="0",model_name="deepmedix-r1-embedded"'
    assert metric(page, f"vllm:generation_tokens_total{{{model}}}") > 0


async def test_an_engine_that_hangs_is_replaced_and_reads_as_before(served):
    async with served.ready() as client:
        before = await reading(client)
        (core,) = served.cores
        held, threads = resources(served), served.process.num_threads()

        async def stall(requests):
            core.suspend()
            # A machine whose steps are long is given twice the longest, and at last the timeout.
            refused = await until_status(client, 503, within=STALL_TIMEOUT + NOTICED)
            assert refused.json()["code"] == "engine-unavailable"
            # Not ready although nobody has given the engine up yet.
            assert not any(request.done() for request in requests)

        await during_requests(client, stall)
        await until_status(client, 200)
        assert await reading(client) == before
        assert not core.is_running()
        page = (await client.get("/metrics")).text
        for name, count in resources(served).items():
            assert count <= held[name], name
        # asyncio's own pool grows up to its bound, whatever happens here.
        assert served.process.num_threads() <= threads + (os.cpu_count() or 1) + 4
    assert metric(page, 'deepmedix_engine_restarts_total{reason="stall"}') == 1


async def test_an_engine_that_dies_again_and_again_ends_the_service_with_a_failure(served):
    while served.process.poll() is None:
        async with served.ready():
            pass
        killed = served.cores
        for core in killed:
            core.kill()
        await served_or_ended(served, killed)
    assert served.process.returncode == 1
    assert "the service gives up" in served.said
    assert "the engine failed 3 times" in served.said
    left = [*served.folder.glob("dmx-*"), *served.folder.glob("vllm*")]
    assert left == []


async def served_or_ended(served: Served, killed: list[psutil.Process]) -> None:
    """Wait until the service has another engine, or has ended."""
    async with asyncio.timeout(SLOW):
        while served.process.poll() is None and not set(served.cores) - set(killed):
            await asyncio.sleep(0.1)


async def test_no_engine_outlives_a_service_that_is_killed(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("killed"))
    await served.until(lambda: served.cores)
    (core,) = served.cores
    served.process.kill()
    served.process.wait()
    async with asyncio.timeout(SLOW):
        while core.is_running() and core.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.1)
