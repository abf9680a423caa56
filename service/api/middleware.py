"""Pure ASGI layers round every request: its identity, its record, the cap on its body."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import metrics
from service.api.announced import announced_length
from service.api.problems import (
    ClientDisconnectedError,
    body_too_large,
    internal_error,
    problem_response,
)
from service.problem import Problem
from service.telemetry import Span, places_of, request_span

UNMATCHED = "unmatched"
"""Stands for the route of a request that has none."""

CUT_OFF = "cut_off"
"""Says in a request's state that its client did not take the reply, and got only part of it."""

_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
"""Those that OpenTelemetry's conventions tell apart; the rest could be anything."""

_SERVER_ERROR = 500
ACCESS = logging.getLogger("deepmedix.access")
ERRORS = logging.getLogger("deepmedix.errors")

# A UUID, or the same without dashes: no room for a patient's name or a DICOM UID. With a letter: no
# birth date and record number either; of millions of random UUIDs, one has none.
_REQUEST_ID = re.compile(
    r"(?=.*[a-fA-F])(?:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32})"
)


class RequestRecord:
    """Give every request an id, a place in a trace, safe headers, a metric, a log line, an answer.

    Every line that is logged meanwhile bears the request's id and its trace's. The request's own
    line holds method, route and status, never the query, which may hold what a
    patient was examined for. An unforeseen exception is logged by its class and place, without
    its text, and answered as ``internal-error``.

    Parameters
    ----------
    trace_state
        Whether a caller's ``tracestate`` goes on.
    """

    def __init__(self, app: ASGIApp, *, trace_state: bool = False) -> None:
        self._app = app
        self._trace_state = trace_state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        with request_span(_trace_headers(scope), with_state=self._trace_state) as span:
            assert span.context is not None  # a request's always has one
            with structlog.contextvars.bound_contextvars(
                request_id=request_id, trace_id=span.context.trace_id
            ):
                await self._run(scope, receive, send, request_id, span)

    async def _run(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, span: Span
    ) -> None:
        started = time.perf_counter()
        status: int | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if span.context is not None:
                    headers["traceresponse"] = span.context.traceparent
                headers["X-Content-Type-Options"] = "nosniff"
                # Somebody may paste a key into /docs: no other page shows it as its own.
                headers["Content-Security-Policy"] = "frame-ancestors 'none'"
                headers.setdefault("Cache-Control", "no-store")
                headers.update(scope["state"].get("reply_headers", {}))
            await send(message)

        async def answer(problem: Problem) -> None:
            metrics.PROBLEMS.labels(code=problem.code).inc()
            scope["state"]["problem"] = problem.code
            if status is None:
                await problem_response(problem, request_id)(scope, receive, send_with_headers)

        outcome: int | None = None
        try:
            await self._app(scope, receive, send_with_headers)
            if CUT_OFF in scope["state"]:
                outcome = 499
        except (ClientDisconnectedError, ClientDisconnect):
            outcome = 499
        except Problem as problem:
            await answer(problem)
        except Exception as error:
            log_failure(error, request_id)
            await answer(internal_error())
            outcome = 500
        finally:
            # No status at all: the server cancelled the task before an answer was begun.
            code = outcome or status or 499
            _record(scope, code, time.perf_counter() - started, span)


class HeadAsGet:
    """Answer HEAD as GET: the server leaves out the body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request. The server, and what is recorded, know the method that was sent."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class BodyCap:
    """Refuse a body over the cap while it is being read, whatever its headers say.

    Parameters
    ----------
    limit
        Bytes.
    """

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request.

        Raises
        ------
        Problem
            ``body-too-large`` (413), from within the reading of the body.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = announced_length(Headers(scope=scope))
        if announced is not None and announced > self._limit:
            raise body_too_large(self._limit)
        read = 0

        async def receive_capped() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self._limit:
                    raise body_too_large(self._limit)
            return message

        await self._app(scope, receive_capped, send)


def log_failure(error: BaseException, request_id: str) -> None:
    """Log an unforeseen exception's class and place; its text may hold the caller's."""
    ERRORS.error("request %s failed: %s", request_id, places_of(error))


def route_of(scope: Scope) -> str:
    """Return the path of the route that answered or was asked for, for labels and logs."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    # A layer answered before the routing. A route's path is ours, any other the caller's text.
    routes: list[Any] = scope["app"].routes if "app" in scope else []
    asked: str = scope["path"]
    return asked if any(getattr(route, "path", None) == asked for route in routes) else UNMATCHED


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _trace_headers(scope: Scope) -> dict[str, str]:
    """W3C trace context, where it was sent; the list may come in several headers."""
    headers = Headers(scope=scope)
    parents, states = headers.getlist("traceparent"), headers.getlist("tracestate")
    return {"traceparent": parents[0], "tracestate": ",".join(states)} if len(parents) == 1 else {}


def _name_without_route(method: str) -> str:
    """A span's name by OpenTelemetry's conventions, which has no unbounded part."""
    return "HTTP" if method == "_OTHER" else method


def _record(scope: Scope, code: int, seconds: float, span: Span) -> None:
    route = route_of(scope)
    # A stream that broke off had begun with 200; what it came to is its problem's status.
    came_to = int(scope["state"].get("broken_off", code))
    metrics.REQUESTS.labels(route=route, code=str(came_to)).inc()
    outcome = metrics.outcome_of(came_to, scope["state"].get("problem"))
    metrics.REQUEST_SECONDS.labels(route=route, outcome=outcome).observe(seconds)
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    facts = {"method": method, "route": route, "status": code, "seconds": round(seconds, 4)}
    matched = route != UNMATCHED
    span.tell(
        {
            "http.request.method": method,
            "http.response.status_code": code,
            **({"http.route": route} if matched else {}),
        },
        name=f"{method} {route}" if matched else _name_without_route(method),
    )
    if (problem := scope["state"].get("problem")) is not None:
        facts["code"] = problem
        span.tell({"error.type": problem})
    if came_to >= _SERVER_ERROR:  # a caller's error is no failure of the server's span
        span.fail()
    if (caller := getattr(scope["state"].get("principal"), "name", None)) is not None:
        facts["caller"] = caller
    level = logging.DEBUG if route in ("/livez", "/readyz", "/metrics") else logging.INFO
    ACCESS.log(level, "%s %s %d", method, route, code, extra=facts)
