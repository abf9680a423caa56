"""Decoding in worker processes under memory and time limits."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from service.problem import Problem
from service.radiograph import problems
from service.radiograph.film import Radiograph
from service.radiograph.limits import Limits
from service.radiograph.load import media_type_of
from service.radiograph.memory import FilmMemory
from service.radiograph.metrics import LOSSES, Loss
from service.radiograph.reply import read_reply
from service.radiograph.shared_bytes import SharedBytes
from service.radiograph.wire import (
    ACKNOWLEDGED,
    LENGTHS,
    READY,
    READY_UNCONFINED,
    DecodeRequest,
    frame_message,
    request_header,
)

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]

LOG = logging.getLogger("deepmedix")

_START_LIMIT = 60.0  # seconds; importing takes well under one on an idle machine

_ENDING_LIMIT = 5.0  # seconds from a closed pipe to the end of the process

_ABANDONED_LIMIT = 1.0
"""Seconds that a film may still take whose caller has left: a fresh worker takes as long."""

_LONGEST_HEADER = 1 << 20  # bytes; real ones take a few thousand
_CHANNELS = 3  # bytes a pixel of what comes back, at most

# Signals that a film provokes in a codec, as opposed to an operator's or the kernel's SIGKILL.
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL})


class RadiographDecoder:
    """Decodes untrusted films in a small pool of supervised worker processes.

    A worker that crashes, is killed, or runs past its time is replaced; the request that it held
    gets a Problem and every other request is served. Bytes travel through memory that service and
    worker share, nothing is written to disk.

    Parameters
    ----------
    workers
        Films decoded at once.
    memory_limit
        Address space of one worker, in bytes.
    time_limit
        Seconds that one film may take.
    limits
        Caps checked on headers.
    memory
        Holds films for a while after they were decoded; ``None`` holds none.
    films_a_worker
        Films after which a worker gives way to a new one: a film that takes a worker over sees no
        more of those after it.

    Examples
    --------
    >>> decoder = RadiographDecoder()                   # doctest: +SKIP
    >>> await decoder.start()                           # doctest: +SKIP
    >>> film = await decoder.load(path.read_bytes())    # doctest: +SKIP
    >>> await decoder.close()                           # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        memory_limit: int = 2 * 1024**3,
        time_limit: float = 20.0,
        limits: Limits | None = None,
        memory: FilmMemory | None = None,
        films_a_worker: int = 1000,
    ) -> None:
        self._films_a_worker = films_a_worker
        self._renewals: set[asyncio.Task[None]] = set()
        self._memory = memory
        self._limits = limits or Limits()
        self._time_limit = time_limit
        self._workers = [_Worker(memory_limit) for _ in range(max(1, workers))]
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        for worker in reversed(self._workers):
            self._idle.put_nowait(worker)
        self._numbers = itertools.count()
        self._at_work: set[asyncio.Task[Radiograph]] = set()
        self._closed = False

    async def start(self) -> None:
        """Start the workers, so that the first film does not wait for one."""
        self._closed = False
        for worker in self._workers:
            worker.retired = False
        await asyncio.gather(*(worker.ensure_running() for worker in self._workers))

    async def load(
        self,
        data: bytes,
        *,
        frame: int | None = None,
        allow_other_anatomy: bool = False,
    ) -> Radiograph:
        """Decode and render one film in a worker.

        Parameters and refusals are those of :func:`~service.radiograph.load.load_radiograph`;
        in addition ``decode-timeout``, ``decode-out-of-memory`` and ``decode-worker-died``.
        """
        if self._closed:
            raise RuntimeError("The decoder is closed.")
        if not data:
            raise problems.empty_body()
        if len(data) > self._limits.max_bytes:
            raise problems.file_too_large()
        if media_type_of(data) is None:
            raise problems.unsupported_media_type()
        request = DecodeRequest(next(self._numbers), frame, allow_other_anatomy, self._limits)
        if self._memory is None:
            return await self._decode(request, data)
        opened_as = (frame, allow_other_anatomy)
        film = await self._memory.find(data, *opened_as)
        if film is None:
            film = await self._decode(request, data)
            if not self._closed:
                self._memory.remember_soon(film, data, *opened_as)
        return film

    async def _decode(self, request: DecodeRequest, data: bytes) -> Radiograph:
        worker = await self._idle.get()
        work = asyncio.create_task(self._work(worker, request, data))
        self._at_work.add(work)
        work.add_done_callback(self._at_work.discard)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # As a rule it is opened in a moment, and nobody waits for another worker to start.
            asyncio.get_running_loop().call_later(_ABANDONED_LIMIT, work.cancel)
            raise

    async def _work(self, worker: _Worker, request: DecodeRequest, data: bytes) -> Radiograph:
        worker.films += 1
        try:
            return await worker.decode(request, data, self._time_limit)
        finally:
            if worker.films < self._films_a_worker:
                self._idle.put_nowait(worker)
            else:
                renewal = asyncio.create_task(self._renew(worker))
                self._renewals.add(renewal)  # the loop itself keeps no hold of it
                renewal.add_done_callback(self._renewals.discard)

    async def _renew(self, worker: _Worker) -> None:
        """Put a new process in the place of one that may have been taken over."""
        try:
            worker.films = 0
            await worker.stop()
            with suppress(Problem):  # the next film tries again
                await worker.ensure_running()
        finally:
            self._idle.put_nowait(worker)

    async def close(self) -> None:
        """Stop the workers; a film being decoded is given up."""
        self._closed = True
        if self._memory is not None:
            self._memory.clear()
        for worker in self._workers:
            worker.retired = True
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        await asyncio.gather(*self._at_work, *self._renewals, return_exceptions=True)

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run."""
        return tuple(pid for worker in self._workers if (pid := worker.pid) is not None)


class _NotAcknowledgedError(Exception):
    """The worker was gone before it held the request."""


class _Worker:
    """One process; one film at a time."""

    def __init__(self, memory_limit: int) -> None:
        self._memory_limit = memory_limit
        self._process: asyncio.subprocess.Process | None = None
        self._shared: SharedBytes | None = None
        self._starting = asyncio.Lock()
        self.retired = False
        self.films = 0

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def ensure_running(self) -> tuple[asyncio.subprocess.Process, SharedBytes]:
        """Return the process; only one is started where several ask at once."""
        async with self._starting:
            return await self._ensure_running()

    async def _ensure_running(self) -> tuple[asyncio.subprocess.Process, SharedBytes]:
        if self.retired:  # a film that still waited when the decoder was closed
            raise problems.decode_worker_died()
        process, shared = self._process, self._shared
        if process is None or shared is None or process.returncode is not None:
            if process is not None and shared is not None:
                self._tell_loss(Loss.DIED)
            self._forget_shared()
            self._shared = shared = SharedBytes()
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "service.radiograph.worker",
                str(self._memory_limit),
                str(shared.descriptor),
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(shared.descriptor,),
                env=_environment(),
                # An interrupt typed at the terminal is the service's to handle.
                start_new_session=True,
            )
            await self._wait_until_ready(process)
        return process, shared

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # a pipe
        try:
            async with asyncio.timeout(_START_LIMIT):
                ready = await process.stdout.readexactly(len(READY))
        except (TimeoutError, asyncio.IncompleteReadError):
            self._tell_loss(Loss.DIED)
            await self.stop()
            raise problems.decode_worker_died() from None
        except asyncio.CancelledError:
            await self.stop()
            raise
        if ready == READY_UNCONFINED:
            LOG.warning("the kernel refuses no call to the process that opens films (seccomp)")

    async def decode(self, request: DecodeRequest, data: bytes, time_limit: float) -> Radiograph:
        try:
            return await self._attempt(request, data, time_limit)
        except _NotAcknowledgedError:
            # It died idle, before it saw this film: a fresh one can safely be tried.
            try:
                return await self._attempt(request, data, time_limit)
            except _NotAcknowledgedError:
                raise problems.decode_worker_died() from None

    async def _attempt(self, request: DecodeRequest, data: bytes, time_limit: float) -> Radiograph:
        process, shared = await self.ensure_running()
        try:
            async with asyncio.timeout(time_limit):
                return await _exchange(process, shared, request, data)
        except TimeoutError:
            self._tell_loss(Loss.TIMEOUT)
            await self.stop()
            raise problems.decode_timeout() from None
        except _NotAcknowledgedError:
            self._tell_loss(Loss.DIED)
            await self.stop()
            raise
        except (ConnectionError, asyncio.IncompleteReadError):
            raise await self._epitaph(process) from None
        except (ValueError, KeyError, TypeError):
            self._tell_loss(Loss.BROKEN_REPLY)
            await self.stop()
            raise problems.decode_failed() from None
        except Problem:  # the worker's own, whole
            raise
        except BaseException:  # a reply that is still to come must not be the next request's
            await self.stop()
            raise

    async def _epitaph(self, process: asyncio.subprocess.Process) -> Problem:
        # Killing a process that is ending reaps it behind the event loop's back, and its exit
        # status is lost; its pipe is closed, so it ends by itself.
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDING_LIMIT):
                await process.wait()
        await self.stop()
        if process.returncode is not None and -process.returncode in _CRASHES:
            self._tell_loss(Loss.CRASHED)
            return problems.decode_failed()
        self._tell_loss(Loss.DIED)
        return problems.decode_worker_died()

    def _tell_loss(self, reason: Loss) -> None:
        """Say that the process is lost, unless that was our doing; the next film gets another."""
        if not self.retired:
            LOSSES.labels(reason=reason).inc()
            LOG.warning("a process that opens films was lost (%s)", reason)

    async def stop(self) -> None:
        process, self._process = self._process, None
        self._forget_shared()
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(_buried(process))

    def _forget_shared(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()


async def _exchange(
    process: asyncio.subprocess.Process, shared: SharedBytes, request: DecodeRequest, data: bytes
) -> Radiograph:
    assert process.stdin is not None  # both are pipes
    assert process.stdout is not None
    await shared.put(data, room=_CHANNELS * request.limits.max_pixels)
    try:
        process.stdin.write(frame_message(request_header(request), len(data)))
        await process.stdin.drain()
        await process.stdout.readexactly(len(ACKNOWLEDGED))
    except (ConnectionError, asyncio.IncompleteReadError):
        raise _NotAcknowledgedError from None
    lengths = await process.stdout.readexactly(LENGTHS.size)
    header_length, body_length = LENGTHS.unpack(lengths)
    if header_length > _LONGEST_HEADER:
        raise ValueError("The worker's header is none.")
    header = json.loads(await process.stdout.readexactly(header_length))
    body = await shared.take(body_length)
    shared.release(max(len(data), body_length))
    return read_reply(header, body, request.number)


async def _buried(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of a process that was killed.

    asyncio tells of it only when all that it wrote has been read, and reads no more while too much
    of it lies there.
    """
    assert process.stdout is not None  # a pipe
    with suppress(RuntimeError):  # somebody else reads it still
        while await process.stdout.read(_LONGEST_HEADER):
            pass
    await process.wait()


def _environment() -> dict[str, str]:
    """Return what a worker needs and no more: one thread a process, none of our settings."""
    kept = {
        name: value
        for name in ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR")
        if (value := os.environ.get(name)) is not None
    }
    return {
        **kept,
        "PYTHONPATH": str(_PACKAGE_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
