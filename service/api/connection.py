"""What comes before a request: heads bounded in size and time, connections in number.

What is refused here, the application never sees, and it gets a problem all the same. Nothing is
known of the caller yet, so nothing of what it sent is kept.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api import metrics
from service.api.problems import (
    MEDIA_TYPE,
    document,
    header_timeout,
    headers_too_large,
    malformed_http,
    overloaded,
)
from service.problem import Problem
from service.settings import Settings

_LINGER = 2.0
"""Seconds that a refused client gets to read why, while what it still sends is thrown away."""


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
        Most open connections. Beyond, the one that has been without a request at work for longest
        gives way, so that probes get in; where all have one: ``overloaded`` (503).
    retry_after
        Seconds that this 503 asks to wait.
    """

    max_header_bytes = 64 * 1024
    header_timeout = 10.0
    max_connections = 512
    retry_after = 5

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0  # of the head that the parser has given
        self._unread_bytes = 0  # received, and not given by the parser yet
        self._progress = False
        self._in_head = self._in_body = False
        self._waiting_since = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: Problem | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection, if need be in the place of one that waits."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            waiting = [
                other
                for other in self.connections
                if isinstance(other, ProblemProtocol) and other is not self and other.waits
            ]
            if not waiting:
                self._refuse(overloaded(self.retry_after))
                return
            min(waiting, key=lambda other: other._waiting_since).give_way()
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    @property
    def waits(self) -> bool:
        """Whether no request of this connection is at work."""
        return self.cycle is None or self.cycle.response_complete

    def give_way(self) -> None:
        """Close the connection for another's sake."""
        self.connections.discard(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on, within the bounds."""
        if self._refused:
            return
        self._progress = False
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        # What the parser has taken and not given yet is what it holds in memory.
        self._unread_bytes = 0 if self._progress else self._unread_bytes + len(data)
        if self._unread_bytes > self.max_header_bytes:
            self._refuse(headers_too_large(self.max_header_bytes))
        elif self._timer is None and (self._in_head or (self.waits and not self._in_body)):
            self._start_timer()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header; a trailer comes here too."""
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the head."""
        self._in_head, self._in_body = False, True
        self._progress = True
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._in_body = False
        self._progress = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._waiting_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer and hang up; what was wrong is not told, as it may be the caller's text."""
        self._refuse(self._refusal or malformed_http())

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
        elif not self.transport.is_closing():
            self._refuse(header_timeout())

    def _refuse(self, problem: Problem) -> None:
        self._refused = True
        self._stop_timer()
        metrics.PROBLEMS.labels(code=problem.code).inc()
        if not self.waits:
            if not self.cycle.more_body or self.cycle.response_started:
                self.transport.close()  # an answer here would be taken for another request's
                return
            self.cycle.disconnected = True  # the application has no say any more
            self.cycle.message_event.set()
        request_id = uuid.uuid4().hex
        body = json.dumps(document(problem, request_id)).encode()
        retry = f"retry-after: {problem.retry_after}\r\n" if problem.retry_after else ""
        head = (
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\n{retry}"
            "x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            # Closed at once, what is still on its way would make the kernel take the answer back.
            self.transport.write_eof()
            self.loop.call_later(_LINGER, self.transport.close)
        else:
            self.transport.close()


def bounded_protocol(settings: Settings) -> type[ProblemProtocol]:
    """Return the protocol with the bounds of the settings."""
    bounds = {
        "max_header_bytes": settings.max_header_bytes,
        "header_timeout": settings.header_timeout,
        "max_connections": settings.max_connections,
        "retry_after": settings.retry_after,
    }
    return type("BoundedProtocol", (ProblemProtocol,), bounds)
