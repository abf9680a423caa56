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

PARENT = "ENGINE_CORE_PARENT"
"""Variable that names the service's process to a core.

Multiprocessing knows it only once the arguments are read, and reading them brings us here.
"""

CORE = "EngineCore"
"""How the names of the processes begin that vLLM starts from the service's own."""

_SET_PARENT_DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of prctl(2): the signal that a process gets when its parent ends."""


def settle() -> None:
    """End with the service, however it ends, and leave no file behind; elsewhere do nothing.

    SIGHUP asks the service alone for something, and often reaches its children, too: a terminal
    sends it to all of its processes, `systemctl kill` to all of a unit's.

    The kernel watches the parent's *thread* that started this process (prctl(2)): it must live as
    long as the engine.
    """
    parent, folder = os.environ.get(PARENT), os.environ.get(FOLDER)
    if not parent or not multiprocessing.current_process().name.startswith(CORE):
        return
    tempfile.tempdir = folder
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(parent):  # it has ended already
        os.kill(os.getpid(), signal.SIGKILL)
