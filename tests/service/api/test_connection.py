"""What is refused before a request is known: with a problem, beneath the application."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.api import metrics
from service.api.connection import bounded_protocol
from service.api.middleware import CUT_OFF
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
        self.headers = []

    async def __call__(self, scope, receive, send):
        self.paths.append(scope["path"])
        self.asked.set()
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        self.headers = list(scope["headers"])  # the server adds a trailer while the body comes
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
    """Status, code and whole text of the problem with which the connection ends."""
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert b"content-type: application/problem+json" in head
    assert problem["request_id"].encode() in head
    assert int(head.split()[1]) == problem["status"]
    return problem["status"], problem["code"], (head + body).decode()


async def test_bytes_that_are_not_http_are_answered_with_a_problem(application, caplog):
    counted = metrics.REQUESTS.labels(route="unmatched", code="400")
    before = counted._value.get()
    caplog.set_level(logging.INFO, "deepmedix.access")
    async with serving(application) as connect:
        reader, _ = await connect(b"GET /Jane Doe HTTP/9\r\n\r\n")
        status, code, text = await refusal(reader)
    assert (status, code) == (400, "malformed-http")
    assert "Jane" not in text + caplog.text
    (line,) = [record for record in caplog.records if record.name == "deepmedix.access"]
    assert line.request_id in text
    assert (line.status, line.code) == (400, "malformed-http")
    assert counted._value.get() == before + 1
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


@pytest.mark.parametrize("method", [b"BREW", b"get", b"FOO-BAR"])
async def test_a_method_that_http_does_not_have_is_501(application, method):
    async with serving(application) as connect:
        reader, _ = await connect(method + b" /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        status, code, text = await refusal(reader)
    assert (status, code) == (501, "unknown-method")
    assert "\r\nallow: GET, HEAD, POST\r\n" in text
    assert not application.paths


NO_HTTP = b"no HTTP at all\r\n\r\n"


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("requests", [1, 3])
async def test_what_is_no_http_after_requests_at_work_is_refused_when_they_are_answered(
    application, together, requests
):
    application.answer.clear()
    whole = (GET + b"\r\n") * requests
    async with serving(application) as connect:
        reader, writer = await connect(whole + NO_HTTP if together else whole)
        await application.asked.wait()
        if not together:
            writer.write(NO_HTTP)
            await writer.drain()
        application.answer.set()
        for _ in range(requests):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\nok")
        assert (await refusal(reader))[:2] == (400, "malformed-http")
    assert application.paths == ["/livez"] * requests


async def test_a_further_request_whose_body_is_no_http_is_refused_after_the_one_at_work(
    application,
):
    application.answer.clear()
    async with serving(application) as connect:
        reader, _ = await connect(GET + b"\r\n" + CHUNKED + b"no chunk\r\n")
        await application.asked.wait()
        application.answer.set()
        assert b" 200 " in await reader.readuntil(b"\r\n\r\nok")
        assert (await refusal(reader))[:2] == (400, "malformed-http")
    assert application.paths == ["/livez"]


async def untold_length(scope, receive, send):
    """Answers in two pieces, without a length."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"first ", "more_body": True})
    await send({"type": "http.response.body", "body": b"second"})


untold_length.answer = asyncio.Event()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_client_of_http_1_0_gets_no_chunks(version):
    async with serving(untold_length) as connect:
        head = b"GET / HTTP/" + version + b"\r\nHost: x\r\nConnection: close\r\n\r\n"
        reader, _ = await connect(head)
        told, _, body = (await reader.read()).partition(b"\r\n\r\n")
    chunked = version == b"1.1"
    assert (b"chunked" in told.lower()) is chunked
    assert (body == b"first second") is not chunked


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
        for _ in range(3):  # those that were refused make no room
            reader, _ = await connect(GET + b"\r\n")
            status, code, text = await refusal(reader)
            assert (status, code) == (503, "overloaded")
            assert "connections" in text
            assert "retry-after: 7\r\n" in text
        application.answer.set()
        assert b" 200 " in await working.read()


