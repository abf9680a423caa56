"""``deepmedix serve`` on an engine that fails and quotes what it was asked, loudly.

``python -m tests.integration.quoting_engine quietly|openly serve …``: with ``quietly`` it says
so in the ways of libraries, of which the service must let nothing out; with ``openly`` past all of
them, and into files, which a search for leaks must find.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import AsyncGenerator

import service.app
from service.cli import main
from service.engine import Delta, GenerationRequest
from tests.service.scripted_engine import ScriptedEngine


class QuotingEngine(ScriptedEngine):
    """Answers the warm-up and nothing else."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self._way = way
        self._warm_ups = 2

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        if self._warm_ups:
            self._warm_ups -= 1
            async for delta in super().generate(request):
                yield delta
            return
        error = RuntimeError(f"cannot read {request.prompt}")
        if self._way == "openly":
            print(request.prompt, file=sys.stderr)
            for remains in (True, False):
                descriptor, path = tempfile.mkstemp()
                os.write(descriptor, request.prompt.encode())
                if not remains:
                    os.unlink(path)
        log = logging.getLogger("vllm.v1.engine")
        log.error(f"Dumping {request.prompt}")
        log.error("Dumping input: %s", request)
        log.error("It failed.", exc_info=error)
        logging.getLogger("deepmedix.errors").error("it failed", exc_info=error)
        warnings.warn(request.prompt, stacklevel=1)
        thread = threading.Thread(target=_fail, args=(error,))
        thread.start()
        thread.join()
        asyncio.ensure_future(_fail_unseen(error))  # noqa: RUF006 - lost on purpose
        raise error


def _fail(error: Exception) -> None:
    raise error


async def _fail_unseen(error: Exception) -> None:
    raise error


if __name__ == "__main__":
    way = sys.argv.pop(1)
    service.app.VllmEngine = lambda settings: QuotingEngine(way)
    main()
