"""vLLM's log, in whichever of its processes: reached through ``engine-logging.json``.

vLLM configures its logger in each process that it starts, from the file that
``VLLM_LOGGING_CONFIG_PATH`` names; ours sends it through the same handler as everything else. On an
engine's failure vLLM dumps what it was working on, pixels included, and exceptions' texts: see
:mod:`service.telemetry.reticence` for what is left of that.
"""

from __future__ import annotations

import os

from service.telemetry.logs import FORMAT_VARIABLE, LogFormat, LogHandler

LEVEL = os.environ.get("VLLM_LOGGING_LEVEL", "ERROR").upper()
"""Least severe message of vLLM that shows."""


def handler() -> LogHandler:
    """Return the handler of vLLM's logger."""
    named = os.environ.get(FORMAT_VARIABLE, LogFormat.AUTO)
    return LogHandler(LogFormat(named) if named in set(LogFormat) else LogFormat.AUTO)
