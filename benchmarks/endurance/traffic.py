"""Requests of every kind to a served service, each reply checked for being right."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from benchmarks.endurance.exchange import (
    Exchange,
    Outcome,
    WrongReplyError,
    check_problem,
    events_of,
)
from benchmarks.endurance.films import REAL, drawn_film, noise, real_film, truncated_film
from benchmarks.endurance.served import CALLERS, Served
from service.results import ReportReply, VqaReply

OVERLOAD = frozenset({"too-many-requests", "overloaded"})
"""Problems that any request that is well formed may get from a loaded service."""

QUESTIONS = (
    "Is there a pleural effusion?",
    "Which findings are present?",
    "Is the heart enlarged?",
)

WELL_FORMED = {"report": 20, "vqa": 30, "stream": 12, "render": 12}
"""Kinds that capacity is measured with, and their weights."""

OTHERS = {
    "leaves": 7, "leaves-stream": 5, "repeat": 4, "repeat-at-once": 3, "deadline": 5,
    "truncated": 3, "noise": 3, "wrong-type": 3, "oversize": 3, "unknown-field": 3,
    "no-question": 2, "no-credential": 3, "wrong-credential": 2, "no-such-path": 2,
}  # fmt: skip

_BAD = {
    "truncated": (422, {"decode-failed", "malformed-dicom"}),
    "noise": (415, {"unsupported-media-type"}),
    "wrong-type": (415, {"unsupported-body"}),
    "oversize": (413, {"body-too-large"}),
    "unknown-field": (422, {"invalid-field"}),
    "no-question": (422, {"invalid-field"}),
    "no-credential": (401, {"unauthenticated"}),
    "wrong-credential": (401, {"unauthenticated"}),
    "no-such-path": (404, {"not-found"}),
}
_SHARES = (6, 2, 1, 1)  # one caller asks for more than its share
_DRAWN = 0.5


class Traffic:
    """Sends requests and keeps what came of each.

    Parameters
    ----------
    served
        The running service.
    client
        Of it.
    seed
        Of everything that is drawn.
    allowed
        Codes of problems that a well-formed request may get.
    """

    def __init__(
        self,
        served: Served,
        client: httpx.AsyncClient,
        seed: int,
        allowed: frozenset[str] = OVERLOAD,
    ) -> None:
        self._served = served
        self._client = client
        self._random = random.Random(seed)
        # Those that are asked about again and again; the first is a real one.
        self._films = [real_film(REAL[0]), *(drawn_film(seed) for seed in range(3))]
        self._large_film = real_film(REAL[1])
        self._first: dict[tuple[object, ...], Any] = {}
        self.allowed = allowed
        self.exchanges: list[Exchange] = []

    def caller(self) -> str:
        """Draw a caller; one of them asks more than the others together."""
        return self._random.choices(CALLERS, _SHARES)[0]

    def remember(self, other: Traffic) -> None:
        """Hold replies to what was answered there."""
        self._first |= other._first

    async def send(self, kind: str, caller: str | None = None) -> Exchange:
        """Send one request (``repeat...``: several) and return the first's exchange."""
        exchange = self._new(kind, caller or self.caller())
        if kind.startswith("leaves"):
            work = self._leave(exchange)
        elif kind == "repeat":
            work = self._repeat(exchange)
        elif kind == "repeat-at-once":
            work = self._repeat_at_once(exchange)
        elif kind == "oversize":
            work = self._oversize(exchange)
        elif kind in _BAD:
            work = self._misuse(exchange)
        else:
            work = self._ask(exchange, kind)
        await self._noted(exchange, work)
        return exchange

    def _new(self, kind: str, caller: str) -> Exchange:
        exchange = Exchange(kind, caller)
        self.exchanges.append(exchange)
        return exchange

    async def _noted(self, exchange: Exchange, work: Awaitable[object]) -> None:
        try:
            await work
        except WrongReplyError as error:
            exchange.end(Outcome.WRONG, str(error))
        except httpx.HTTPError as error:
            exchange.end(Outcome.WRONG, f"no reply: {type(error).__name__}")

    def _headers(self, exchange: Exchange, **further: str) -> dict[str, str]:
        headers = {"X-Request-Id": exchange.request_id}
        if exchange.caller:
            headers["Authorization"] = f"Bearer {self._served.keys[exchange.caller]}"
        return headers | {name.replace("_", "-"): value for name, value in further.items()}

    def _question(self, kind: str) -> tuple[str, bytes, dict[str, str], tuple[object, ...] | None]:
        """Path, film, fields, and by what the right answer is known if it was given before."""
        if kind == "same":
            return "/report", self._films[0], {"temperature": "0"}, ("/report", 0, None)
        if kind == "large-render":
            return "/render", self._large_film, {}, ("render", "large")
        drawn = self._random.random() < _DRAWN
        number = self._random.randrange(len(self._films))
        film = drawn_film(self._random.getrandbits(40)) if drawn else self._films[number]
        if kind == "render":
            return "/render", film, {}, None if drawn else ("render", number)
        fields: dict[str, str] = {}
        path = "/report"
        if kind == "vqa" or (kind != "report" and self._random.random() < 0.5):
            path, fields["question"] = "/vqa", self._random.choice(QUESTIONS)
        if drawn:
            return path, film, fields | {"seed": str(self._random.getrandbits(30))}, None
        known = (path, number, fields.get("question"))
        return path, film, fields | {"temperature": "0"}, known

    async def _ask(self, exchange: Exchange, kind: str, sent: asyncio.Event | None = None) -> None:
        path, film, fields, known = self._question(kind)
        further = {}
        if kind == "stream":
            further["Accept"] = "text/event-stream"
        if kind == "deadline":
            further["X_Request_Timeout"] = f"{self._random.uniform(0.02, 1.5):.2f}"
        reply = await self._post(exchange, path, film, fields, further, sent)
        late = {"deadline-exceeded"} if kind == "deadline" else set()
        if kind == "stream" and reply.status_code == 200:
            self._judge_stream(exchange, reply, path, known, late)
        else:
            self._judge(exchange, reply, path, known, late)

    async def _post(
        self,
        exchange: Exchange,
        path: str,
        film: bytes | None,
        fields: dict[str, str],
        further: dict[str, str],
        sent: asyncio.Event | None = None,
    ) -> httpx.Response:
        async def trace(event: str, info: object) -> None:
            if sent is not None and event == "http11.send_request_body.complete":
                sent.set()

        reply = await self._client.post(
            path,
            files=None if film is None else {"image": film},
            data=fields,
            headers=self._headers(exchange, **further),
            extensions={"trace": trace},
        )
        exchange.status = reply.status_code
        return reply

    def _judge(
        self,
        exchange: Exchange,
        reply: httpx.Response,
        path: str,
        known: tuple[object, ...] | None,
        also: frozenset[str] | set[str] = frozenset(),
    ) -> None:
        if reply.headers.get("X-Request-Id") != exchange.request_id:
            raise WrongReplyError(
                f"the reply ({reply.status_code}, {reply.content[:200]!r}) bears another request's "
                "id"
            )
        if reply.status_code == 200:
            if path == "/render":
                told: Any = reply.content
                if not told.startswith(b"\x89PNG"):
                    raise WrongReplyError("a rendering that is no PNG")
                self._compare(known, told)
            else:
                self._check_reading(reply.json(), path, known)
            exchange.end(Outcome.RIGHT)
            return
        check_problem(exchange, _json(reply), reply.headers)
        self._refused(exchange, also)

    def _refused(self, exchange: Exchange, also: set[str]) -> None:
        if exchange.code not in self.allowed | also:
            raise WrongReplyError(f"{exchange.status} {exchange.code}")
        exchange.end(Outcome.REFUSED)

    def _judge_stream(
        self,
        exchange: Exchange,
        reply: httpx.Response,
        path: str,
        known: tuple[object, ...] | None,
        also: set[str],
    ) -> None:
        events = events_of(reply.text.splitlines())
        if not events:
            raise WrongReplyError("a stream without events")
        name, data = events[-1]
        if name == "error":
            check_problem(exchange, data)
            self._refused(exchange, also)
        elif name == "reply" and events[0][0] == "images":
            self._check_reading(data, path, known)
            exchange.end(Outcome.RIGHT)
        else:
            raise WrongReplyError(f"a stream that goes from {events[0][0]} to {name}")

    def _check_reading(self, told: Any, path: str, known: tuple[object, ...] | None) -> None:
        model = ReportReply if path == "/report" else VqaReply
        try:
            model.model_validate(told)
        except ValueError as error:
            raise WrongReplyError(f"not the schema of {path}") from error
        said = "report" if path == "/report" else "answer"
        self._compare(known, {part: told[part] for part in (said, "reasoning", "images", "usage")})

    def _compare(self, known: tuple[object, ...] | None, told: Any) -> None:
        if known is not None and self._first.setdefault(known, told) != told:
            raise WrongReplyError(f"another answer than the first one to {known}")

    async def _leave(self, exchange: Exchange) -> None:
        sent = asyncio.Event()
        kind = (
            "stream" if exchange.kind == "leaves-stream" else self._random.choice(("vqa", "report"))
        )
        asking = asyncio.create_task(self._ask(exchange, kind, sent))
        arrived = asyncio.create_task(sent.wait())
        await asyncio.wait({asking, arrived}, return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
        await asyncio.wait({asking}, timeout=self._random.uniform(0, 5))
        if asking.done():
            await asking
            return
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        exchange.end(Outcome.LEFT)

    async def _repeat(self, exchange: Exchange) -> None:
        """Once more the same with the same key, then another with it."""
        path, film, fields, known = self._question("vqa")
        key = {"Idempotency_Key": exchange.request_id}
        first = await self._post(exchange, path, film, fields, key)
        self._judge(exchange, first, path, known)
        if first.status_code != 200:
            return

        async def again() -> None:
            reply = await self._post(repeat, path, film, fields, key)
            if (
                reply.headers.get("Idempotency-Replayed") != "true"
                or reply.content != first.content
            ):
                raise WrongReplyError("a repeat that is not the first reply")
            repeat.end(Outcome.RIGHT)

        async def with_another() -> None:
            reply = await self._post(reuse, path, film, fields | {"max_tokens": "7"}, key)
            check_problem(reuse, _json(reply), reply.headers)
            if reuse.code != "idempotency-key-reused":
                raise WrongReplyError(f"a key used again got {reuse.code}")
            reuse.end(Outcome.RIGHT)

        repeat = self._new("replayed", exchange.caller)
        await self._noted(repeat, again())
        reuse = self._new("key-reused", exchange.caller)
        await self._noted(reuse, with_another())

    async def _repeat_at_once(self, exchange: Exchange) -> None:
        """The same twice, the second while the first is at work."""
        path, film, fields, known = self._question("vqa")
        key = {"Idempotency_Key": exchange.request_id}
        sent = asyncio.Event()

        async def first() -> None:
            reply = await self._post(exchange, path, film, fields, key, sent)
            self._judge(exchange, reply, path, known)

        async def second() -> None:
            reply = await self._post(twin, path, film, fields, key)
            if reply.status_code == 200:
                self._judge(twin, reply, path, known)
                return
            check_problem(twin, _json(reply), reply.headers)
            if twin.code == "idempotency-in-flight":
                twin.end(Outcome.RIGHT)
            else:
                self._refused(twin, set())

        asking = asyncio.create_task(self._noted(exchange, first()))
        arrived = asyncio.create_task(sent.wait())
        await asyncio.wait({asking, arrived}, return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
        twin = self._new("twin", exchange.caller)
        await asyncio.gather(asking, self._noted(twin, second()))

    async def _misuse(self, exchange: Exchange) -> None:
        kind = exchange.kind
        film: bytes | None = self._films[0]
        fields: dict[str, str] = {}
        path = "/report"
        if kind == "truncated":
            film = truncated_film(self._random)
        elif kind == "noise":
            film = noise(self._random)
        elif kind == "unknown-field":
            fields = {"modality": "CR"}
        elif kind == "no-question":
            path = "/vqa"
        elif kind == "no-such-path":
            path, film = "/reports", None
        elif kind == "no-credential":
            exchange.caller = ""
        headers = self._headers(exchange)
        if kind == "wrong-credential":
            headers["Authorization"] = "Bearer dmx_000000000000_" + "A" * 43
        if kind == "wrong-type":
            reply = await self._client.post(
                path, content=b"<film/>", headers=headers | {"Content-Type": "text/xml"}
            )
        else:
            files = None if film is None else {"image": film}
            reply = await self._client.post(path, files=files, data=fields, headers=headers)
        exchange.status = reply.status_code
        self._judge_misuse(exchange, _json(reply), reply.headers)

    def _judge_misuse(self, exchange: Exchange, document: Any, headers: httpx.Headers) -> None:
        check_problem(exchange, document, headers)
        status, codes = _BAD[exchange.kind]
        if exchange.status == status and exchange.code in codes:
            exchange.end(Outcome.RIGHT)
        else:
            # Credentials, path and announced size come before admission.
            self._refused(exchange, set())

    async def _oversize(self, exchange: Exchange) -> None:
        """Announce more than the service takes, and send a little of it."""
        url = self._client.base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        try:
            headers = self._headers(exchange) | {
                "Host": url.host,
                "Content-Type": "application/dicom",
                "Content-Length": str(10**10),
            }
            lines = ["POST /report HTTP/1.1", *(f"{name}: {it}" for name, it in headers.items())]
            writer.write("\r\n".join([*lines, "", ""]).encode() + bytes(1000))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            exchange.status = int(head[0].split()[1])
            found = httpx.Headers([tuple(line.split(": ", 1)) for line in head[1:] if line])
            body = await reader.readexactly(int(found["content-length"]))
            self._judge_misuse(exchange, json.loads(body), found)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise WrongReplyError(f"no reply: {type(error).__name__}") from error
        finally:
            writer.close()


def _json(reply: httpx.Response) -> Any:
    try:
        return reply.json()
    except ValueError as error:
        raise WrongReplyError(f"{reply.status_code} that is not JSON") from error


def draw(weights: dict[str, int], generator: random.Random) -> Callable[[], str]:
    """Return a function that draws a kind by weight."""
    kinds, chances = list(weights), list(weights.values())
    return lambda: generator.choices(kinds, chances)[0]
