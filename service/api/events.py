"""Server-sent events (WHATWG HTML, section 9.2) whose source ends when the caller leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from service.api import metrics
from service.api.disconnect import until_disconnect
from service.api.ending import Ending
from service.api.middleware import log_failure
from service.api.negotiation import EVENTS
from service.api.problems import ClientDisconnectedError, document, internal_error
from service.problem import Problem

_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}
_LAST_EVENT_SECONDS = 5.0
_PIECES = "answer"
_MOMENT = 0.05
"""Seconds for which pieces of an answer wait for those after them: a model writes them faster than
anybody reads, and to send each by itself costs a busy service more than to make it."""


@dataclass(frozen=True)
class Event:
    """One event: its name, and a value that goes out as one line of JSON."""

    name: str
    data: Any

    def encode(self) -> bytes:
        """Return the event's bytes; JSON has no raw line breaks, so one data line will do."""
        text = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        return f"event: {self.name}\ndata: {text}\n\n".encode()


class EventSender:
    """Sends events: pieces of an answer that come close together in one go, all others at once."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._sent = -_MOMENT
        self._timer: asyncio.TimerHandle | None = None
        self._late: asyncio.Task[None] | None = None
        self._in_turn = asyncio.Lock()

    async def put(self, event: Event) -> None:
        """Send an event, or have it sent in a moment."""
        self._waiting.append(event.encode())
        due = self._sent + _MOMENT - self._loop.time()
        if event.name != _PIECES or due <= 0:
            await self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(due, self._send_late)

    async def flush(self) -> None:
        """Send what waits."""
        self._forget_timer()
        async with self._in_turn:
            while self._waiting:
                body = b"".join(self._waiting)
                self._waiting.clear()
                self._sent = self._loop.time()
                await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def stop(self) -> None:
        """Send nothing more by itself."""
        self._forget_timer()
        late, self._late = self._late, None
        if late is not None:
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)

    def _send_late(self) -> None:
        self._timer = None
        if self._late is None or self._late.done():  # else it sends what has come since, too
            self._late = self._loop.create_task(self.flush())

    def _forget_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class EventStream(Response):
    """A reply that sends events as they come; a problem on the way is its last event.

    Parameters
    ----------
    events
        Source of events. It is closed (which aborts the generation) when the caller leaves.
    held
        What the request holds (its place in the queue), released when the stream ends.
    ending
        What ends the request from outside; its problem becomes the last event.
    request_id
        Goes into the problem document of an ``error`` event.
    """

    media_type = EVENTS

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        held: AsyncExitStack,
        ending: Ending,
        request_id: str | None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._events = events
        self._held = held
        self._ending = ending
        self._request_id = request_id
        self._state: dict[str, Any] = {}
        self.body = b""
        self.init_headers({"X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, racing it against the caller's disconnect."""
        self._state = scope.setdefault("state", {})
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with self._held:
            await self._send_start(receive, send(start))
            await until_disconnect(receive, self._send_all(send))

    async def _send_start(self, receive: Receive, sending: Awaitable[None]) -> None:
        """Send the head, which is recorded first; a caller that leaves meanwhile ends the walk."""
        started = asyncio.ensure_future(sending)
        try:
            await until_disconnect(receive, asyncio.shield(started))
        except ClientDisconnectedError:
            await self._held.aclose()
            await started  # the record is made all the same
            raise
        except asyncio.CancelledError:
            started.cancel()
            raise

    async def _send_all(self, send: Send) -> None:
        sender = EventSender(send)
        try:
            await self._send_events(sender, send)
        finally:
            await sender.stop()

    async def _send_events(self, sender: EventSender, send: Send) -> None:
        async with aclosing(self._events) as events:
            try:
                with self._ending.watch():
                    async for event in events:
                        await sender.put(event)
                    await sender.flush()
                    await send(_END)
                return
            except Problem as problem:
                last = self._error(problem)
            except Exception as error:
                log_failure(error, self._request_id or "")
                last = self._error(internal_error())
        # The model and the place are for others now, however slowly the caller reads.
        await self._held.aclose()
        try:
            async with asyncio.timeout(_LAST_EVENT_SECONDS):
                await sender.put(last)
                await send(_END)
        except TimeoutError as error:
            raise ClientDisconnectedError from error

    def _error(self, problem: Problem) -> Event:
        metrics.PROBLEMS.labels(code=problem.code).inc()
        self._state["problem"] = problem.code  # for the audit trail
        self._state["broken_off"] = problem.status
        return Event("error", document(problem, self._request_id))
