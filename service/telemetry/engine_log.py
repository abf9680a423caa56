"""vLLM's log, in whichever of its processes: reached through ``engine-logging.json``.

vLLM configures its logger in each process that it starts, from the file that
``VLLM_LOGGING_CONFIG_PATH`` names; ours sends it through the same handler as everything else. On an
engine's failure vLLM dumps what it was working on, pixels included, and exceptions' texts: see
:mod:`service.telemetry.reticence` for what is left of that.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from service.telemetry.logs import FORMAT_VARIABLE, LogFormat, LogHandler
from service.telemetry.reticence import START_FAILURE_VARIABLE, START_FAILURES

LEVEL = os.environ.get("VLLM_LOGGING_LEVEL", "ERROR").upper()
"""Least severe message of vLLM that shows."""


class EngineLogHandler(LogHandler):
    """Keeps what a failed start came from, so that the service can say it where it ends, too."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        with suppress(Exception):  # else it would stand in the way of what failed
            self._keep(record)
        super().emit(record)

    def _keep(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        file = os.environ.get(START_FAILURE_VARIABLE)
        if error is not None and file and record.msg in START_FAILURES:
            text = f"{type(error).__qualname__}: {error}"
            with open(file, "x", encoding="utf-8", errors="backslashreplace") as why:
                why.write(text)


def handler() -> LogHandler:
    """Return the handler of vLLM's logger."""
    named = os.environ.get(FORMAT_VARIABLE, LogFormat.AUTO)
    return EngineLogHandler(LogFormat(named) if named in set(LogFormat) else LogFormat.AUTO)
