"""The decode worker: ``python -m service.radiograph.worker MEMORY_LIMIT_BYTES``.

Reads requests from standard input and writes replies to standard output until the input ends.
Imports NumPy, Pillow, pydicom and its codecs, and nothing of the engine.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from service.core_dumps import forbid_core_dumps
from service.problem import Problem
from service.radiograph import problems
from service.radiograph.load import load_radiograph
from service.radiograph.wire import (
    ACKNOWLEDGED,
    LENGTHS,
    READY,
    DecodeRequest,
    frame_message,
    problem_header,
    radiograph_header,
    read_request,
)

_PIPE = 1 << 20  # bytes


def confine(memory_limit: int) -> None:
    """Bound this process: its memory, no files written, no core dumps, first to go when short.

    Parameters
    ----------
    memory_limit
        Address space in bytes; allocation beyond it fails instead of taking the machine's.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    forbid_core_dumps()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def widen(pipe: int) -> None:
    """Let a pipe hold a megabyte where the system can: a film is several, and each fill a wait."""
    with suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests one by one until ``source`` ends."""
    while True:
        lengths = source.read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:
            return
        header_length, body_length = LENGTHS.unpack(lengths)
        header = source.read(header_length)
        data = source.read(body_length)
        if len(header) < header_length or len(data) < body_length:
            return
        sink.write(ACKNOWLEDGED)
        sink.flush()
        reply, pixels = _answer(read_request(json.loads(header)), data)
        del data
        sink.write(reply)
        sink.write(pixels)
        sink.flush()


def _answer(request: DecodeRequest, data: bytes) -> tuple[bytes, bytes]:
    try:
        radiograph = load_radiograph(
            data,
            frame=request.frame,
            limits=request.limits,
            allow_other_anatomy=request.allow_other_anatomy,
        )
        pixels = radiograph.pixels.tobytes()
    except Problem as problem:
        return frame_message(problem_header(problem), 0), b""
    except MemoryError:
        return frame_message(problem_header(problems.decode_out_of_memory()), 0), b""
    except Exception:  # the last resort: whatever a film provokes is the film's problem
        return frame_message(problem_header(problems.decode_failed()), 0), b""
    return frame_message(radiograph_header(radiograph), len(pixels)), pixels


def main() -> None:
    """Serve standard input, with standard output kept clear of what codecs may print."""
    sink = os.fdopen(os.dup(1), "wb")
    widen(sink.fileno())
    os.dup2(2, 1)
    confine(int(sys.argv[1]))
    sink.write(READY)
    sink.flush()
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
