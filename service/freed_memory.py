"""What films took goes back to the system, not to the heap of a process that runs for months."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3  # mallopt(3)
_LARGE = 1 << 20  # bytes; films and request bodies are larger, and what lives long is smaller


def return_freed_memory() -> None:
    """Let this process give large blocks back as soon as they are free.

    The GNU C library raises its threshold to the largest block that was freed so far, 32 MiB at
    most, and keeps those below it on the heap, where one small block that lives on holds all that
    lies beneath. Naming a threshold stops that. Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
