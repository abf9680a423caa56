"""What a log line may say, whoever writes it.

Our own messages are written for the log. Those of libraries may hold anything: a prompt in an
exception's text, a film's pixels in a dump of the engine's input. Of them only what cannot come
from a caller is kept: text that stands literally in the library's source, numbers, the classes
and places of exceptions.
"""

from __future__ import annotations

import ast
import logging
import traceback
from functools import lru_cache
from pathlib import Path

OURS = ("deepmedix", "service")
"""Loggers whose messages are written for the log."""

LEFT_OUT = "…"
"""Stands for what a library's message would have said."""

START_FAILURES = frozenset({"EngineCore failed to start.", "WorkerProc failed to start."})
"""vLLM's messages before the first request: their exceptions can hold the operator's data only."""

START_FAILURE_VARIABLE = "DEEPMEDIX_ENGINE_START_FAILURE"
"""Names the file in which the first process of the engine's that cannot start leaves why."""

_STANDARD = frozenset({*logging.makeLogRecord({}).__dict__, "vllm_process_name"})

_CHAIN = 8
_FRAMES = 6


def reticent(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of a record that holds nothing of a caller.

    Of a library, extras go too. An exception goes out as ``error``: classes and places, no text.
    """
    ours = _is_ours(record.name)
    # Other handlers leave the whole message behind; a library's extras may hold anything.
    kept = {
        name: value
        for name, value in record.__dict__.items()
        if name in _STANDARD or (ours and name not in ("message", "asctime"))
    }
    safe = logging.makeLogRecord(kept)
    if not ours:
        safe.msg, safe.args = _literal_message(record), ()
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        told = record.msg in START_FAILURES
        safe.error = "".join(traceback.format_exception(error)) if told else places_of(error)
    safe.exc_info = safe.exc_text = safe.stack_info = None
    return safe


def places_of(error: BaseException) -> str:
    """Return the classes of an exception and of its causes, and where each was raised."""
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < _CHAIN:
        frames = traceback.extract_tb(current.__traceback__)[-_FRAMES:]
        places = " < ".join(f"{f.filename}:{f.lineno} {f.name}" for f in reversed(frames))
        chain.append(f"{type(current).__qualname__} at {places}")
        current = current.__cause__ or current.__context__
    return "; from ".join(chain)


def _is_ours(name: str) -> bool:
    return name.split(".", 1)[0] in OURS


def _literal_message(record: logging.LogRecord) -> str:
    if not isinstance(record.msg, str) or record.msg not in _literals(record.pathname):
        return f"{LEFT_OUT} ({Path(record.pathname).name}:{record.lineno})"
    if not record.args:
        return record.msg
    arguments = record.args if isinstance(record.args, tuple) else (record.args,)
    try:
        return record.msg % tuple(map(_number, arguments))
    except (TypeError, ValueError):  # a width or precision that only the real argument bears
        return record.msg


def _number(argument: object) -> object:
    return argument if type(argument) in (int, float, bool) else LEFT_OUT


@lru_cache(maxsize=256)
def _literals(path: str) -> frozenset[str]:
    """Every string that stands as a whole in a source file; f-strings do not."""
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
