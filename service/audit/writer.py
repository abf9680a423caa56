"""The thread that writes the audit file, and how long it is waited for."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from service.audit.chain import RecordKind
from service.audit.file import AuditFile, AuditUnavailableError, LineStaysError
from service.daemon_thread import DaemonThread

LOG = logging.getLogger("deepmedix")


class FileWriter:
    """Writes lines in the order in which they come, each within some seconds or not at all.

    A disk that stalls (a network's, a volume of a cloud) holds the thread in the kernel, where
    nothing can end it. Whoever waits for its line gives up after ``timeout``: a line that is not
    begun by then never will be, and what becomes of the one at work shows later. Until then
    everything else is refused at once, so that the chain goes on from what is known.

    Parameters
    ----------
    file
        What to write; nobody else uses it from now on.
    timeout
        Seconds that a line may take, its waiting for others included.
    """

    def __init__(self, file: AuditFile, *, timeout: float = 10.0) -> None:
        self._file = file
        self._timeout = timeout
        self._thread = DaemonThread("audit-file")
        self._given_up: set[asyncio.Future[object]] = set()
        self._closed = False

    @property
    def stalled(self) -> bool:
        """Whether something that nobody waits for any more is still at work."""
        return bool(self._given_up)

    def check(self) -> None:
        """Return when a line can be tried.

        Raises
        ------
        AuditUnavailableError
            Else.
        """
        if self._closed:
            raise AuditUnavailableError(f"{self._file.path} is closed")
        if self.stalled:
            raise AuditUnavailableError(f"{self._file.path}: the disk does not answer")

    async def append(
        self, kind: RecordKind, payload: Mapping[str, Any], *, late: Callable[[], None]
    ) -> None:
        """Write one line.

        Parameters
        ----------
        kind, payload
            As :meth:`AuditFile.append` takes them.
        late
            Called, before anything else is written, if the line gets into the file after this has
            given it up.

        Raises
        ------
        AuditUnavailableError
            When it is not written, or not in time.
        LineStaysError
            As :meth:`AuditFile.append`.
        """
        await self._do(partial(self._file.append, kind, payload), late)

    async def reopen(self) -> None:
        """Close the file and open what now has its name, in the same chain.

        Raises
        ------
        AuditUnavailableError
            When that fails, or takes too long.
        """
        await self._do(self._file.reopen, lambda: None)

    async def close(self) -> None:
        """Close the file and end the thread, after what is at work; wait for it as for a line."""
        if self._closed:
            return
        self._closed = True
        closing = asyncio.wrap_future(self._thread.submit(self._file.close))
        self._thread.shutdown(wait=False)
        if not self.stalled:
            await asyncio.wait({closing}, timeout=self._timeout)
        if not closing.done():
            LOG.error("%s could not be closed: the disk does not answer", self._file.path)

    async def _do(self, work: Callable[[], object], late: Callable[[], None]) -> None:
        self.check()
        doing = self._thread.submit(contextvars.copy_context().run, work)
        done = asyncio.wrap_future(doing)
        await asyncio.wait({done}, timeout=self._timeout)
        if done.done():
            done.result()
            return
        if not doing.cancel():  # it has begun
            self._given_up.add(done)
            done.add_done_callback(partial(self._end, late))
        raise AuditUnavailableError(
            f"{self._file.path}: the disk did not answer within {self._timeout:g} s"
        )

    def _end(self, late: Callable[[], None], done: asyncio.Future[object]) -> None:
        self._given_up.discard(done)
        if done.cancelled():
            return
        error = done.exception()
        if error is None or isinstance(error, LineStaysError):
            late()
        if error is None:
            LOG.warning("%s: the disk answers again", self._file.path)
        else:
            LOG.error("the audit trail cannot be written: %s", error)
