import asyncio
import os

import pytest

from service.radiograph import shared_bytes
from service.radiograph.shared_bytes import SharedBytes

FILM = bytes(range(256)) * 4096


def _held(shared: SharedBytes) -> int:
    return os.fstat(shared.descriptor).st_blocks


async def test_memory_is_kept_for_a_film_that_follows_and_then_given_back(monkeypatch):
    monkeypatch.setattr(shared_bytes, "_KEPT_SECONDS", 0.0)
    shared = SharedBytes()
    try:
        await shared.put(FILM, room=2 * len(FILM))
        shared.release(len(FILM))
        assert _held(shared) > 0
        await shared.put(FILM, room=2 * len(FILM))  # before the time is up
        await asyncio.sleep(0.01)
        assert bytes(await shared.take(len(FILM))) == FILM
        shared.release(len(FILM))
        while _held(shared):
            await asyncio.sleep(0)
    finally:
        shared.close()


async def test_the_next_film_finds_nothing_of_the_one_before():
    shared = SharedBytes()
    try:
        await shared.put(FILM, room=2 * len(FILM))
        shared.release(len(FILM))
        await shared.put(b"short", room=2 * len(FILM))
        assert bytes(await shared.take(len(FILM))) == b"short" + bytes(len(FILM) - 5)
    finally:
        shared.close()


async def test_much_memory_is_given_back_at_once(monkeypatch):
    monkeypatch.setattr(shared_bytes, "_KEPT_BYTES", len(FILM) - 1)
    shared = SharedBytes()
    try:
        await shared.put(FILM, room=len(FILM))
        shared.release(len(FILM))
        assert _held(shared) == 0
    finally:
        shared.close()


async def test_nothing_is_cleared_once_it_is_closed(monkeypatch):
    monkeypatch.setattr(shared_bytes, "_KEPT_SECONDS", 0.0)
    shared = SharedBytes()
    await shared.put(FILM, room=len(FILM))
    shared.release(len(FILM))
    shared.close()
    await asyncio.sleep(0.01)
    with pytest.raises(ConnectionResetError):
        _ = shared.descriptor
