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
_NO_SUCH_CALL = 0x00050000 | errno.ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of the kernel's packet filter (BPF): load a word, jump, return."""
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
"""Offsets in ``seccomp_data`` (seccomp(2)); of an argument, its lower word."""
_OTHER_TABLE = 0x40000000
"""From here on, numbers are of x86's table for 32-bit pointers, or of none."""

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""By ``uname -m``, as the kernel's audit names them."""
_REFUSED = {
    "x86_64": (
        # socket, socketpair, execve, execveat, ptrace, process_vm_readv, process_vm_writev, kill,
        # tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal, io_uring_setup, pidfd_getfd
        *(41, 53, 59, 322, 101, 310, 311, 62, 200, 129, 297, 424, 425, 438),
        # fork, vfork, setns, unshare, bpf, perf_event_open, userfaultfd, add_key, request_key,
        # keyctl
        *(57, 58, 308, 272, 321, 298, 323, 248, 249, 250),
        # creat, openat2, open_by_handle_at, truncate, rename, renameat, renameat2, link, linkat,
        # symlink, symlinkat, unlink, unlinkat, mkdir, mkdirat, rmdir, mknod, mknodat
        *(85, 437, 304, 76, 82, 264, 316, 86, 265, 88, 266, 87, 263, 83, 258, 84, 133, 259),
        # chmod, fchmod, fchmodat, fchmodat2, chown, fchown, lchown, fchownat, utime, utimes,
        # futimesat, utimensat, setxattr, lsetxattr, fsetxattr, removexattr, lremovexattr,
        # fremovexattr, chroot, pivot_root, mount, umount2, setxattrat, removexattrat
        *(90, 91, 268, 452, 92, 93, 94, 260, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199),
        *(161, 155, 165, 166, 463, 466),
    ),
    "aarch64": (
        *(198, 199, 221, 281, 117, 270, 271, 129, 130, 138, 240, 424, 425, 438),
        *(268, 97, 280, 241, 282, 217, 218, 219),  # it has neither fork nor vfork
        *(437, 265, 45, 38, 276, 37, 36, 35, 34, 33),  # of these, those of a folder's descriptor
        *(52, 53, 452, 55, 54, 88, 5, 6, 7, 14, 15, 16, 51, 41, 40, 39, 463, 466),
    ),
}
"""Numbers of the calls that open a way out, start a program, reach into another process, or change
what lies in a file system, by any name or descriptor."""
_OF_ITSELF = {"x86_64": (234, 302), "aarch64": (131, 261)}
"""tgkill, with which abort(3) ends a process, and prlimit64: of this process alone."""
_OPENING = {"x86_64": {2: 1, 257: 2}, "aarch64": {56: 2}}
"""open and openat, and which argument holds their flags: for reading alone."""
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | 0o20000000
"""The last is __O_TMPFILE, without the bit that it shares with O_DIRECTORY."""
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE_THREAD = 0x10000
_CLONE3 = 435
"""Its flags lie in memory, where no filter looks; the C library makes threads with clone, then."""


def confine(memory_limit: int, *, parent: int) -> bool:
    """Bound this process: its memory, no files written, no core dumps, first to go when short.

    On Linux it ends with its parent, opens files for reading alone and changes none, makes no
    process, and may open no connection, start no program, signal no other process and attach to
    none; what tries is refused with EPERM. A kernel without seccomp leaves that out.

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
    program = _filter(machine)
    instructions = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.syscall(_SECCOMP[machine], _SET_MODE_FILTER, _ALL_THREADS, whole) == 0)


def _filter(machine: str) -> bytes:
    """A program for the kernel: refuse some calls, and all of any other table of calls.

    Each rule is a jump over itself where the call is another. A jump's two distances are counted
    from the next instruction; the one for *no* comes second.
    """
    refuse = (_RETURN, 0, 0, _REFUSE)
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        refuse,
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _OTHER_TABLE),
        refuse,
    ]
    for number in _REFUSED[machine]:
        code += [(_EQUAL, 0, 1, number), refuse]
    code += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _NO_SUCH_CALL)]
    allow = (_RETURN, 0, 0, _ALLOW)
    for number in _OF_ITSELF[machine]:
        own = [(_EQUAL, 1, 0, os.getpid()), (_EQUAL, 0, 1, 0), allow, refuse]
        code += [(_EQUAL, 0, 5, number), (_LOAD, 0, 0, _argument(0)), *own]
    for number, flags in _OPENING[machine].items():
        code += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, _argument(flags))]
        code += [(_ANY_BIT, 0, 1, _TO_WRITE), refuse, allow]
    code += [(_EQUAL, 0, 4, _CLONE[machine]), (_LOAD, 0, 0, _argument(0))]
    code += [(_ANY_BIT, 1, 0, _CLONE_THREAD), refuse, allow, allow]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def _argument(place: int) -> int:
    """Offset of an argument's lower word in ``seccomp_data``."""
    return _FIRST_ARGUMENT_AT + 8 * place
