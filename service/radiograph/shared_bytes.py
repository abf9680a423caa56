"""Memory that the service shares with one decode worker: a film goes in, its pixels come out.

Anonymous (memfd_create(2), Linux): it has no name in any file system, is never on a disk, and is
gone with the processes that hold it.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os

import numpy as np
import numpy.typing as npt

_PIECE = 4 << 20  # bytes copied before other requests get their turn

_KEPT_BYTES = 32 << 20
_KEPT_SECONDS = 1.0
"""Up to so many bytes are kept for so long, for the next film: new pages cost as much as copying
into them does."""


class SharedBytes:
    """The service's side of it. The worker is not trusted: nothing is mapped here, only copied.

    Its methods raise ``ConnectionResetError`` once it is closed.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = os.memfd_create("film")
        self._clearing: asyncio.TimerHandle | None = None
        self._used = 0  # bytes that may hold something of the film before

    @property
    def descriptor(self) -> int:
        """For the worker to inherit."""
        # Asked for anew before each use: once closed, its number may be another file's.
        if self._descriptor is None:
            raise ConnectionResetError
        return self._descriptor

    async def put(self, data: bytes, room: int) -> None:
        """Copy a film in, and leave at least ``room`` bytes for what comes back.

        Nothing of the film before is left behind it: a worker that this film takes over must find
        nobody else's, and give out none.
        """
        self._forget_clearing()
        if len(data) < self._used:
            os.ftruncate(self.descriptor, len(data))
        # The worker may make no file larger; bytes that are not written to take no memory.
        os.ftruncate(self.descriptor, max(len(data), room))
        view, done = memoryview(data), 0
        while done < len(view):
            done += os.pwrite(self.descriptor, view[done : done + _PIECE], done)
            await asyncio.sleep(0)

    async def take(self, size: int) -> npt.NDArray[np.uint8]:
        """Copy the first bytes out.

        Raises
        ------
        ValueError
            Where there are not as many.
        """
        if size > os.fstat(self.descriptor).st_size:
            raise ValueError("The worker gave back more than there is room for.")
        taken = np.empty(size, np.uint8)
        done = 0
        while done < size:
            read = os.preadv(self.descriptor, [taken[done : done + _PIECE].data], done)
            if not read:
                raise ValueError("The worker gave back less than it said.")
            done += read
            await asyncio.sleep(0)
        return taken

    def release(self, used: int) -> None:
        """Give the memory back, and what is in it, soon: now where ``used`` bytes are many."""
        self._used = used
        if used > _KEPT_BYTES:
            self._clear()
        else:
            os.ftruncate(self.descriptor, used)
            self._clearing = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._clear)

    def _clear(self) -> None:
        self._clearing = None
        os.ftruncate(self.descriptor, 0)

    def _forget_clearing(self) -> None:
        clearing, self._clearing = self._clearing, None
        if clearing is not None:
            clearing.cancel()

    def close(self) -> None:
        """Let go of it."""
        self._forget_clearing()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def read_shared(descriptor: int, size: int) -> bytes:
    """Return the film, in the worker; fewer bytes where there are not as many."""
    return os.pread(descriptor, size, 0)


def write_shared(descriptor: int, pixels: npt.NDArray[np.uint8]) -> None:
    """Put pixels in the film's place, in the worker, which may write to memory but to no file.

    Raises
    ------
    MemoryError
        Where the worker's own limit leaves no room.
    """
    try:
        # All pages at once, rather than a fault for each.
        shared = mmap.mmap(descriptor, pixels.nbytes, mmap.MAP_SHARED | mmap.MAP_POPULATE)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from None
        raise
    with shared:
        shared[:] = pixels.data.cast("B")
