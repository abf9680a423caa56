"""What vLLM's engine core does first thing in its own process, so that nothing outlives us."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from service.parent_death import end_with_parent
from service.telemetry import START_FAILURE_VARIABLE, places_of

FOLDER = "VLLM_RPC_BASE_PATH"
"""Variable that names the folder of the engine's sockets; its other temporary files join them."""

PARENT = "ENGINE_CORE_PARENT"
"""Variable that names the service's process to a core.

Multiprocessing knows it only once the arguments are read, and reading them brings us here.
"""

CORE = "EngineCore"
"""How the names of the processes begin that vLLM starts from the service's own."""


_WHY = "start-failure"
"""File in the engine's folder that says why a process of it could not start."""

_SERVICE = "MainProcess"
"""Multiprocessing's name of a process that it has not started: the service's own."""


def start_failure(folder: str) -> str | None:
    """Why a process of the engine whose folder this is could not start; the first that said so."""
    try:
        return Path(folder, _WHY).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def settle() -> None:
    """End with the service, however it ends, and leave no file behind; elsewhere do nothing.

    A signal is the service's to handle, and often reaches its children, too. What a terminal or
    `timeout` sends to a group of processes stays out of a group of our own: the core would end at
    once, and with it what the service lets finish. `systemctl kill` sends SIGHUP to all of a unit.
    """
    parent, folder = os.environ.get(PARENT), os.environ.get(FOLDER)
    name = multiprocessing.current_process().name
    if not parent or name == _SERVICE:
        return
    _tell_places_alone()
    _tell_reticently()
    if folder:
        os.environ[START_FAILURE_VARIABLE] = os.path.join(folder, _WHY)
    if not name.startswith(CORE):
        return
    tempfile.tempdir = folder
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with suppress(PermissionError):  # it leads a session already
        os.setpgid(0, 0)
    end_with_parent(int(parent))


def _tell_reticently() -> None:
    """Send what libraries log past vLLM's logger through our handler, as in the service itself."""
    from service.telemetry import engine_log  # it reads a level that the service sets later

    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(engine_log.handler())


def _tell_places_alone() -> None:
    """Keep the texts of exceptions that end this process or a thread of it: they may be a caller's.

    Multiprocessing prints what ends a process by ``traceback.print_exc``.
    """

    def tell(error: BaseException | None) -> None:
        if error is not None and not isinstance(error, SystemExit):
            print(places_of(error), file=sys.stderr, flush=True)

    sys.excepthook = lambda kind, error, trace: tell(error)
    threading.excepthook = lambda thread: tell(thread.exc_value)
    traceback.print_exc = lambda *args, **options: tell(sys.exception())
