"""``Idempotency-Key``: a repeated request gets the first one's reply.

After draft-ietf-httpapi-idempotency-key-header. A pure ASGI layer, inside authentication: keys
belong to their caller.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.arrival import hold_place
from service.api.caller import caller_of
from service.api.deadline import time_limit
from service.api.negotiation import EVENTS
from service.api.problems import (
    body_timeout,
    idempotency_in_flight,
    idempotency_key_reused,
    invalid_header,
    too_many_keys,
)
from service.api.reply_store import KeptReply, ReplyStore
from service.settings import Settings

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

_MAX_KEY = 255
KEY_PATTERN = rf'^("([ !#-\[\]-~]|\\["\\]){{1,{_MAX_KEY}}}"|[!#-~][!-~]{{0,{_MAX_KEY - 1}}})$'
"""A structured-field string (RFC 8941, section 3.3.3), or the same without its quotes."""
_KEY = re.compile(KEY_PATTERN)
_KEPT_STATUSES = frozenset({200, 400, 413, 415, 422})
_MOST_PARTS = 256
"""Parts of a form that are told apart; one that is taken has fewer."""
_FLEETING = frozenset({"decode-timeout", "decode-out-of-memory"})
"""Codes among those statuses that the same request need not meet again."""


class Idempotency:
    """Replays a kept reply; refuses a key in flight, or one that came with another request.

    Kept are whole replies of 200 and of those refusals that the same request would meet again.
    An event stream is kept once it has ended with its ``reply``, and is replayed at once.

    Parameters
    ----------
    paths
        Where the header means something; elsewhere it is ignored.
    """

    def __init__(self, app: ASGIApp, *, paths: frozenset[str]) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request.

        Raises
        ------
        Problem
            ``invalid-header`` (400), ``idempotency-in-flight`` (409),
            ``idempotency-key-reused`` (422), ``overloaded`` (503), ``body-timeout`` (408).
        """
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.getlist(HEADER)
        if not given:
            await self._app(scope, receive, send)
            return
        service = scope["app"].state.service
        store: ReplyStore = service.replies
        key = _store_key(scope, parse_key(given))
        digest = RequestDigest(scope, headers)
        kept = store.find(key)
        if kept is not None:
            await _read_admitted(service, scope, receive, digest)
            if digest.value() != kept.digest:
                raise idempotency_key_reused()
            await _replay(kept, scope, send)
            return
        if store.in_flight(key):
            raise idempotency_in_flight()
        if not store.begin(key):
            raise too_many_keys(service.admission.next_end)
        recording = _Recording(store, key, digest)
        try:
            await self._app(scope, recording.receiving(receive), recording.sending(send))
        finally:
            store.end(key, recording.reply(scope.get("state", {})))


def parse_key(given: list[str]) -> str:
    """Return the key: a structured-field string (RFC 8941), or the same without its quotes.

    Raises
    ------
    Problem
        ``invalid-header`` (400).
    """
    text = given[0].strip() if len(given) == 1 else ""
    if not _KEY.fullmatch(text):
        raise invalid_header(HEADER, f"one key of 1 to {_MAX_KEY} printable ASCII characters")
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


class RequestDigest:
    """SHA-256 of what a request asks: path, query, Accept, type and body.

    The boundary of a form is left out where it parts the body (RFC 2046, section 5.1.1): clients
    draw a new one for every request. Anywhere else the same letters are text and count.
    """

    def __init__(self, scope: Scope, headers: Headers) -> None:
        self._hash = hashlib.sha256()
        self._delimiter = b""
        self._part = hashlib.sha256()
        self._rest = b""
        self._parts_left = _MOST_PARTS
        self.complete = False
        content_type = headers.get("content-type", "").encode("latin-1")
        # Read as the form's own parser reads it.
        kind, options = parse_options_header(content_type)
        if kind.startswith(b"multipart/") and (boundary := options.pop(b"boundary", b"")):
            self._delimiter = b"\r\n--" + boundary
            self._rest = b"\r\n"  # the first delimiter may be the body's first line
            content_type = repr((kind, sorted(options.items()))).encode()
        accept = ",".join(headers.getlist("accept")).encode("latin-1")
        path = scope["path"].encode()
        for part in (path, scope.get("query_string", b""), accept, content_type):
            self._hash.update(len(part).to_bytes(8, "big") + part)

    def update(self, message: Message) -> None:
        """Take in a message of the body."""
        data = self._rest + message.get("body", b"")
        self.complete = not message.get("more_body", False)
        if self._delimiter:
            *ended, data = data.split(self._delimiter, self._parts_left)
            self._parts_left -= len(ended)
            for piece in ended:
                self._part.update(piece)
                self._end_part()
            keep = 0 if self.complete else len(self._delimiter) - 1
            cut = max(0, len(data) - keep)
            data, self._rest = data[:cut], data[cut:]
            self._part.update(data)
            if self.complete:
                self._end_part()
            elif not self._parts_left:  # no form has so many: what follows is only hashed
                self._part.update(self._rest)
                self._end_part()
                self._delimiter, self._rest = b"", b""
        else:
            self._hash.update(data)

    def value(self) -> bytes:
        """Return the digest of the whole request."""
        return self._hash.digest()

    def _end_part(self) -> None:
        # Digests of one length: what stands on either side of a delimiter cannot change sides.
        self._hash.update(self._part.digest())
        self._part = hashlib.sha256()


