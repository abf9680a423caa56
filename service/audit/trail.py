"""The audit trail: where events go, and what is known of their getting there."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Coroutine, Iterable
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any

from service.audit import metrics
from service.audit.chain import RecordKind
from service.audit.collector import Collector, CollectorSilentError
from service.audit.event import (
    AddressPolicy,
    Occurrence,
    Resource,
    audit_event,
    gap_event,
    kept_address,
)
from service.audit.file import AuditFile, AuditUnavailableError, LineStaysError
from service.audit.refusals import Refusals
from service.audit.study import StudyHasher, StudyIdentity
from service.audit.writer import FileWriter
from service.radiograph import Radiograph

LOG = logging.getLogger("deepmedix")

_REFUSED = 503, "audit-unavailable"  # what a request comes to that is not recorded


class FailurePolicy(StrEnum):
    """What happens to a request that cannot be recorded."""

    CLOSED = "closed"
    """It is refused."""

    OPEN = "open"
    """It is answered, and that it is missing is recorded as soon as that is possible."""


class AuditScope(StrEnum):
    """Which requests leave an event."""

    READINGS = "readings"
    """Readings and acts of administration; refused credentials, those of one source together."""

    ALL = "all"
    """Every request that the application gets, probes apart, each by itself."""


class AuditTrail:
    """Records what happened.

    With a file, an event counts as recorded when its line is in it (and on the disk, unless the
    file was told otherwise); the collector gets a copy in the background. With a collector alone
    it counts when the server has taken it, or, if the policy is ``open``, when it is in the queue.
    A disk or a server that does not answer in time has not recorded it.

    Parameters
    ----------
    hasher
        Turns studies into identities.
    version
        Of the program.
    file, collector
        Where events go; at least one of them.
    policy
        Whether a request that cannot be recorded is refused.
    addresses
        How much of callers' network addresses is kept.
    scope
        Which requests leave an event; whoever records them asks.
    refusals
        Decides which refused credentials are told together.
    file_timeout
        Seconds that the disk may take for a line.
    """

    def __init__(
        self,
        hasher: StudyHasher,
        *,
        version: str,
        file: AuditFile | None = None,
        collector: Collector | None = None,
        policy: FailurePolicy = FailurePolicy.CLOSED,
        addresses: AddressPolicy = AddressPolicy.FULL,
        scope: AuditScope = AuditScope.READINGS,
        refusals: Refusals | None = None,
        file_timeout: float = 10.0,
    ) -> None:
        if file is None and collector is None:
            raise ValueError("an audit trail needs a file or a collector")
        self._hasher = hasher
        self._version = version
        self._writer = None if file is None else FileWriter(file, timeout=file_timeout)
        self._collector = collector
        self._policy = policy
        self._addresses = addresses
        self.scope = scope
        self._unrecorded = 0
        self._corrections: list[Resource] = []
        self._resuming = asyncio.Lock()
        self._refusals = Refusals() if refusals is None else refusals
        self._next_telling: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def closed(self) -> bool:
        """Whether a request that cannot be recorded is to be refused."""
        return self._policy is FailurePolicy.CLOSED

    @property
    def failing(self) -> bool:
        """Whether the last event could not be recorded, or the next one cannot."""
        stalled = self._writer is not None and self._writer.stalled
        return self._unrecorded > 0 or stalled or self._waits_in_vain

    async def identities(self, films: Iterable[Radiograph]) -> tuple[StudyIdentity, ...]:
        """Return the identities of the studies that films belong to."""
        return await asyncio.to_thread(self._hasher.of_films, tuple(films))

    async def record(self, occurrence: Occurrence) -> None:
        """Record what happened; it is recorded when this returns.

        Raises
        ------
        AuditUnavailableError
            When it is not. Where the event may be in the trail all the same, and the policy is
            ``closed``, another one of the same request follows: that it was refused.
        """
        recording = self._record(occurrence, self._event(occurrence))
        await (recording if self._writer is None else _to_its_end(recording))

    async def _record(self, occurrence: Occurrence, event: Resource) -> None:
        try:
            await self._resume()
            if self._writer is not None:
                await self._append(occurrence, event)
                self._copy(event)
            elif self._collector is not None:
                # Nobody waits for what is told of several refusals later.
                if self.closed and occurrence.repeats is None:
                    await self._collector.deliver(event, instead=lambda: self._refused(occurrence))
                else:
                    self._collector.send(event)
        except AuditUnavailableError:
            self._unrecorded += _requests(occurrence)
            metrics.FAILED.inc()
            raise
        metrics.RECORDED.inc()

    async def record_refusal(self, occurrence: Occurrence) -> None:
        """Record a refused credential, or count it where its caller had one just before.

        Where all requests are recorded, each is by itself.

        Callers are told apart by the address that is kept of them, and by the name that they have
        or claim. What was counted is recorded a minute after their last event, and at the end.

        Raises
        ------
        AuditUnavailableError
            When it is to be recorded at once, and is not.
        """
        principal = occurrence.principal
        name = occurrence.claimed_name if principal is None else principal.name
        source = kept_address(occurrence.client_address, self._addresses), name
        if self.scope is AuditScope.ALL:
            await self.record(occurrence)
        elif self._refusals.is_first(occurrence, source):
            self._tell_later()
            await self.record(occurrence)

    async def tell_refusals(self, *, early: bool = False) -> None:
        """Record what was counted of refused credentials and is due; ``early``: all of it."""
        while (occurrence := self._refusals.pop_due(early=early)) is not None:
            try:
                await self.record(occurrence)
            except AuditUnavailableError as error:
                LOG.error("the audit trail cannot be written: %s", error)

    def _tell_later(self) -> None:
        pause = self._refusals.next_due()
        if self._next_telling is None and pause is not None and not self._closing:
            # Of many requests: its lines are not to bear the id of that which was there first.
            self._next_telling = asyncio.get_running_loop().call_later(
                pause, self._tell_now, context=contextvars.Context()
            )

    def _tell_now(self) -> None:
        self._telling = asyncio.create_task(self._tell_and_go_on())

    async def _tell_and_go_on(self) -> None:
        await self.tell_refusals()
        self._next_telling = None
        self._tell_later()

    def _copy(self, event: Resource) -> None:
        if self._collector is None:
            return
        try:
            self._collector.send(event)
        except AuditUnavailableError as error:
            metrics.UNDELIVERED.inc()
            LOG.error("an audit event is in the file alone: %s", error)

    def note_unrecorded(self) -> None:
        """Count a request that was refused because recording does not work."""
        self._unrecorded += 1
        metrics.FAILED.inc()

    async def resume(self) -> None:
        """Find out whether recording works, after a failure by recording the gap.

        Raises
        ------
        AuditUnavailableError
            When it does not.
        """
        self._check_collector()
        if self._writer is None:
            await self._resume()
        else:
            self._writer.check()
            await _to_its_end(self._resume())

    @property
    def _waits_in_vain(self) -> bool:
        """Whether an event would wait for a collector that is known to be down."""
        return (
            self.closed
            and self._writer is None
            and self._collector is not None
            and self._collector.down
        )

    def _check_collector(self) -> None:
        if self._waits_in_vain and self._collector is not None:
            raise AuditUnavailableError(
                "the audit collector takes nothing now", retry_after=self._collector.retry_after
            )

    async def _resume(self) -> None:
        async with self._resuming:  # else two requests at once would record the same gap
            if gap := self._unrecorded:
                if self._writer is not None:
                    line = {"unrecorded": gap, "answered": not self.closed}
                    told = partial(self._tell_less, gap)
                    await self._writer.append(RecordKind.RESUMED, line, late=told)
                elif self._collector is not None:
                    await self._tell_gap(self._collector, gap)
                self._tell_less(gap)
            while self._writer is not None and self._corrections:
                correction = self._corrections[0]
                await self._writer.append(RecordKind.EVENT, correction, late=self._corrected)
                self._corrected()

    def _tell_less(self, requests: int) -> None:
        self._unrecorded -= requests

    def _corrected(self) -> None:
        self._copy(self._corrections.pop(0))

    async def _tell_gap(self, collector: Collector, gap: int) -> None:
        self._check_collector()
        event = gap_event(gap, answered=not self.closed, version=self._version)
        if not self.closed:
            collector.send(event)
            return
        try:
            await collector.deliver(event)
        except CollectorSilentError:
            self._unrecorded -= gap  # it is told as soon as the collector is back
            raise

    async def _append(self, occurrence: Occurrence, event: Resource) -> None:
        assert self._writer is not None  # looked at by whoever calls
        late = partial(self._written_late, occurrence, event)
        try:
            await self._writer.append(RecordKind.EVENT, event, late=late)
        except LineStaysError:
            if self.closed:
                self._corrections.append(self._refused(occurrence))
            raise

    def _written_late(self, occurrence: Occurrence, event: Resource) -> None:
        """Take note of an event that is in the file although it was counted as unrecorded."""
        self._unrecorded -= _requests(occurrence)
        if self.closed and occurrence.status < 400:
            self._corrections.append(self._refused(occurrence))
        else:
            self._copy(event)

    def _event(self, occurrence: Occurrence) -> Resource:
        return audit_event(occurrence, version=self._version, addresses=self._addresses)

    def _refused(self, occurrence: Occurrence) -> Resource:
        """Return the event of a request that was refused because it could not be recorded."""
        if occurrence.status >= 400:  # it was no success to begin with
            return self._event(occurrence)
        status, reason = _REFUSED
        return self._event(replace(occurrence, status=status, reason=reason))

    async def reopen(self) -> None:
        """Open the file anew after it was moved away.

        Raises
        ------
        AuditUnavailableError
            When that fails.
        """
        if self._writer is not None:
            await self._writer.reopen()

    async def close(self) -> None:
        """Tell what was counted, send what waits and close the file."""
        self._closing = True
        if self._next_telling is not None:
            self._next_telling.cancel()
        if self._telling is not None:
            await asyncio.gather(self._telling, return_exceptions=True)
        await self.tell_refusals(early=True)
        if self._writer is not None:
            try:
                await self._resume()
            except AuditUnavailableError as error:
                LOG.error("the audit trail cannot be written: %s", error)
        if self._collector is not None:
            await self._collector.close()
        if self._writer is not None:
            await self._writer.close()


def _requests(occurrence: Occurrence) -> int:
    return 1 if occurrence.repeats is None else occurrence.repeats.requests


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work that goes on where whoever waits is cancelled: what it writes it counts."""
    await asyncio.shield(asyncio.create_task(work))
