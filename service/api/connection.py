"""What comes before a request and after it: heads bounded in size and time, connections in number.

What is refused here, the application never sees, and it gets a problem all the same. Nothing is
known of the caller yet, so nothing of what it sent is kept. A client that does not read its reply
is cut off.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import re
import socket
import struct
import sys
import termios
import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.api import metrics
from service.api.middleware import ACCESS, CUT_OFF, UNMATCHED
from service.api.problems import (
    MEDIA_TYPE,
    document,
    header_timeout,
    headers_too_large,
    malformed_http,
    too_many_connections,
    unknown_method,
)
from service.audit import AddressPolicy
from service.problem import Problem
from service.settings import Settings

LOG = logging.getLogger("deepmedix")

_AT_ONCE = struct.pack("ii", 1, 0)
"""``SO_LINGER`` (socket(7)): closed with a reset, whatever was not taken."""

_LINGER = 2.0
"""Seconds that a refused client gets to read why, while what it still sends is thrown away."""

_LEAST_TAKEN = 16 * 1024
"""Bytes of a reply within the time that a client has for them; fewer are as good as none."""

_PERIODS = 20
"""Times that long, and a client must have taken all that waited for it, however much it was."""


_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} \S+ HTTP/[0-9]")
"""A request line that begins as RFC 9112, section 3, has it."""


class ProblemProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, with the bounds that it lacks, and problems for plain text.

    A head is the request line and the headers; what stands between the chunks of a body and after
    them (RFC 9112, section 7.1) is bounded with it.

    Attributes
    ----------
    max_header_bytes
        Most bytes of a head; beyond: ``headers-too-large`` (431).
    header_timeout
        Seconds from the connection, or from a further request's first byte, to the end of its
        head; beyond: ``header-timeout`` (408).
    max_connections
        Most open connections. Beyond, the one that has been quiet for longest gives way, so that
        probes get in; where none is: ``overloaded`` (503).
    send_timeout
        Seconds in which a client must take 16 KiB of what waits for it, a twentieth where that is
        more, or all of it; beyond, it is cut off.
    stalled_after
        Seconds without a byte taken of what waits after which a connection is quiet.
    retry_after
        Seconds that this 503 asks to wait.
    addresses
        How much of a client's address is told of a TLS handshake that fails.
    """

    max_header_bytes = 64 * 1024
    header_timeout = 10.0
    max_connections = 512
    send_timeout = 30.0
    stalled_after = 0.5
    retry_after = 5
    addresses = AddressPolicy.FULL

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.parser = _WithoutUpgrades(self)  # type: ignore[assignment]  # has what uvicorn asks of it
        self._upgrading = self._priming = False  # see _WithoutUpgrades
        self._head_bytes = 0  # of the head that the parser has given
        self._unread_bytes = 0  # received, and not given by the parser yet
        self._progress = False
        self._in_head = self._in_body = False
        self._names_a_method = False  # what came last begins with a line of a request
        self._waiting_since = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None  # looks at what the client takes
        self._untaken = 0
        self._least = _LEAST_TAKEN
        self._taken_at = 0.0
        self._period: tuple[float, int] = (0.0, 0)  # its begin, and what waited then
        self._at_work: RequestResponseCycle | None = None  # `cycle` is the last that came
        self._refusal: Problem | None = None
        self._refused = False
        self._due: Problem | None = None  # to be told when the requests before it are answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection, if need be in the place of one that waits."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            quiet = [
                (since, id(other), other)
                for other in self.connections
                if isinstance(other, ProblemProtocol)
                and other is not self
                and (since := other.quiet_since) is not None
            ]
            if not quiet:
                self._refuse(too_many_connections(self.retry_after))
                return
            min(quiet)[-1].give_way()
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        self._stop_looking()
        if self._at_work is not None:
            self._at_work.disconnected = True
            self._at_work.message_event.set()
        super().connection_lost(exc)

    @property
    def waits(self) -> bool:
        """Whether no request of this connection is at work."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def has_sent_all(self) -> bool:
        """Whether no request of this connection is at work, and the kernel has all replies."""
        return self.waits and not self.transport.get_write_buffer_size()

    @property
    def quiet_since(self) -> float | None:
        """Since when there is nothing to do for the client, or it takes nothing; else ``None``."""
        if self._sending is not None:
            stalled = self.loop.time() - self._taken_at >= self.stalled_after
            return self._taken_at if stalled else None
        return self._waiting_since if self.waits else None

    def give_way(self) -> None:
        """Close the connection for another's sake."""
        self.connections.discard(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on, within the bounds."""
        if self._refused:
            return
        self._progress = False
        if not (self._in_head or self._in_body):
            self._names_a_method = _METHOD.match(data) is not None
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        # What the parser has taken and not given yet is what it holds in memory.
        self._unread_bytes = 0 if self._progress else self._unread_bytes + len(data)
        if self._unread_bytes > self.max_header_bytes:
            self._refuse(headers_too_large(self.max_header_bytes))
        elif self._timer is None and (self._in_head or self.waits):
            self._start_timer()

    def parser_of_the_body(self) -> httptools.HttpRequestParser:
        """Return a parser that has read the head of a request to upgrade as that of any other."""
        parser = httptools.HttpRequestParser(self)
        names = {name for name, _ in self.headers}
        length = next((value for name, value in self.headers if name == b"content-length"), b"0")
        chunked = b"transfer-encoding" in names
        body = b"transfer-encoding: chunked" if chunked else b"content-length: " + length
        self._upgrading, self._priming = False, True
        try:
            parser.feed_data(b"POST / HTTP/1.1\r\n" + body + b"\r\n\r\n")
        finally:
            self._priming = False
        return parser

    def on_message_begin(self) -> None:
        """Begin a head."""
        if self._priming:
            return
        super().on_message_begin()
        self._head_bytes = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        if self._priming:
            return
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header. A trailer comes here too, and is no header (RFC 9110, section 6.5)."""
        if self._priming:
            return
        self._count(len(name) + len(value) + len(b": \r\n"))
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the head."""
        if self._priming:
            return
        self._upgrading = self.parser.stops_here()  # type: ignore[attr-defined]  # ours
        self._in_head, self._in_body = False, True
        self._names_a_method = False
        self._progress = True
        self._stop_timer()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._at_work = cycle
        super()._start_asgi_task(cycle, _until_closed(cycle, app) if _is_old(cycle) else app)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        if self._upgrading:  # the parser stops at the head, whatever follows
            return
        self._in_body = False
        self._progress = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._waiting_since = self.loop.time()
        super().on_response_complete()
        if self._due is not None and self.waits and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._hang_up(self._due)
        self._look_after_the_rest()

    def pause_writing(self) -> None:
        """Look at what the client takes of what waits for it."""
        super().pause_writing()
        self._start_looking()

    def resume_writing(self) -> None:
        """Write on."""
        super().resume_writing()
        self._stop_looking()
        self._look_after_the_rest()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without a further request."""
        super().timeout_keep_alive_handler()
        self._look_after_the_rest()

    def send_400_response(self, msg: str) -> None:
        """Answer and hang up; what was wrong is not told, as it may be the caller's text."""
        unknown = isinstance(sys.exception(), httptools.HttpParserInvalidMethodError)
        known = unknown_method() if unknown and self._names_a_method else malformed_http()
        self._refuse(self._refusal or known)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a request to upgrade is answered as if it were none (RFC 9110, 7.8)."""

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.max_header_bytes:
            self._refusal = headers_too_large(self.max_header_bytes)
            raise ValueError("the head is too large")  # the parser ends; see send_400_response

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.header_timeout, self._head_is_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        self._timer = None
        if not self.waits:
            # A further request may have had to wait for the one at work: it gets its time anew.
            if self._in_head:
                self._start_timer()
        elif self._in_body or (self.cycle is not None and not self._in_head):
            # Of a request that was answered before all of it had come, or since it has: no further
            # one has begun, and an answer now would be taken for that of one that is on its way.
            self._close()
        elif not self.transport.is_closing():
            self._refuse(header_timeout())

    def _look_after_the_rest(self) -> None:
        """A connection that closes stays open until the client has taken all: see that it does."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._start_looking()

    def _close(self) -> None:
        self.transport.close()
        self._look_after_the_rest()

    def _start_looking(self) -> None:
        if self._sending is None:
            self._untaken, self._taken_at = self._count_untaken(), self.loop.time()
            self._least = max(_LEAST_TAKEN, self._untaken // _PERIODS)
            self._period = self._taken_at, self._untaken
            self._look_later()

    def _stop_looking(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _look_later(self) -> None:
        interval = min(self.stalled_after, self.send_timeout)
        self._sending = self.loop.call_later(interval, self._look)

    def _look(self) -> None:
        untaken, now = self._count_untaken(), self.loop.time()
        if untaken < self._untaken:
            self._untaken, self._taken_at = untaken, now
        begin, then = self._period
        if now - begin >= self.send_timeout:
            if then - untaken < self._least:
                LOG.warning(
                    "a connection was cut off: its client took less than %d bytes of a reply in "
                    "%g seconds; %d are left",
                    *(self._least, self.send_timeout, untaken),
                )
                self._cut_off()
                return
            self._period = now, untaken
        self._look_later()

    def _cut_off(self) -> None:
        """Close the connection, and throw away what the kernel still holds of its replies.

        Else that stayed there for as long as the client takes a byte now and then. The request is
        told, where it is still at its reply.
        """
        if self._at_work is not None and not self._at_work.response_complete:
            self._at_work.scope["state"][CUT_OFF] = True
        with suppress(OSError, AttributeError):  # it is closed
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE
            )
        self.give_way()

    def _count_untaken(self) -> int:
        """Bytes that the client's machine has not taken yet, in the kernel and before it."""
        before = self.transport.get_write_buffer_size()
        sent_by = self.transport.get_extra_info("socket")
        if sent_by is not None:
            with suppress(OSError, ValueError):  # the kernel does not tell, or it is closed
                count = fcntl.ioctl(sent_by, termios.TIOCOUTQ, bytes(4))
                return before + int.from_bytes(count, sys.byteorder)
        return before

    def _refuse(self, problem: Problem) -> None:
        self._refused = True
        self._stop_timer()
        metrics.PROBLEMS.labels(code=problem.code).inc()
        cycle = self.cycle
        if not self.waits and (cycle is not self._at_work or not cycle.more_body):
            # Whole requests came before it, whose replies are due first.
            if cycle.more_body:
                self.pipeline.popleft()  # of this one no more will come
                self.cycle = self.pipeline[0][0] if self.pipeline else self._at_work  # type: ignore[assignment]  # one is at work
            self._due = problem
            return
        self._hang_up(problem)

    def _hang_up(self, problem: Problem) -> None:
        self.connections.discard(self)  # on its way out: neither counts nor makes room any more
        if not self.waits:
            cycle = self.cycle
            if cycle.response_started:
                self._close()  # an answer here would be taken for part of its reply
                return
            cycle.disconnected = True  # the application has no say any more
            cycle.message_event.set()
        request_id = uuid.uuid4().hex
        if self.waits:  # else the application, which it was cut short in, tells of it
            _tell(problem, request_id)
        body = json.dumps(document(problem, request_id)).encode()
        retry = f"retry-after: {problem.retry_after}\r\n" if problem.retry_after else ""
        allow = "allow: GET, HEAD, POST\r\n" if problem.code == "unknown-method" else ""
        head = (
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\n{retry}{allow}"
            "x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            # Closed at once, what is still on its way would make the kernel take the answer back.
            self.transport.write_eof()
            self.loop.call_later(_LINGER, self._close)
        else:
            self._close()


class _WithoutUpgrades:
    """A parser for which a request to upgrade is a request (RFC 9110, section 7.8).

    The library's stops at its head: the body would be left out, and what comes of it later be
    taken for a request of its own.
    """

    def __init__(self, protocol: ProblemProtocol) -> None:
        self._protocol = protocol
        self._parser = httptools.HttpRequestParser(protocol)

    def feed_data(self, data: bytes) -> None:
        """Parse bytes.

        Raises
        ------
        httptools.HttpParserError
            When they are no HTTP.
        """
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                data = data[stopped.args[0] :]
                self._parser = self._protocol.parser_of_the_body()
            else:
                return

    def get_http_version(self) -> str:
        """Return the version of the request at hand."""
        return self._parser.get_http_version()

    def get_method(self) -> bytes:
        """Return the method of the request at hand."""
        return self._parser.get_method()

    def should_keep_alive(self) -> bool:
        """Tell whether the connection stays open after the request at hand."""
        return self._parser.should_keep_alive()

    def should_upgrade(self) -> bool:
        """Tell that nothing is upgraded."""
        return False

    def stops_here(self) -> bool:
        """Tell whether the library's parser stops at the head that it has read."""
        return self._parser.should_upgrade()


def _is_old(cycle: RequestResponseCycle) -> bool:
    return bool(cycle.scope["http_version"] == "1.0")


def _until_closed(cycle: RequestResponseCycle, app: ASGI3Application) -> ASGI3Application:
    """Answer an HTTP/1.0 client: it knows no chunks (RFC 9112, section 6.1).

    A reply whose length is not told ends where the connection does.
    """

    async def run(scope: Any, receive: Any, send: Any) -> None:
        async def send_plain(message: Any) -> None:
            if message["type"] == "http.response.body":
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        cycle.chunked_encoding = False
        await app(scope, receive, send_plain)

    return run


def _tell(problem: Problem, request_id: str) -> None:
    """Log and count an answer that no application saw, as one that it did."""
    metrics.REQUESTS.labels(route=UNMATCHED, code=str(problem.status)).inc()
    facts = {"route": UNMATCHED, "status": problem.status, "code": problem.code}
    ACCESS.info("%s %d", UNMATCHED, problem.status, extra={**facts, "request_id": request_id})


def bounded_protocol(settings: Settings) -> type[ProblemProtocol]:
    """Return the protocol with the bounds of the settings."""
    bounds = {
        "max_header_bytes": settings.max_header_bytes,
        "header_timeout": settings.header_timeout,
        "max_connections": settings.max_connections,
        "send_timeout": settings.send_timeout,
        "retry_after": settings.retry_after,
        "addresses": AddressPolicy(settings.audit_addresses),
    }
    return type("BoundedProtocol", (ProblemProtocol,), bounds)
