"""AuditEvents to a FHIR server: ``POST [base]/AuditEvent``, in order, with patience."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from service.audit import metrics
from service.audit.event import Resource
from service.audit.file import AuditUnavailableError
from service.telemetry import places_of

LOG = logging.getLogger("deepmedix")

_TIMEOUT = httpx.Timeout(10.0)
_FIRST_PAUSE = 0.5  # seconds before the first repeat; doubled each time
_LONGEST_PAUSE = 30.0
_REPEATABLE = frozenset({401, 403, 404, 407, 408, 425, 429})
"""Statuses that say nothing of the event: who asks, where, when and how often is the matter."""


_CHANCE = 1  # attempts that may fail in a row before the server counts as down


class CollectorSilentError(AuditUnavailableError):
    """The server has not taken an event in time; it goes on being sent."""


@dataclass
class _Parcel:
    event: Resource
    delivered: asyncio.Future[None] | None


class Collector:
    """Sends events in the background, one after the other, again and again until they are taken.

    What the server refuses for good (4xx but 408, 425 and 429) is logged, counted as undelivered
    and passed over. A repeat
    after an answer that got lost can store an event twice; its ``X-Request-Id`` tells.

    Parameters
    ----------
    url
        Base of a FHIR R4 server.
    token
        Sent as ``Authorization: Bearer`` where it is given.
    capacity
        Events that may wait.
    timeout
        Seconds after which :meth:`deliver` gives up.
    clock
        Seconds that never run backwards.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        capacity: int = 10_000,
        timeout: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._url = url.rstrip("/") + "/AuditEvent"
        self._headers = headers
        self._timeout = timeout
        self._waiting: asyncio.Queue[_Parcel] = asyncio.Queue(capacity)
        self._sender: asyncio.Task[None] | None = None
        self._sending = False
        self._down = False
        self._clock = clock
        self._next_attempt: float | None = None  # while it pauses between two

    @property
    def down(self) -> bool:
        """Whether the server is known to take nothing now; it is asked again meanwhile."""
        return self._down

    @property
    def retry_after(self) -> float | None:
        """Seconds until the server is asked again, ``None`` unless that is being waited for."""
        if self._next_attempt is None:
            return None
        return max(0.0, self._next_attempt - self._clock())

    @property
    def waiting(self) -> int:
        """Events not taken yet, that which is being sent among them."""
        return self._waiting.qsize() + self._sending

    def send(self, event: Resource) -> None:
        """Put an event into the queue.

        Raises
        ------
        AuditUnavailableError
            When the queue is full.
        """
        self._put(_Parcel(event, None))

    async def deliver(
        self, event: Resource, *, instead: Callable[[], Resource] | None = None
    ) -> None:
        """Put an event into the queue and wait until the server has taken it.

        Parameters
        ----------
        event
            What to deliver.
        instead
            Makes what is delivered in place of ``event``, or after it if the server may have it
            already, once this has given up. Without it ``event`` itself goes on being sent.

        Raises
        ------
        AuditUnavailableError
            When the queue is full, or the server does not take it in time, or refuses it.
        """
        delivered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        parcel = _Parcel(event, delivered)
        self._put(parcel)
        try:
            async with asyncio.timeout(self._timeout):
                await delivered
        except TimeoutError as error:
            if not delivered.cancelled():
                return  # taken in the very moment
            self._note(down=True)
            if instead is not None:
                parcel.event = instead()
            raise CollectorSilentError(
                "the audit collector does not answer in time", retry_after=self.retry_after
            ) from error

    async def close(self, grace: float = 5.0) -> None:
        """Send what waits, within ``grace`` seconds, and stop."""
        if self._sender is None:
            return
        try:
            async with asyncio.timeout(grace):
                await self._waiting.join()
        except TimeoutError:
            waiting = self.waiting
            LOG.warning("%d audit events could not be sent to the collector", waiting)
            metrics.UNDELIVERED.inc(waiting)
        self._sender.cancel()
        await asyncio.gather(self._sender, return_exceptions=True)
        self._sender = None

    def _note(self, *, down: bool) -> None:
        self._down = down
        metrics.COLLECTOR_DOWN.set(down)

    def _put(self, parcel: _Parcel) -> None:
        if self._sender is None or self._sender.done():
            # It outlives the request: its lines are not to bear that one's id.
            nobody = contextvars.Context()
            self._sender = asyncio.create_task(self._send_all(), context=nobody)
        try:
            self._waiting.put_nowait(parcel)
        except asyncio.QueueFull as error:
            raise AuditUnavailableError(
                "the queue of the audit collector is full", retry_after=self.retry_after
            ) from error

    async def _send_all(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._send_on()
            except Exception as failure:  # a certificate that is not there, whatever is next
                LOG.error("events cannot be sent to the audit collector: %s", places_of(failure))
                self._note(down=True)
            await self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _send_on(self) -> None:
        async with httpx.AsyncClient(timeout=_TIMEOUT, headers=self._headers) as client:
            while True:
                parcel = await self._waiting.get()
                self._sending = True
                try:
                    await self._send(client, parcel)
                except Exception:
                    _settle(parcel, AuditUnavailableError("the audit event cannot be sent"))
                    raise
                finally:
                    self._sending = False
                    self._waiting.task_done()

    async def _send(self, client: httpx.AsyncClient, parcel: _Parcel) -> None:
        pause = _FIRST_PAUSE
        failures = 0
        while True:
            event = parcel.event
            error: AuditUnavailableError | None = None
            try:
                body = json.dumps(event).encode()
                status = (await client.post(self._url, content=body)).status_code
            except httpx.HTTPError as failure:
                LOG.warning("the audit collector cannot be reached (%s)", type(failure).__name__)
            else:
                refused = 400 <= status < 500 and status not in _REPEATABLE
                if status >= 300:
                    LOG.warning("the audit collector answers with status %d", status)
                if refused:
                    error = AuditUnavailableError("the audit collector refuses the event")
                if status < 300 or refused:
                    self._note(down=False)
                    if parcel.event is not event:
                        continue  # another took its place meanwhile
                    _settle(parcel, error)
                    return
            failures += 1
            self._note(down=self._down or failures > _CHANCE)
            await self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _pause(self, seconds: float) -> None:
        self._next_attempt = self._clock() + seconds
        await asyncio.sleep(seconds)
        self._next_attempt = None


def _settle(parcel: _Parcel, error: AuditUnavailableError | None) -> None:
    if parcel.delivered is None or parcel.delivered.done():
        if error is not None:
            metrics.UNDELIVERED.inc()
        return
    if error is None:
        parcel.delivered.set_result(None)
    else:
        parcel.delivered.set_exception(error)
