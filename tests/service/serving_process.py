"""``deepmedix serve`` with an engine that says what it is told: ``python -m`` this module.

The engine holds every report until the process gets SIGUSR1. With ENGINE_THAT_NEVER_STOPS in the
environment its orderly stop takes for ever; with HELD_START the start waits for a line on standard
input, as if it had a large checkpoint to check; with HANGING_DRIVER vLLM's start hangs in a thread;
with CHILD_THAT_CANNOT_BE_KILLED the engine leaves a process behind that takes no notice of a kill.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading

import service.app
from service.cli import main
from service.engine import EngineSettings, VllmEngine, WatchedEngine, vllm_engine
from tests.service.scripted_engine import Script, ScriptedEngine


class HoldingEngine(ScriptedEngine):
    """Answers the warm-up, and then holds each text in its middle."""

    async def start(self) -> None:
        release = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, release.set)
        held = Script(hold_after=2, release=release)
        self.say(held, containing="Held")
        if os.environ.get("CHILD_THAT_CANNOT_BE_KILLED"):
            _leave_a_child()
        await super().start()

    async def stop(self) -> None:
        if os.environ.get("ENGINE_THAT_NEVER_STOPS"):
            await asyncio.Event().wait()
        await super().stop()


class HangingEngine(VllmEngine):
    """Comes to its driver, and no further."""

    def _load(self) -> None:
        threading.Event().wait()


def _leave_a_child() -> None:
    child = multiprocessing.get_context("fork").Process(target=_live_as_long_as_the_parent)
    child.start()
    setattr(child, "kill", lambda: None)  # noqa: B010 - as of one that hangs in the kernel


def _live_as_long_as_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def make_engine(settings: EngineSettings) -> WatchedEngine:
    if os.environ.get("HANGING_DRIVER"):
        vllm_engine._LONGEST_GIVING_UP = 0.5
        return HangingEngine(settings)
    if os.environ.get("HELD_START"):
        print("start is held", file=sys.stderr, flush=True)
        sys.stdin.readline()
    return HoldingEngine()


if __name__ == "__main__":
    setattr(service.app, "VllmEngine", make_engine)  # noqa: B010 - a stand-in
    main()
