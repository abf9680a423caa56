"""What is refused before a request is known: with a problem, beneath the application."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
import uvicorn

from service.api.connection import bounded_protocol
from service.settings import Settings

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
KIB = 1024


class Application:
    """Answers 200 to what it is sent, once it is let."""

    def __init__(self):
        self.answer = asyncio.Event()
        self.answer.set()
        self.asked = asyncio.Event()
        self.paths = []

    async def __call__(self, scope, receive, send):
        self.paths.append(scope["path"])
        self.asked.set()
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        if message["type"] == "http.disconnect":
            return
        await self.answer.wait()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
        )
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def application():
    return Application()


@asynccontextmanager
async def serving(application, **settings):
    """A server with these bounds; gives a function that connects to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        log_config=None,
        http=bounded_protocol(Settings(**settings)),
        ws="none",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve(sockets=[listener]))  # signals are pytest's
    writers = []

    async def connect(*pieces):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writers.append(writer)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return reader, writer

    try:
        async with asyncio.timeout(30):
            yield connect
    finally:
        application.answer.set()
        for writer in writers:
            writer.close()
        server.should_exit = True
        await task


async def refusal(reader):
    """Status, code and headers of the problem with which the connection ends."""
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert b"content-type: application/problem+json" in head
    assert problem["request_id"].encode() in head
    assert int(head.split()[1]) == problem["status"]
    return problem["status"], problem["code"], head.decode()


async def test_bytes_that_are_not_http_are_answered_with_a_problem(application):
    async with serving(application) as connect:
        reader, _ = await connect(b"GET /Jane Doe HTTP/9\r\n\r\n")
        status, code, head = await refusal(reader)
    assert (status, code) == (400, "malformed-http")
    assert "Jane" not in head
    assert not application.paths


@pytest.mark.parametrize(
    "pieces",
    [
        [GET, b"A: ", *[b"a" * KIB] * 100],
        [GET + b"A: " + b"a" * 100 * KIB + b"\r\n\r\n"],
        [GET, *[b"A: " + b"a" * 500 + b"\r\n"] * 200],
        [b"GET /", *[b"a" * KIB] * 100],
        [b"GET /?" + b"a" * 100 * KIB + b" HTTP/1.1\r\n\r\n"],
        [b"\r\n" * 50 * KIB],
        [CHUNKED, b"1\r\nx\r\n0\r\nA: ", *[b"a" * KIB] * 1024],
        [CHUNKED, b"1;", *[b"a" * KIB] * 1024],
    ],
    ids=["piecemeal", "whole", "many", "line", "query", "blank", "trailer", "chunk extension"],
)
async def test_a_head_over_the_cap_is_431(application, pieces):
    async with serving(application) as connect:
        reader, _ = await connect(*pieces)
        assert (await refusal(reader))[:2] == (431, "headers-too-large")


async def test_a_head_within_the_cap_and_a_body_beyond_it_are_taken(application):
    async with serving(application) as connect:
        body = b"x" * 300 * KIB
        reader, writer = await connect(
            b"POST / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 60 * KIB + b"\r\n",
            b"Content-Length: %d\r\n\r\n" % len(body) + body,
        )
        assert b" 200 " in await reader.readuntil(b"\r\n\r\nok")
        writer.write(GET + b"Connection: close\r\n\r\n")
        assert b" 200 " in await reader.read()


@pytest.mark.parametrize("sent", [b"", GET, b"\r\n"], ids=["silent", "half a head", "blank"])
async def test_a_head_that_does_not_come_in_time_is_408(application, sent):
    async with serving(application, header_timeout=0.1) as connect:
        reader, _ = await connect(sent)
        assert (await refusal(reader))[:2] == (408, "header-timeout")


async def test_the_head_of_a_further_request_is_timed_too(application):
    async with serving(application, header_timeout=0.1) as connect:
        reader, writer = await connect(GET + b"\r\n")
        assert b" 200 " in await reader.readuntil(b"\r\n\r\nok")
        writer.write(GET)
        assert (await refusal(reader))[:2] == (408, "header-timeout")


async def test_a_request_at_work_is_not_timed_by_its_head(application):
    application.answer.clear()
    async with serving(application, header_timeout=0.05) as connect:
        reader, _ = await connect(GET + b"\r\n", b"\r\n", GET)  # and half of another
        await application.asked.wait()
        late, _ = await connect()
        assert (await refusal(late))[0] == 408  # so its time has passed here, too
        application.answer.set()
        assert b" 200 " in await reader.readuntil(b"\r\n\r\nok")


async def test_over_the_most_connections_the_one_that_idles_longest_gives_way(application):
    async with serving(application, max_connections=2) as connect:
        oldest, _ = await connect(GET)
        newer, writer = await connect(GET)
        probe, _ = await connect(GET + b"Connection: close\r\n\r\n")
        assert b" 200 " in await probe.read()
        assert await oldest.read() == b""
        writer.write(b"Connection: close\r\n\r\n")
        assert b" 200 " in await newer.read()


async def test_where_every_connection_has_a_request_at_work_a_further_one_is_503(application):
    application.answer.clear()
    async with serving(application, max_connections=1, retry_after=7) as connect:
        working, _ = await connect(GET + b"Connection: close\r\n\r\n")
        await application.asked.wait()
        reader, _ = await connect(GET + b"\r\n")
        status, code, head = await refusal(reader)
        assert (status, code) == (503, "overloaded")
        assert "retry-after: 7\r\n" in head
        application.answer.set()
        assert b" 200 " in await working.read()


async def test_a_request_to_upgrade_is_a_request(application, caplog):
    async with serving(application) as connect:
        reader, _ = await connect(
            GET
            + b"Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 200 " in await reader.read()
    assert application.paths == ["/livez"]
    assert "websocket" not in caplog.text.lower()
