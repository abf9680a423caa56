"""The audit trail: where events go, and what is known of their getting there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from enum import StrEnum

from service.audit.chain import RecordKind
from service.audit.collector import Collector
from service.audit.event import AddressPolicy, Occurrence, Resource, audit_event
from service.audit.file import AuditFile, AuditUnavailableError
from service.audit.study import StudyHasher, StudyIdentity
from service.radiograph import Radiograph

LOG = logging.getLogger("deepmedix")


class FailurePolicy(StrEnum):
    """What happens to a request that cannot be recorded."""

    CLOSED = "closed"
    """It is refused."""

    OPEN = "open"
    """It is answered, and that it is missing is recorded as soon as that is possible."""


class AuditTrail:
    """Records what happened.

    With a file, an event counts as recorded when its line is in it (and on the disk, unless the
    file was told otherwise); the collector gets a copy in the background. With a collector alone
    it counts when the server has taken it, or, if the policy is ``open``, when it is in the queue.

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
    ) -> None:
        if file is None and collector is None:
            raise ValueError("an audit trail needs a file or a collector")
        self._hasher = hasher
        self._version = version
        self._file = file
        self._collector = collector
        self._policy = policy
        self._addresses = addresses
        self._unrecorded = 0
        self._resuming = asyncio.Lock()

    @property
    def closed(self) -> bool:
        """Whether a request that cannot be recorded is to be refused."""
        return self._policy is FailurePolicy.CLOSED

    @property
    def failing(self) -> bool:
        """Whether the last event could not be recorded."""
        return self._unrecorded > 0

    async def identities(self, films: Iterable[Radiograph]) -> tuple[StudyIdentity, ...]:
        """Return the identities of the studies that films belong to."""
        return await asyncio.to_thread(self._hasher.of_films, tuple(films))

    async def record(self, occurrence: Occurrence) -> None:
        """Record what happened; it is recorded when this returns.

        Raises
        ------
        AuditUnavailableError
            When it is not.
        """
        event = audit_event(occurrence, version=self._version, addresses=self._addresses)
        try:
            await self.resume()
            if self._file is not None:
                await asyncio.to_thread(self._file.append, RecordKind.EVENT, event)
                self._copy(event)
            elif self._collector is not None:
                if self.closed:
                    await self._collector.deliver(event)
                else:
                    self._collector.send(event)
        except AuditUnavailableError:
            self._unrecorded += 1
            raise

    def _copy(self, event: Resource) -> None:
        if self._collector is None:
            return
        try:
            self._collector.send(event)
        except AuditUnavailableError as error:
            LOG.error("an audit event is in the file alone: %s", error)

    def note_unrecorded(self) -> None:
        """Count a request that was refused because recording does not work."""
        self._unrecorded += 1

    async def resume(self) -> None:
        """After a failure, find out whether recording works again, by recording the gap.

        Raises
        ------
        AuditUnavailableError
            When it does not.
        """
        async with self._resuming:  # else two requests at once would record the same gap
            if self._file is None or not self._unrecorded:
                self._unrecorded = 0
                return
            gap = self._unrecorded
            line = {"unrecorded": gap, "answered": not self.closed}
            await asyncio.to_thread(self._file.append, RecordKind.RESUMED, line)
            self._unrecorded -= gap

    def reopen(self) -> None:
        """Open the file anew after it was moved away.

        Raises
        ------
        AuditUnavailableError
            When that fails.
        """
        if self._file is not None:
            self._file.reopen()

    async def close(self) -> None:
        """Send what waits and close the file."""
        if self._collector is not None:
            await self._collector.close()
        if self._file is not None:
            await asyncio.to_thread(self._file.close)