class UnreadReplies:
    """Answers every request with more and more, until the client is gone."""

    def __init__(self):
        self.answer = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/livez":
            await Application()(scope, receive, send)
            return
        self.state = scope["state"]
        leaving = asyncio.create_task(self._leaves(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not leaving.done():
            await send({"type": "http.response.body", "body": bytes(64 * KIB), "more_body": True})
            await asyncio.sleep(0)

    async def _leaves(self, receive):
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()


def unread(connect):
    """A connection with two requests, that reads nothing of their replies."""
    return connect((GET + b"\r\n").replace(b"/livez", b"/much") * 2)


async def test_a_client_that_reads_nothing_is_cut_off_and_what_waited_for_it_is_thrown_away(caplog):
    application = UnreadReplies()
    async with serving(application, send_timeout=0.1) as connect:
        reader, _ = await unread(connect)
        await application.gone.wait()
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert "a connection was cut off" in caplog.text
    assert application.state == {CUT_OFF: True}


async def test_over_the_most_connections_clients_that_read_nothing_give_way():
    application = UnreadReplies()
    async with serving(application, max_connections=3, send_timeout=3600) as connect:
        for _ in range(3):
            await unread(connect)
        status = b"503"
        while status == b"503":  # none of them has been stalled for long
            probe, writer = await connect(GET + b"Connection: close\r\n\r\n")
            status = (await probe.read()).split()[1]
            writer.close()
            await writer.wait_closed()
        assert status == b"200"


class Loop:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 1000.0
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, seconds, call):
        timer = asyncio.TimerHandle(self.now + seconds, call, (), self)
        self.timers.append(timer)
        return timer

    def get_debug(self):
        return False

    def _timer_handle_cancelled(self, timer):
        self.timers.remove(timer)

    def passes(self, seconds):
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.when() <= end]:
            timer = min(due, key=asyncio.TimerHandle.when)
            self.timers.remove(timer)
            self.now = timer.when()
            timer._run()
        self.now = end


class Transport(asyncio.Transport):
    """A connection whose client takes as much as a test says."""

    def __init__(self):
        super().__init__()
        self.waiting = 0
        self.end = None

    def get_write_buffer_size(self):
        return self.waiting

    def is_closing(self):
        return self.end is not None

    def close(self):
        self.end = self.end or "closed"

    def abort(self):
        self.end = "aborted"

    def write(self, data):
        self.waiting += len(data)

    def can_write_eof(self):
        return True

    def write_eof(self):
        pass


@pytest.fixture
def connected():
    """A function that connects to a server: gives the protocol and the transport."""
    loop, state = Loop(), ServerState()
    config = uvicorn.Config(Application(), log_config=None, ws="none", lifespan="off")
    protocol = bounded_protocol(Settings(send_timeout=30, max_connections=2, header_timeout=10**6))

    def connect():
        connection, transport = protocol(config, state, {}, _loop=loop), Transport()
        connection.connection_made(transport)
        return connection, transport

    connect.loop = loop
    return connect


def is_writing(connection, transport, size):
    """The reply to a request has so much of it waiting."""
    connection.cycle = SimpleNamespace(response_complete=False)
    transport.waiting = size
    connection.pause_writing()


def test_the_time_for_a_reply_is_given_anew_whenever_some_of_it_was_taken(connected):
    connection, transport = connected()
    is_writing(connection, transport, 320 * KIB)
    for _ in range(15):
        connected.loop.passes(29)
        transport.waiting -= 16 * KIB
        connected.loop.passes(1)
    assert transport.end is None
    connected.loop.passes(29)
    transport.waiting -= KIB  # as good as nothing
    assert transport.end is None
    connected.loop.passes(1)
    assert transport.end == "aborted"


def test_who_took_the_reply_may_be_silent(connected):
    connection, transport = connected()
    for _ in range(3):
        is_writing(connection, transport, 65 * KIB)
        connected.loop.passes(29)
        transport.waiting = KIB
        connection.resume_writing()
        connected.loop.passes(3600)
    assert transport.end is None


def test_what_is_left_when_a_connection_closes_must_be_taken_too(connected):
    connection, transport = connected()
    is_writing(connection, transport, 65 * KIB)
    transport.waiting = KIB
    transport.close()
    connection.resume_writing()
    connected.loop.passes(29)
    assert transport.end == "closed"
    connected.loop.passes(1)
    assert transport.end == "aborted"


