"""No core dumps: the memory of the service holds films and prompts."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path


def forbid_core_dumps() -> None:
    """Let this process and those that it starts leave no memory behind when they crash.

    The limit alone does not hold where cores are piped to a program such as systemd-coredump
    (core(5)): there the filter leaves every mapping out. Both are inherited over fork and exec.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # not on Linux, or /proc is not mounted
        Path("/proc/self/coredump_filter").write_text("0")
