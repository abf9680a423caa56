"""The decode worker: ``python -m service.radiograph.worker MEMORY_LIMIT DESCRIPTOR PARENT``.

Reads requests from standard input and writes replies to standard output until the input ends.
Films and pixels pass through the memory that the descriptor names; it ends with its parent.
Imports NumPy, OpenCV, Pillow, pydicom and its codecs, and nothing of the engine.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import BinaryIO

from service.problem import Problem
from service.radiograph import problems
from service.radiograph.confinement import confine
from service.radiograph.load import load_radiograph
from service.radiograph.shared_bytes import read_shared, write_shared
from service.radiograph.wire import (
    ACKNOWLEDGED,
    LENGTHS,
    READY,
    READY_UNCONFINED,
    DecodeRequest,
    frame_message,
    problem_header,
    radiograph_header,
    read_request,
)


def serve(source: BinaryIO, sink: BinaryIO, shared: int) -> None:
    """Answer requests one by one until ``source`` ends; ``shared`` holds film and pixels."""
    while True:
        lengths = source.read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:
            return
        header_length, body_length = LENGTHS.unpack(lengths)
        header = source.read(header_length)
        if len(header) < header_length:
            return
        data = read_shared(shared, body_length)
        sink.write(ACKNOWLEDGED)
        sink.flush()
        sink.write(_answer(read_request(json.loads(header)), data, shared))
        sink.flush()
        del data


def _answer(request: DecodeRequest, data: bytes, shared: int) -> bytes:
    try:
        radiograph = load_radiograph(
            data,
            frame=request.frame,
            limits=request.limits,
            allow_other_anatomy=request.allow_other_anatomy,
        )
        write_shared(shared, radiograph.pixels)
        header, length = radiograph_header(radiograph), radiograph.pixels.nbytes
    except Problem as problem:
        header, length = problem_header(problem), 0
    except MemoryError:
        header, length = problem_header(problems.decode_out_of_memory()), 0
    except Exception:  # the last resort: whatever a film provokes is the film's problem
        header, length = problem_header(problems.decode_failed()), 0
    return frame_message({"number": request.number, **header}, length)


def main() -> None:
    """Serve standard input, with standard output kept clear of what codecs may print."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it means the service, see service.cli.hangup
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    refuses = confine(int(sys.argv[1]), parent=int(sys.argv[3]))
    sink.write(READY if refuses else READY_UNCONFINED)
    sink.flush()
    serve(sys.stdin.buffer, sink, int(sys.argv[2]))


if __name__ == "__main__":
    main()
