"""The log: one JSON object a line, or readable lines on a terminal; ours, uvicorn's and vLLM's."""

from __future__ import annotations

import logging
import os
import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from service.telemetry.reticence import places_of, reticent

ERRORS = logging.getLogger("deepmedix.errors")

ENGINE_LOGGING = Path(__file__).with_name("engine-logging.json")
"""Configuration of vLLM's logger, as ``logging.config.dictConfig`` takes it."""

FORMAT_VARIABLE = "DEEPMEDIX_LOG_FORMAT"
"""Tells the engine's processes the format; they know no other setting of ours."""


class LogFormat(StrEnum):
    """How a line of the log looks."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def format_for(log_format: LogFormat, stream: TextIO) -> LogFormat:
    """Return how a line to a stream looks: ``json`` or ``console``, never ``auto``."""
    if log_format is not LogFormat.AUTO:
        return log_format
    return LogFormat.CONSOLE if stream.isatty() else LogFormat.JSON


class LogHandler(logging.Handler):
    """Writes each record as one line to standard error, reticently.

    Parameters
    ----------
    log_format
        ``auto`` is ``console`` on a terminal and ``json`` elsewhere.
    stream
        Where to, instead of standard error.
    """

    def __init__(
        self, log_format: LogFormat = LogFormat.AUTO, *, stream: TextIO | None = None
    ) -> None:
        super().__init__()
        self._stream = stream
        renderer: Processor
        if format_for(log_format, self._out()) is LogFormat.JSON:
            renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
        else:
            renderer = structlog.dev.ConsoleRenderer(colors=self._out().isatty())
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[
                    structlog.contextvars.merge_contextvars,
                    structlog.stdlib.add_log_level,
                    structlog.stdlib.add_logger_name,
                    structlog.stdlib.ExtraAdder(),
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    _drop_process_of_vllm,
                ],
                processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            line = self.format(reticent(record))
            self._out().write(line + "\n")
            self._out().flush()
        except Exception:
            # logging's own handleError would print the record, arguments included.
            if logging.raiseExceptions:
                sys.stderr.write("a log line could not be written\n")

    def _out(self) -> TextIO:
        return self._stream or sys.stderr


def configure_logging(level: str, log_format: LogFormat = LogFormat.AUTO) -> None:
    """Send our log, uvicorn's and every library's through one :class:`LogHandler`.

    Parameters
    ----------
    level
        ``debug``, ``info``, ``warning`` or ``error``, of our own messages. Libraries' show from
        ``warning`` on; with ``debug``, uvicorn's from ``info`` on and all of vLLM's.
    log_format
        See :class:`LogHandler`.
    """
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, LogHandler)]:
        root.removeHandler(handler)
    root.addHandler(LogHandler(log_format))
    root.setLevel(logging.WARNING)
    logging.getLogger("deepmedix").setLevel(level.upper())
    logging.captureWarnings(True)  # a warning's text may quote what it warns about
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_unraisable
    if log_format is not LogFormat.AUTO:
        os.environ[FORMAT_VARIABLE] = log_format
    if level == "debug":
        logging.getLogger("uvicorn").setLevel(logging.INFO)
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "DEBUG")


def _drop_process_of_vllm(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """VLLM marks every record of the process; only its own processes' mark says something."""
    process = event.pop("vllm_process_name", None)
    if process not in (None, "MainProcess"):
        event["process"] = process
    return event


def _log_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        ERRORS.error("a thread failed: %s", places_of(arguments.exc_value))


def _log_unraisable(unraisable: Any) -> None:
    error: BaseException | None = unraisable.exc_value
    if error is not None:
        ERRORS.error("an error could not be raised: %s", places_of(error))
