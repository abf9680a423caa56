"""Whether a running service grows: memory over time, and what it holds when nothing is at work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import linear_regression, median

import httpx
import psutil

from benchmarks.endurance.served import Served

MIB = 1024 * 1024
_PERIOD = 1.0
_KEPT_ALIVE = 7.0
"""Seconds; connections without a request are closed after five by either side."""


@dataclass(frozen=True)
class Held:
    """What the service's processes hold while nothing is at work.

    Attributes
    ----------
    descriptors, threads
        Of all its processes together, from /proc and its metrics.
    tasks
        Asyncio tasks of the service's event loop, as ``deepmedix_asyncio_tasks`` has it.
    temporary_files
        Files under its TMPDIR.
    """

    descriptors: int
    threads: int
    tasks: int
    temporary_files: int


async def held_at_rest(served: Served, client: httpx.AsyncClient, limit: float = 60.0) -> Held:
    """Wait until no request is in progress and what is held does not change, and return that.

    Raises
    ------
    TimeoutError
        When it is not so within ``limit`` seconds.
    """
    last: Held | None = None
    since = 0.0
    async with asyncio.timeout(limit):
        while True:
            page = await served.metrics(client)
            held = _held(served, page)
            if held != last or page["deepmedix_requests_in_progress"]:
                last, since = held, time.monotonic()
            elif time.monotonic() - since > _KEPT_ALIVE:
                return held
            await asyncio.sleep(_PERIOD)


def _held(served: Served, page: dict[str, float]) -> Held:
    processes = served.processes()
    # The kernel shows the service's own to root alone (service.private_memory).
    others = [process for name, process in processes.items() if name != "service"]
    return Held(
        descriptors=int(page["process_open_fds"]) + sum(process.num_fds() for process in others),
        threads=sum(process.num_threads() for process in processes.values()),
        tasks=int(page["deepmedix_asyncio_tasks"]),
        temporary_files=sum(path.is_file() for path in served.temporary.rglob("*")),
    )


class MemoryWatch:
    """Resident memory of each process of a service, once a second."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.samples: list[tuple[float, dict[str, int]]] = []
        self.lives: dict[int, list[int]] = {}
        """Of each process that opened films, by its id, what it had, in order."""

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            sizes = {}
            for name, process in self._served.processes().items():
                with suppress(psutil.NoSuchProcess):
                    sizes[name] = process.memory_info().rss
                    if name == "decoder":
                        self.lives.setdefault(process.pid, []).append(sizes[name])
            self.samples.append((time.monotonic(), sizes))
            await asyncio.sleep(_PERIOD)


@dataclass(frozen=True)
class Growth:
    """Memory from a first window of time to a last one.

    Attributes
    ----------
    first, last
        Median of the first and of the last quarter, MiB; of what is renewed, of its life
        whose ratio is the median of its lives' (of two in the middle the larger).
    slope
        Least squares over all of it, MiB a minute.
    """

    first: float
    last: float
    slope: float

    @property
    def ratio(self) -> float:
        """Last over first."""
        return self.last / self.first


def growth(
    times: Sequence[float],
    sizes: Sequence[int],
    *,
    lives: Sequence[Sequence[int]] | None = None,
) -> Growth:
    """Return the growth of a series of two samples or more.

    Parameters
    ----------
    times
        Seconds.
    sizes
        Bytes.
    lives
        Of a process that gives way to a new one now and then, the sizes that each had, in their
        order. Nothing can grow from one to the next, and what the C library's heap keeps for the
        next film differs between them (by a quarter of the whole): what leaks does so in every
        life. The last is left out where there are others, for it has not come to its end.
    """
    slope = linear_regression([time / 60 for time in times], [size / MIB for size in sizes]).slope
    if lives is not None:
        grown = [Growth(*_ends(life), slope) for life in lives[:-1] or lives]
        return sorted(grown, key=lambda life: life.ratio)[len(grown) // 2]
    return Growth(*_ends(sizes), slope)


def _ends(sizes: Sequence[int]) -> tuple[float, float]:
    """Medians of the first and of the last quarter, MiB."""
    quarter = max(1, len(sizes) // 4)
    return median(sizes[:quarter]) / MIB, median(sizes[-quarter:]) / MIB
