"""Films remembered for a short while, so that the second question about one does not open it again.

In this process's memory only, found by a digest of the file that was sent, bounded in bytes, and
forgotten after a time whether or not anything else is asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from blake3 import blake3

from service.radiograph.film import Radiograph

Key = tuple[bytes, bytes, int | None, bool]
"""A glimpse and the digest of the file, and how it was opened."""

_HEAD, _STRIDE = 4096, 4093
"""A glimpse takes in a file's first bytes, and one of so many of the others."""

_MOST_FILMS = 256
"""Small films are few bytes each, but their model images and keys are not."""

_SMALL = 8 << 20
"""Bytes of which a digest is taken in a millisecond; on a busy machine a thread waits longer for
its turn."""


class FilmMemory:
    """The films decoded last.

    Parameters
    ----------
    max_bytes
        Bytes of pixels held at most; the film unused for longest goes first. What the model sees
        of a film stays with it and comes on top; it is smaller, as a rule far smaller.
    seconds
        Time after which a film is forgotten, counted from its decoding.
    """

    def __init__(self, *, max_bytes: int, seconds: float) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._films: OrderedDict[Key, tuple[Radiograph, asyncio.TimerHandle]] = OrderedDict()
        self._soon: dict[asyncio.Task[None], bytes] = {}  # glimpses of what is remembered soon

    @property
    def held(self) -> int:
        """Bytes of pixels held now, model images included."""
        return sum(map(_size, (film for film, _ in self._films.values())))

    @staticmethod
    async def key(data: bytes, frame: int | None, allow_other_anatomy: bool) -> Key:
        """Return what a film, opened in a certain way, is found by."""
        if len(data) <= _SMALL:
            digest = _digest(data)
        else:  # the digest is taken without the interpreter's lock
            digest = await asyncio.to_thread(_digest, data)
        return _glimpse(data), digest, frame, allow_other_anatomy

    async def find(
        self, data: bytes, frame: int | None, allow_other_anatomy: bool
    ) -> Radiograph | None:
        """Return the film of a file that was opened like this, where it is remembered."""
        glimpse = _glimpse(data)
        if soon := [task for task, other in self._soon.items() if other == glimpse]:
            await asyncio.wait(soon)
        if not self._may_hold(glimpse):  # as a rule it is new, and needs no digest yet
            return None
        return self.recall(await self.key(data, frame, allow_other_anatomy))

    def _may_hold(self, glimpse: bytes) -> bool:
        return any(key[0] == glimpse for key in self._films)

    def remember_soon(
        self, film: Radiograph, data: bytes, frame: int | None, allow_other_anatomy: bool
    ) -> None:
        """Remember a film by its file's digest, whose taking none but ``find`` waits for.

        Not now: the film is about to be resized in another thread, and the model waits for that.
        """
        task = asyncio.create_task(self._remember(film, data, frame, allow_other_anatomy))
        self._soon[task] = _glimpse(data)
        task.add_done_callback(self._soon.pop)

    async def _remember(
        self, film: Radiograph, data: bytes, frame: int | None, allow_other_anatomy: bool
    ) -> None:
        self.remember(await self.key(data, frame, allow_other_anatomy), film)

    def recall(self, key: Key) -> Radiograph | None:
        """Return a film that is remembered."""
        if key not in self._films:
            return None
        self._films.move_to_end(key)
        return self._films[key][0]

    def remember(self, key: Key, film: Radiograph) -> None:
        """Hold a film; one that is larger than all there is room for is not held."""
        size = _size(film)
        if size > self._max_bytes:
            return
        self._forget(key)
        held = self.held
        while held + size > self._max_bytes or len(self._films) >= _MOST_FILMS:
            oldest = next(iter(self._films))
            held -= _size(self._films[oldest][0])
            self._forget(oldest)
        timer = asyncio.get_running_loop().call_later(self._seconds, self._forget, key)
        self._films[key] = (film, timer)

    def clear(self) -> None:
        """Forget everything, and what would be remembered soon."""
        for task in self._soon:
            task.cancel()
        for key in list(self._films):
            self._forget(key)

    def _forget(self, key: Key) -> None:
        found = self._films.pop(key, None)
        if found is not None:
            _, timer = found
            timer.cancel()


def _size(film: Radiograph) -> int:
    return film.pixels.nbytes + sum(image.nbytes for image in film.resized.values())


def _digest(data: bytes) -> bytes:
    return blake3(data).digest()


def _glimpse(data: bytes) -> bytes:
    return blake3(len(data).to_bytes(8) + data[:_HEAD] + data[::_STRIDE]).digest()
