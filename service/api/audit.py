"""The layer that records what was asked, by whom, and with what outcome.

A request to a recorded route is recorded once, before the first byte of its reply goes out: with
the failure policy ``closed`` a reply that cannot be recorded is replaced by ``audit-unavailable``,
so no reading leaves unrecorded. Where all requests are recorded, that holds for all but the page of
metrics, which is how one learns of it. A reply is recorded when it begins; if a stream does not
reach its end, or the client is cut off while a reply is still being sent, a second event with the
same request id says how it ended, and that it was broken off. A reply that the connection had taken
whole, for a client that then does not take it, stays recorded as it began.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.middleware import CUT_OFF
from service.api.problems import ClientDisconnectedError, audit_unavailable, whole_seconds
from service.audit import (
    AuditKind,
    AuditScope,
    AuditTrail,
    AuditUnavailableError,
    Occurrence,
)
from service.identity import CredentialsRefusedError, Principal
from service.problem import Problem
from service.radiograph import Radiograph

LOG = logging.getLogger("deepmedix")

_READING = frozenset({"/report", "/vqa", "/render"})
_PROBES = frozenset({"/livez", "/readyz"})
_METRICS = "/metrics"
_OPERATIONS = {
    "/admin/keys/reload": "keys-reload",
    "/openapi.json": "openapi",
    **{path: path[1:] for path in (*_READING, "/version", _METRICS, "/docs")},
}
_MISADDRESSED = frozenset({"unknown-host", "cross-site"})
"""Refused before it is looked at what is asked: recorded only where all requests are."""

_REFUSALS = frozenset(
    # The last while a provider's keys are not there: nobody's credential can be judged.
    {"unauthenticated", "ambiguous-credentials", "forbidden", "identity-unavailable"}
)


def note_films(request: Request, films: Sequence[Radiograph]) -> None:
    """Leave a request's films for the audit layer, where there is one, which records their
    studies' identities and then forgets them: a connection keeps its last request's state."""
    if request.app.state.audit is not None:
        request.state.films = tuple(films)


class Audit:
    """Record requests in the application's ``AuditTrail``, where it has one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request.

        Raises
        ------
        Problem
            ``audit-unavailable`` (503) instead of a reply that cannot be recorded.
        """
        trail: AuditTrail | None = None
        if scope["type"] == "http":
            trail = scope["app"].state.audit
        if trail is None:
            await self._app(scope, receive, send)
            return
        await _Recording(trail, scope, send).run(self._app, receive)


class Recordable:
    """Refuse a reading that could not be recorded before anything is worked on.

    Inside authentication: a refused credential stays refused, and only those whom the service
    knows have it try the disk again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request; :class:`Audit` tells of what could not be recorded."""
        trail: AuditTrail | None = None
        if scope["type"] == "http" and scope["path"] in _READING:
            trail = scope["app"].state.audit
        if trail is not None and trail.failing and trail.closed:
            try:
                await trail.resume()
            except AuditUnavailableError as error:
                trail.note_unrecorded()
                _log(error)
                raise _UnrecordedError(error) from error
        await self._app(scope, receive, send)


class _UnrecordedError(Exception):
    """The reply that begins, or would, cannot be recorded."""

    def __init__(self, reason: AuditUnavailableError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Recording:
    """One request's."""

    def __init__(self, trail: AuditTrail, scope: Scope, send: Send) -> None:
        self._trail = trail
        self._scope = scope
        self._send = send
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._recorded: int | None = None  # status of the reply that has begun
        path = scope["path"]
        self._kind: AuditKind | None = None
        if path in _READING:
            self._kind = AuditKind.READING
        elif path.startswith("/admin/"):
            self._kind = AuditKind.ADMINISTRATION
        elif trail.scope is AuditScope.ALL and path not in _PROBES:
            self._kind = AuditKind.REQUEST

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        ended: tuple[int, str | None] = (500, "internal-error")
        try:
            await app(self._scope, receive, self._send_recorded)
            problem_code = self._state.get("problem")
            broken_off = self._state.get("broken_off", 500)
            ended = (200, None) if problem_code is None else (broken_off, problem_code)
            if CUT_OFF in self._state:
                ended = (499, "client-left")
        except _UnrecordedError as error:
            ended = (200, None)
            raise self._unavailable(error.reason) from error
        except Problem as problem:
            ended = (problem.status, problem.code)
            raise
        except (ClientDisconnectedError, ClientDisconnect, asyncio.CancelledError):
            ended = (499, "client-left")
            raise
        finally:
            try:
                await self._finish(*ended)
            finally:
                self._state.pop("films", None)

    def _unavailable(self, error: AuditUnavailableError) -> Problem:
        retry_after: int = self._scope["app"].state.service.settings.retry_after
        if error.retry_after is not None:
            retry_after = whole_seconds(error.retry_after)
        return audit_unavailable(retry_after)

    async def _send_recorded(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._kind is not None:
            status, reason = message["status"], self._state.get("problem")
            # Set first: a reply that could not be recorded is not tried again.
            self._recorded = status
            try:
                await self._record(self._kind, status, reason)
            except AuditUnavailableError as error:
                if self._trail.closed and self._scope["path"] != _METRICS:
                    raise _UnrecordedError(error) from error
        await self._send(message)

    async def _finish(self, status: int, reason: str | None) -> None:
        kind = self._kind
        if reason in _MISADDRESSED and self._trail.scope is AuditScope.READINGS:
            return
        if reason in _REFUSALS:
            kind = AuditKind.REFUSED_CREDENTIAL
        elif self._recorded is not None:
            if self._recorded >= 400:
                return
            reason = f"broken-off {reason}"  # else another request with its id could pass for it
        # Where the reply has begun, a second event is due only if a stream ended otherwise.
        if kind is None or status < 400:
            return
        try:
            await self._record(kind, status, reason)
        except AuditUnavailableError:
            return  # nothing of a reading went out, or that it went out has been recorded

    async def _record(self, kind: AuditKind, status: int, reason: str | None) -> None:
        films: Sequence[Radiograph] = self._state.pop("films", ())
        if films:
            self._state["studies"] = await self._trail.identities(films)
        refusal = self._state.get("refusal")
        principal: Principal | None = self._state.get("principal")
        if kind is AuditKind.REFUSED_CREDENTIAL and reason != "forbidden":
            principal = None
        if isinstance(refusal, CredentialsRefusedError):
            reason = f"{reason} {refusal.reason}"
        client, server = self._scope.get("client"), self._scope.get("server")
        occurrence = Occurrence(
            kind=kind,
            operation=_operation(self._scope["path"]),
            principal=principal,
            client_address=client[0] if client else None,
            server_address=server[0] if server else None,
            request_id=self._state.get("request_id", ""),
            status=status,
            reason=reason,
            claimed_name=refusal.name if isinstance(refusal, CredentialsRefusedError) else None,
            studies=self._state.get("studies", ()),
        )
        refused = kind is AuditKind.REFUSED_CREDENTIAL
        try:
            await (self._trail.record_refusal if refused else self._trail.record)(occurrence)
        except AuditUnavailableError as error:
            _log(error)
            raise


def _log(error: AuditUnavailableError) -> None:
    LOG.error("the audit trail cannot be written: %s", error)


def _operation(path: str) -> str:
    """Return the name of a route of ours; any other path is the caller's text."""
    return _OPERATIONS.get(path, "other")
