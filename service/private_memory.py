"""The memory of the service holds films, prompts and secrets: no core dumps, no readers."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Let this process and those that it starts leave no memory behind when they crash.

    The limit alone does not hold where cores are piped to a program such as systemd-coredump
    (core(5)): there the filter leaves every mapping out. Both are inherited over fork and exec.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # not on Linux, or /proc is not mounted
        Path("/proc/self/coredump_filter").write_text("0")


def forbid_inspection() -> None:
    """Let no other process of this user read this one's memory, environment or open files.

    Else whoever takes over a process that the service has started (a codec's flaw, say) reads its
    secrets in ``/proc``, however few it was given itself. Debuggers then need root. Ends at an
    exec (prctl(2), PR_SET_DUMPABLE): what is started from here is not covered. Does nothing but on
    Linux. Call it after :func:`forbid_core_dumps`, whose filter it makes the kernel own.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
