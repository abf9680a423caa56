"""What vLLM's engine core does first thing in its own process, so that nothing outlives us."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from contextlib import suppress

from service.parent_death import end_with_parent

FOLDER = "VLLM_RPC_BASE_PATH"
"""Variable that names the folder of the engine's sockets; its other temporary files join them."""

PARENT = "ENGINE_CORE_PARENT"
"""Variable that names the service's process to a core.

Multiprocessing knows it only once the arguments are read, and reading them brings us here.
"""

CORE = "EngineCore"
"""How the names of the processes begin that vLLM starts from the service's own."""


def settle() -> None:
    """End with the service, however it ends, and leave no file behind; elsewhere do nothing.

    A signal is the service's to handle, and often reaches its children, too. What a terminal or
    `timeout` sends to a group of processes stays out of a group of our own: the core would end at
    once, and with it what the service lets finish. `systemctl kill` sends SIGHUP to all of a unit.
    """
    parent, folder = os.environ.get(PARENT), os.environ.get(FOLDER)
    if not parent or not multiprocessing.current_process().name.startswith(CORE):
        return
    tempfile.tempdir = folder
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with suppress(PermissionError):  # it leads a session already
        os.setpgid(0, 0)
    end_with_parent(int(parent))
