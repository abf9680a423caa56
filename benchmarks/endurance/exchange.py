"""One request and what came of it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

import httpx

from benchmarks.endurance.served import ROOT
from service.api.problems import MEDIA_TYPE, ProblemDocument


class Outcome(StrEnum):
    """What came of a request."""

    RIGHT = "right"
    """Exactly what it should get."""

    REFUSED = "refused"
    """A well-formed 429, 503 or 504 that it may get."""

    LEFT = "left"
    """Its caller left, as planned."""

    WRONG = "wrong"
    """Anything else."""


@dataclass
class Exchange:
    """One request and what came of it.

    Attributes
    ----------
    kind
        What was asked, and how.
    caller
        Who asked; empty without credential.
    request_id
        Sent as ``X-Request-Id``.
    began, ended
        Seconds of the monotonic clock.
    outcome, status, code, retry_after
        What came.
    fault
        What is wrong with it, for outcome ``wrong``.
    """

    kind: str
    caller: str = ""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    outcome: Outcome = Outcome.WRONG
    status: int | None = None
    code: str | None = None
    retry_after: int | None = None
    fault: str | None = "it did not end"

    def end(self, outcome: Outcome, fault: str | None = None) -> None:
        """Note what came of it."""
        self.outcome, self.fault, self.ended = outcome, fault, time.monotonic()

    @property
    def seconds(self) -> float:
        """From its sending to its end."""
        return self.ended - self.began


class WrongReplyError(Exception):
    """A reply is not what it must be; the text says how."""


@cache
def documented_codes() -> frozenset[str]:
    """Return the problem codes that docs/errors.md lists."""
    lines = (ROOT / "docs" / "errors.md").read_text().splitlines()
    return frozenset(line.split("`")[1] for line in lines if line.startswith("| `"))


def check_problem(exchange: Exchange, document: Any, headers: httpx.Headers | None = None) -> None:
    """Check a problem document, and keep its code and ``Retry-After``.

    Parameters
    ----------
    document
        The parsed body, or an ``error`` event's data.
    headers
        Of the reply; ``None`` for an event.

    Raises
    ------
    WrongReplyError
        When it is not as RFC 9457 and docs/errors.md have it.
    """
    try:
        problem = ProblemDocument.model_validate(document)
    except ValueError as error:
        raise WrongReplyError("no problem document") from error
    exchange.code = problem.code
    if problem.code not in documented_codes():
        raise WrongReplyError(f"{problem.code} is not in docs/errors.md")
    if problem.request_id != exchange.request_id:
        raise WrongReplyError("the problem names another request")
    if headers is None:
        return
    if headers.get("content-type") != MEDIA_TYPE:
        raise WrongReplyError(f"a problem as {headers.get('content-type')}")
    if problem.status != exchange.status:
        raise WrongReplyError(f"the problem says {problem.status}")
    if "retry-after" in headers:
        exchange.retry_after = int(headers["retry-after"])
    if problem.status in (429, 503) and (exchange.retry_after or 0) < 1:
        raise WrongReplyError(f"{problem.status} {problem.code} without Retry-After")


def events_of(lines: Iterable[str]) -> list[tuple[str, Any]]:
    """Return the names and data of the events in a stream's lines."""
    found = []
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
    return found
