"""What the service starts must not outlive it, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the one that started it ends; on Linux alone.

    The kernel watches the parent's *thread* that started this process (prctl(2),
    PR_SET_PDEATHSIG): it must live as long as this process is to.

    Parameters
    ----------
    parent
        Its number; where it has ended already, this process is killed now.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
