"""What the control groups of this process let it take: a container's limits, versions 1 and 2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_MOUNTED = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cores(mounted: Path = _MOUNTED, own: Path = _OWN) -> int:
    """Return how many processor cores this process can keep busy: its affinity and its quota.

    At least one.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    for folder in _groups("cpu", mounted, own):
        quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota is None:
            quota, period = _numbers(folder / "cpu.max")
        if quota and period:
            cores = min(cores, quota // period)
    return max(1, cores)


def free_memory(mounted: Path = _MOUNTED, own: Path = _OWN) -> int | None:
    """Return the bytes that this process may take still, or ``None`` where there is no limit."""
    free = []
    for folder in _groups("memory", mounted, own):
        most, taken = _number(folder / "memory.max"), _number(folder / "memory.current")
        if most is None:
            most = _number(folder / "memory.limit_in_bytes")
            taken = _number(folder / "memory.usage_in_bytes")
        if most is not None and taken is not None:
            free.append(max(0, most - taken + _given_up(folder)))
    return min(free, default=None)


def _given_up(folder: Path) -> int:
    """Bytes of files in memory, which the kernel gives up when they are needed."""
    lines = (line.split() for line in _text(folder / "memory.stat").splitlines())
    told = {line[0]: int(line[1]) for line in lines if len(line) == 2}
    return told.get("total_inactive_file", told.get("inactive_file", 0))


def _groups(controller: str, mounted: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of the groups that this process is in, from the outermost one.

    In a container the path that is told may be the host's, and its own group the mounted one.
    """
    for line in _text(own).splitlines():
        _, _, named = line.partition(":")
        controllers, _, path = named.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        folder = mounted / controller if controllers else mounted
        yield folder
        for part in Path(path).parts[1:]:
            folder /= part
            yield folder


def _number(path: Path) -> int | None:
    return _numbers(path)[0]


def _numbers(path: Path) -> tuple[int | None, int | None]:
    """The first two numbers of a file; ``None`` where it says ``max``, or -1, or is not there."""
    words = [int(word) if word.isdecimal() else None for word in _text(path).split()]
    first, second, *_ = [*words, None, None]
    return first, second


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
