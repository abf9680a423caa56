"""What a scenario of chaos is, and what the scenarios share."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import httpx

from benchmarks.endurance.exchange import Exchange, Outcome
from benchmarks.endurance.served import Served
from benchmarks.endurance.traffic import Traffic
from tests.service.identity_provider import IdentityProvider


@dataclass(frozen=True)
class Check:
    """One thing that must be so.

    Attributes
    ----------
    claim
        In words.
    holds
        Whether it was so.
    evidence
        What was seen.
    """

    claim: str
    holds: bool
    evidence: str


@dataclass
class Case:
    """One run of a scenario.

    Attributes
    ----------
    served
        The service that things are done to.
    client
        Of it.
    provider
        OpenID Connect provider whose tokens the service takes.
    checks
        What was found.
    """

    served: Served
    client: httpx.AsyncClient
    provider: IdentityProvider
    checks: list[Check] = field(default_factory=list)

    def check(self, claim: str, holds: object, evidence: object = "") -> None:
        """Note whether something is as it must be."""
        self.checks.append(Check(claim, bool(holds), str(evidence)))

    def traffic(self, *allowed: str) -> Traffic:
        """Return traffic whose requests may be refused with these codes alone."""
        return Traffic(self.served, self.client, seed=5, allowed=frozenset(allowed))

    async def until_ready(self, status: int = 200, limit: float = 300.0) -> float:
        """Wait until ``/readyz`` answers so; the seconds that it took."""
        began = time.monotonic()
        async with asyncio.timeout(limit):
            while (await self.client.get("/readyz")).status_code != status:
                await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def load(self, traffic: Traffic, kinds: Sequence[str]) -> list[asyncio.Task[Exchange]]:
        """Send requests at once; returns when all are admitted and the engine is at work.

        Where one is answered before that, it returns then.
        """
        tasks = [asyncio.create_task(traffic.send(kind)) for kind in kinds]
        async with asyncio.timeout(120):
            while not any(task.done() for task in tasks):
                page = await self.served.metrics(self.client)
                running = sum(
                    value
                    for name, value in page.items()
                    if name.startswith("vllm:num_requests_running{")
                )
                if page["deepmedix_requests_in_progress"] >= len(kinds) and running:
                    break
        return tasks

    def account(self, traffic: Traffic, *, replies: bool = True) -> None:
        """Check that every request has a right ending, and that no reading is unrecorded."""
        exchanges = traffic.exchanges
        told = Counter(
            f"{e.status} {e.code or ''}".strip() if e.outcome is not Outcome.WRONG else e.fault
            for e in exchanges
        )
        wrong = [
            e
            for e in exchanges
            if e.outcome is Outcome.WRONG
            and (replies or not (e.fault or "").startswith("no reply"))
        ]
        self.check(f"each of {len(exchanges)} requests ended as it may", not wrong, dict(told))

    def recorded(self, traffic: Traffic) -> None:
        """Check that the audit trail holds every reading that was handed out."""
        events = self.served.audited()
        right = [e for e in traffic.exchanges if e.outcome is Outcome.RIGHT]
        missing = [e for e in right if e.request_id not in events]
        self.check("no reading left unrecorded", not missing, f"{len(right)} readings, all there")


@dataclass(frozen=True)
class Scenario:
    """Something that goes wrong.

    Attributes
    ----------
    name
        For ``--only``.
    run
        Does it and checks what comes of it.
    settings
        Of the service that it happens to; neighbours with the same share one.
    ends
        Whether the service is gone afterwards.
    """

    name: str
    run: Callable[[Case], Awaitable[None]]
    settings: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    ends: bool = False
