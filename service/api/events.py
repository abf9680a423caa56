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


@dataclass(frozen=True)
class Event:
    """One event: its name, and a value that goes out as one line of JSON."""

    name: str
    data: Any

    def encode(self) -> bytes:
        """Return the event's bytes; JSON has no raw line breaks, so one data line will do."""
        text = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        return f"event: {self.name}\ndata: {text}\n\n".encode()


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
        async def send_event(event: Event) -> None:
            body = event.encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})

        async with aclosing(self._events) as events:
            try:
                with self._ending.watch():
                    async for event in events:
                        await send_event(event)
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
                await send_event(last)
                await send(_END)
        except TimeoutError as error:
            raise ClientDisconnectedError from error

    def _error(self, problem: Problem) -> Event:
        metrics.PROBLEMS.labels(code=problem.code).inc()
        self._state["problem"] = problem.code  # for the audit trail
        self._state["broken_off"] = problem.status
        return Event("error", document(problem, self._request_id))
