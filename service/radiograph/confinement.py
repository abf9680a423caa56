"""What a decode worker may not do: codecs read what anyone sends, and one day one has a flaw."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from contextlib import suppress
from pathlib import Path

import cv2

from service.parent_death import end_with_parent
from service.private_memory import forbid_core_dumps

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_SECCOMP = {"x86_64": 317, "aarch64": 277}
"""Its number, since the C library has no function for it."""
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of the kernel's packet filter (BPF): load a word, jump, return."""
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
"""Offsets in ``seccomp_data`` (seccomp(2)); of an argument, its lower word."""
_OTHER_TABLE = 0x40000000
"""From here on, numbers are of x86's table for 32-bit pointers, or of none."""

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""By ``uname -m``, as the kernel's audit names them."""
_REFUSED = {
    # socket, socketpair, execve, execveat, ptrace, process_vm_readv, process_vm_writev, kill,
    # tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal, io_uring_setup, pidfd_getfd
    "x86_64": (41, 53, 59, 322, 101, 310, 311, 62, 200, 129, 297, 424, 425, 438),
    "aarch64": (198, 199, 221, 281, 117, 270, 271, 129, 130, 138, 240, 424, 425, 438),
}
"""Numbers of the calls that open a way out, start a program, or reach into another process."""
_OF_ITSELF = {"x86_64": (234, 302), "aarch64": (131, 261)}
"""tgkill, with which abort(3) ends a process, and prlimit64: of this process alone."""


def confine(memory_limit: int, *, parent: int) -> bool:
    """Bound this process: its memory, no files written, no core dumps, first to go when short.

    On Linux it ends with its parent, and may open no connection, start no program, signal no other
    process and attach to none; what tries is refused with EPERM. A kernel without seccomp leaves
    that out.

    Parameters
    ----------
    memory_limit
        Address space in bytes beyond what this process takes already; allocation beyond it fails
        instead of taking the machine's.
    parent
        The service's process.

    Returns
    -------
    bool
        Whether the kernel refuses calls, too.
    """
    cv2.setNumThreads(1)  # one a processor, they would share out the address space as stacks
    most = _taken() + memory_limit
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    forbid_core_dumps()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if sys.platform == "linux":
        end_with_parent(parent)
        return _refuse_calls(platform.machine())
    return False


def _taken() -> int:
    """Bytes of address space that this process has."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[0]
    except OSError:  # not on Linux, or /proc is not mounted
        return 0
    return int(pages) * resource.getpagesize()


def _refuse_calls(machine: str) -> bool:
    if machine not in _ARCHITECTURES:
        return False
    program = _filter(_ARCHITECTURES[machine], _REFUSED[machine], _OF_ITSELF[machine])
    instructions = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.syscall(_SECCOMP[machine], _SET_MODE_FILTER, _ALL_THREADS, whole) == 0)


def _filter(architecture: int, refused: tuple[int, ...], of_itself: tuple[int, ...]) -> bytes:
    """A program for the kernel: refuse some calls, and all of any other table of calls.

    A jump's two distances are counted from the next instruction; the one for *no* comes second.
    """
    checks = len(refused) + len(of_itself)
    refuse = 5  # from the end: allow, load, own process, no process, refuse
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 0, checks + 2 + refuse - 1, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, checks + refuse - 1, 0, _OTHER_TABLE),
    ]
    for left, number in zip(range(checks - 1, -1, -1), (*refused, *of_itself), strict=True):
        code.append((_EQUAL, left + (1 if number in of_itself else refuse - 1), 0, number))
    code += [
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_EQUAL, 2, 0, os.getpid()),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)
