"""What films took goes back to the system, not to the heap of a process that runs for months."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGE = 1 << 20  # bytes; films and request bodies are larger, and what lives long is smaller
_KEPT = 64 << 20  # bytes; the pieces in which a body comes, which are smaller


def return_freed_memory() -> None:
    """Let this process give large blocks back as soon as they are free.

    The GNU C library raises its threshold to the largest block that was freed so far, 32 MiB at
    most, and keeps those below it on the heap, where one small block that lives on holds all that
    lies beneath. Naming a threshold stops that. It would also give back the end of the heap with
    every 128 KiB that are free there, and the kernel clear the same pages for each body anew; up to
    64 MiB are kept. Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