def test_who_is_refused_must_take_what_is_left_too(connected):
    connection, transport = connected()
    transport.waiting = 60 * KIB  # of an earlier reply
    connection.data_received(b"no HTTP\r\n\r\n")
    connected.loop.passes(2)
    assert transport.end == "closed"
    connected.loop.passes(30)
    assert transport.end == "aborted"


def test_a_connection_is_quiet_when_its_client_takes_nothing(connected):
    connection, transport = connected()
    assert connection.quiet_since == 1000
    is_writing(connection, transport, 1000 * KIB)
    for _ in range(20):
        connected.loop.passes(0.4)
        transport.waiting -= 1
        assert connection.quiet_since is None
    connected.loop.passes(2)
    assert 1007 <= connection.quiet_since <= 1009


def test_the_connection_that_has_been_quiet_for_longest_gives_way(connected):
    _, idles = connected()
    connected.loop.passes(1)
    stalled, stalls = connected()
    is_writing(stalled, stalls, 65 * KIB)
    connected.loop.passes(1)
    connected()
    assert (idles.end, stalls.end) == ("aborted", None)
    is_writing(*connected(), 65 * KIB)
    assert stalls.end == "aborted"


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


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


class Echo:
    """Answers with the body that it was sent."""

    def __init__(self):
        self.answer = asyncio.Event()
        self.bodies = []

    async def __call__(self, scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append((scope["path"], body))
        length = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"ok"})


SMUGGLED = GET + b"\r\n"


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
        (
            b"Transfer-Encoding: chunked\r\n",
            b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n",
        ),
    ],
    ids=["length", "chunks"],
)
@pytest.mark.parametrize("cut", [0, 7, None], ids=["head", "piece", "whole"])
async def test_the_body_of_a_request_to_upgrade_is_its_body(framing, sent, cut):
    echo = Echo()
    head = b"POST /film HTTP/1.1\r\nHost: x\r\n" + UPGRADE + framing + b"\r\n"
    async with serving(echo) as connect:
        first = head + (sent if cut is None else sent[:cut])
        reader, writer = await connect(first)
        if cut is not None:
            await asyncio.sleep(0)
            writer.write(sent[cut:])
        writer.write(GET.replace(b"livez", b"next") + b"Connection: close\r\n\r\n")
        assert (await reader.read()).count(b" 200 ") == 2
    assert echo.bodies == [("/film", SMUGGLED), ("/next", b"")]


async def test_what_follows_a_request_to_upgrade_without_a_body_is_the_next_request():
    echo = Echo()
    first = b"GET /first HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n"
    async with serving(echo) as connect:
        reader, _ = await connect(first + GET + b"Connection: close\r\n\r\n")
        assert (await reader.read()).count(b" 200 ") == 2
    assert echo.bodies == [("/first", b""), ("/livez", b"")]


async def test_a_trailer_is_no_header(application):
    async with serving(application) as connect:
        reader, _ = await connect(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n0\r\nX-API-Key: trailer\r\nX-Forwarded-For: 10.1.1.1\r\n\r\n",
        )
        await application.asked.wait()
        application.answer.set()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert {name for name, _ in application.headers} == {b"host", b"transfer-encoding"}


def test_of_a_long_reply_more_must_be_taken(connected):
    connection, transport = connected()
    is_writing(connection, transport, 6400 * KIB)
    connected.loop.passes(29)
    transport.waiting -= 320 * KIB
    connected.loop.passes(1)
    assert transport.end is None
    connected.loop.passes(29)
    transport.waiting -= 319 * KIB
    connected.loop.passes(1)
    assert transport.end == "aborted"


async def refusing(scope, receive, send):
    """Answers before it has read the body."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body"})


refusing.answer = asyncio.Event()


async def test_who_was_answered_early_and_sends_no_more_is_hung_up_on_without_a_word():
    async with serving(refusing, header_timeout=0.2) as connect:
        reader, writer = await connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401")
        writer.write(b"12345678")  # the rest; an answer now would be taken for the next request's
        assert await reader.read() == b""


async def test_who_was_answered_early_and_goes_on_sending_is_hung_up_on():
    async with serving(refusing, header_timeout=0.2) as connect:
        reader, writer = await connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401")
        writer.write(b"y")
        assert await reader.read() == b""
