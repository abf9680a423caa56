"""``deepmedix serve`` with an engine that says what it is told: ``python -m`` this module.

The engine holds every report until the process gets SIGUSR1.
"""

from __future__ import annotations

import asyncio
import signal

import service.app
from service.cli import main
from tests.service.scripted_engine import Script, ScriptedEngine


class HoldingEngine(ScriptedEngine):
    """Answers the warm-up, and then holds each text in its middle."""

    async def start(self) -> None:
        release = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, release.set)
        held = Script(hold_after=2, release=release)
        self.say(held, containing="Held")
        await super().start()


if __name__ == "__main__":
    service.app.VllmEngine = lambda settings: HoldingEngine()  # type: ignore[assignment,misc]
    main()
