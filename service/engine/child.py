"""What vLLM's engine core does first thing in its own process, so that nothing outlives us."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile

FOLDER = "VLLM_RPC_BASE_PATH"
"""Variable that names the folder of the engine's sockets; its other temporary files join them."""

_SET_PARENT_DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of prctl(2): the signal that a process gets when its parent ends."""


def settle() -> None:
    """End with the service, however it ends, and leave no file behind; elsewhere do nothing.

    The kernel watches the parent's *thread* that started this process (prctl(2)): it must live as
    long as the engine.
    """
    parent = multiprocessing.parent_process()
    if parent is None or not multiprocessing.current_process().name.startswith("EngineCore"):
        return
    folder = os.environ.get(FOLDER)
    if folder:
        tempfile.tempdir = folder
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent.pid:  # it has ended already
        os.kill(os.getpid(), signal.SIGKILL)
