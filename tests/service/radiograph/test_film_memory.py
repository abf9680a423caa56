"""Films are remembered for a while: in memory, within bounds, and forgotten by themselves."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from service.radiograph import (
    FilmMemory,
    PixelGrid,
    RadiographDecoder,
    fit_to_grid,
    load_radiograph,
)


async def key_of(data: bytes):
    return await FilmMemory.key(data, None, False)


async def test_a_film_is_opened_once(build_dicom, monkeypatch):
    decoder = RadiographDecoder(memory=FilmMemory(max_bytes=1 << 20, seconds=60))
    opened = []
    decode = decoder._decode
    monkeypatch.setattr(
        decoder, "_decode", lambda request, data: (opened.append(request), decode(request, data))[1]
    )
    await decoder.start()
    data = build_dicom()
    try:
        first, second = await decoder.load(data), await decoder.load(data)
        assert second is first
        await decoder.load(data, allow_other_anatomy=True)
        await decoder.load(data, frame=1)
        assert len(opened) == 3  # what is asked otherwise may be answered otherwise
    finally:
        await decoder.close()


async def test_a_film_that_looks_like_one_held_is_told_from_it(build_dicom):
    data = build_dicom()
    other = data[:-1] + bytes([data[-1] ^ 1])
    decoder = RadiographDecoder(memory=FilmMemory(max_bytes=1 << 20, seconds=60))
    await decoder.start()
    try:
        film = await decoder.load(data)
        glimpses = [(await key_of(one))[0] for one in (data, other, data + b"\0")]
        assert glimpses[0] == glimpses[1] != glimpses[2]  # but for its last byte it is the same
        another = await decoder.load(other)
        assert (another.pixels != film.pixels).any()
        assert await decoder.load(data) is film
    finally:
        await decoder.close()


@pytest.fixture
def large(monkeypatch):
    """Films count as large, whose digest a thread takes."""
    monkeypatch.setattr("service.radiograph.memory._SMALL", 0)


@pytest.mark.parametrize("size", ["small", "large"])
async def test_a_film_is_remembered_when_its_digest_is_taken(build_dicom, request, size):
    if size == "large":
        request.getfixturevalue("large")
    data = build_dicom()
    memory = FilmMemory(max_bytes=1 << 22, seconds=60)
    decoder = RadiographDecoder(memory=memory)
    await decoder.start()
    try:
        film = await decoder.load(data)
        assert memory.held == 0  # it was not waited for
        assert await decoder.load(data) is film
        assert memory.held > 0
    finally:
        await decoder.close()


@pytest.mark.usefixtures("large")
async def test_a_film_whose_digest_is_still_taken_is_forgotten_too(build_dicom):
    film = load_radiograph(build_dicom())
    memory = FilmMemory(max_bytes=1 << 20, seconds=60)
    data = b"film"
    memory.remember_soon(film, data, None, False)
    memory.clear()
    assert await memory.find(data, None, False) is None
    assert memory.held == 0


async def test_a_refused_film_is_not_remembered(build_dicom):
    memory = FilmMemory(max_bytes=1 << 20, seconds=60)
    decoder = RadiographDecoder(memory=memory)
    await decoder.start()
    try:
        with pytest.raises(Exception, match="chest"):
            await decoder.load(build_dicom(BodyPartExamined="FOOT"))
        assert memory.held == 0
    finally:
        await decoder.close()


async def test_bytes_are_bounded_and_the_oldest_goes_first(build_dicom):
    film = load_radiograph(build_dicom())
    size = film.pixels.nbytes
    memory = FilmMemory(max_bytes=2 * size, seconds=60)
    keys = [await key_of(bytes([number])) for number in range(3)]
    for key in keys[:2]:
        memory.remember(key, film)
    assert memory.recall(keys[0]) is film
    memory.remember(keys[2], film)
    assert memory.recall(keys[1]) is None
    assert memory.recall(keys[0]) is film
    assert memory.held == 2 * size
    memory.remember(keys[0], film)
    assert memory.held == 2 * size
    memory.clear()
    assert memory.held == 0


async def test_the_models_images_count_as_soon_as_they_are_there(build_dicom):
    films = [load_radiograph(build_dicom()) for _ in range(3)]
    size = films[0].pixels.nbytes
    keys = [await key_of(bytes([number])) for number in range(3)]
    memory = FilmMemory(max_bytes=3 * size, seconds=60)
    for key, film in zip(keys[:2], films[:2], strict=True):
        memory.remember(key, film)
    image = fit_to_grid(films[1], PixelGrid(112 * 112, 224 * 224)).pixels
    assert memory.held == 2 * size + image.nbytes
    memory.remember(keys[2], films[2])
    assert memory.held <= 3 * size
    assert memory.recall(keys[2]) is films[2]


async def test_films_are_bounded_in_number_too(build_dicom):
    film = load_radiograph(build_dicom())
    memory = FilmMemory(max_bytes=1 << 40, seconds=60)
    for number in range(300):
        memory.remember(await key_of(number.to_bytes(2)), film)
    assert memory.held == 256 * film.pixels.nbytes
    assert memory.recall(await key_of((0).to_bytes(2))) is None


async def test_a_film_larger_than_all_the_room_is_not_held(build_dicom):
    film = load_radiograph(build_dicom())
    memory = FilmMemory(max_bytes=film.pixels.nbytes - 1, seconds=60)
    memory.remember(await key_of(b""), film)
    assert memory.held == 0


async def test_a_film_is_forgotten_though_nobody_asks(build_dicom):
    film = load_radiograph(build_dicom())
    memory = FilmMemory(max_bytes=1 << 20, seconds=0.001)
    memory.remember(await key_of(b"film"), film)
    async with asyncio.timeout(20):
        while memory.held:
            await asyncio.sleep(0)
    assert memory.recall(await key_of(b"film")) is None


async def test_closing_the_decoder_forgets(build_dicom):
    memory = FilmMemory(max_bytes=1 << 20, seconds=60)
    decoder = RadiographDecoder(memory=memory)
    await decoder.start()
    data = build_dicom()
    assert await decoder.load(data) is await decoder.load(data)
    assert memory.held > 0
    await decoder.close()
    assert memory.held == 0


async def test_a_remembered_film_is_resized_once_for_each_grid(build_dicom):
    film = load_radiograph(build_dicom())
    small, large = PixelGrid(28 * 28, 56 * 56), PixelGrid(112 * 112, 224 * 224)
    first = fit_to_grid(film, small)
    assert fit_to_grid(film, small).pixels is first.pixels
    assert fit_to_grid(film, large).pixels.shape != first.pixels.shape
    brighter = replace(film, pixels=film.pixels // 2 + 128)
    assert fit_to_grid(brighter, small).pixels.min() >= 128  # another film, not the one before