class _Recording:
    """The reply to a key's first request, as it goes out."""

    def __init__(self, store: ReplyStore, key: bytes, digest: RequestDigest) -> None:
        self._store = store
        self._key = key
        self._digest = digest
        self._start: Message | None = None
        self._body: list[bytes] = []
        self._recording = False
        self._whole = False

    def receiving(self, receive: Receive) -> Receive:
        """Return ``receive``, its messages taken into the digest."""

        async def receive_digested() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not self._digest.complete:
                self._digest.update(message)
            return message

        return receive_digested

    def sending(self, send: Send) -> Send:
        """Return ``send``, its messages recorded."""

        async def send_recorded(message: Message) -> None:
            # Recorded first: a reply that its caller did not stay for is worth keeping most.
            self._record(message)
            await send(message)

        return send_recorded

    def reply(self, state: Mapping[str, Any]) -> KeptReply | None:
        """Return the reply, if it is whole and the same request would get it again.

        ``state`` is the request's, which knows its studies and the code of its problem.
        """
        if not (self._recording and self._whole and self._start and self._digest.complete):
            return None
        body = b"".join(self._body)
        kept = KeptReply(
            self._digest.value(),
            self._start["status"],
            tuple(self._start["headers"]),
            body,
            tuple(state.get("studies", ())),
            state.get("problem"),
        )
        return kept if _is_repeatable(kept) else None

    def _record(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = {**message, "headers": list(message.get("headers", ()))}
            self._recording = message["status"] in _KEPT_STATUSES
        elif message["type"] == "http.response.body" and self._recording:
            piece = message.get("body", b"")
            self._recording = self._store.gather(self._key, len(piece))
            if self._recording:
                self._body.append(piece)
            else:
                self._body.clear()
            self._whole = not message.get("more_body", False)


def _is_repeatable(reply: KeptReply) -> bool:
    if reply.status != 200:
        try:
            code = json.loads(reply.body).get("code")
        except (ValueError, AttributeError):
            return False
        return code not in _FLEETING
    headers = Headers(raw=list(reply.headers))
    if headers.get("content-type", "").startswith(EVENTS):
        # An event ends with a blank line, and no line of its JSON is blank (see `Event.encode`).
        last = reply.body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
        return last.startswith(b"event: reply\n")
    return True


def _store_key(scope: Scope, key: str) -> bytes:
    """Only a digest is held: who knows what a caller puts into a key."""
    # A token's subject is any JSON string, which may hold a lone surrogate.
    named = f"{caller_of(scope)}\n{key}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(named).digest()


async def _read_admitted(
    service: Any, scope: Scope, receive: Receive, digest: RequestDigest
) -> None:
    """Read a repeat's body on the account of its caller; repeats have bounds of their own."""
    settings: Settings = service.settings
    seconds, _ = time_limit(Headers(scope=scope), settings.request_timeout)
    with hold_place(service.repeats, scope, seconds) as place, place.ending.watch():

        async def receive_counted() -> Message:
            message = await receive()
            place.take_body(len(message.get("body", b"")))
            return message

        await _read_on(receive_counted, digest, settings.body_timeout)


async def _read_on(receive: Receive, digest: RequestDigest, timeout: float) -> None:
    """Read a body for its digest alone; nothing of it is kept."""
    try:
        async with asyncio.timeout(timeout):
            while not digest.complete:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                digest.update(message)
    except TimeoutError as error:
        raise body_timeout() from error


async def _replay(kept: KeptReply, scope: Scope, send: Send) -> None:
    state = scope.setdefault("state", {})
    state["studies"] = kept.studies
    if kept.problem is not None:
        state["problem"] = kept.problem
    headers: list[Any] = [*kept.headers, (REPLAYED.lower().encode(), b"true")]
    await send({"type": "http.response.start", "status": kept.status, "headers": headers})
    await send({"type": "http.response.body", "body": kept.body, "more_body": False})
