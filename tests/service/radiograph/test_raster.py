"""PNG and JPEG films."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from service.problem import Problem
from service.radiograph import Limits, Radiograph, load_radiograph
from service.radiograph.load import media_type_of

GREY = np.add.outer(np.arange(40) * 3, np.arange(60) * 2).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def codes(film: Radiograph) -> set[str]:
    return {notice.code for notice in film.notices}


def test_grey_png_is_kept_as_it_is() -> None:
    film = load_radiograph(saved(Image.fromarray(GREY)))
    assert np.array_equal(film.pixels, GREY)
    assert (film.width, film.height, film.media_type) == (60, 40, "image/png")
    assert film.rendering == "raster/1"
    assert not film.notices


def test_sixteen_bits_of_full_range_equal_their_eight_bit_film() -> None:
    film = load_radiograph(saved(Image.fromarray(GREY.astype(np.uint16) * 257)))
    assert np.array_equal(film.pixels, GREY)
    assert not film.notices


def test_sixteen_bits_of_low_range_are_spread_and_told() -> None:
    for factor in (1, 16, 128):
        film = load_radiograph(saved(Image.fromarray(GREY.astype(np.uint16) * factor)))
        assert film.pixels.max() == 255
        assert film.pixels.std() > 30
        assert codes(film) == {"fallback-window"}


def png_of_16_bits(samples: np.ndarray) -> bytes:
    """Write big-endian samples, ``(rows, columns, 2 to 4)``: Pillow itself cannot."""
    rows, columns, count = samples.shape
    colour_type = {2: 4, 3: 2, 4: 6}[count]
    header = struct.pack(">IIBBBBB", columns, rows, 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bits_of_several_samples_equal_their_eight_bit_film(channels: int) -> None:
    samples = np.stack([GREY.astype(np.uint16) * 257] * channels, axis=-1)
    if channels != 3:
        samples[..., -1] = 65535
    film = load_radiograph(png_of_16_bits(samples))
    assert np.array_equal(film.pixels, GREY)
    assert codes(film) == set()


def test_sixteen_bits_of_several_samples_and_low_range_are_spread_and_told() -> None:
    samples = np.stack([GREY.astype(np.uint16) * 64, np.full_like(GREY, 65535, np.uint16)], -1)
    film = load_radiograph(png_of_16_bits(samples))
    assert film.pixels.max() == 255
    assert codes(film) == {"fallback-window"}


def test_colour_png_stays_in_colour_and_is_told() -> None:
    film = load_radiograph(saved(Image.fromarray(COLOUR)))
    assert np.array_equal(film.pixels, COLOUR)
    assert codes(film) == {"colour-image"}


def test_equal_channels_become_one_and_are_no_colour() -> None:
    film = load_radiograph(saved(Image.fromarray(np.stack([GREY] * 3, axis=-1))))
    assert np.array_equal(film.pixels, GREY)
    assert codes(film) == set()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_opaque_alpha_channel_is_dropped(mode: str) -> None:
    film = load_radiograph(saved(Image.fromarray(GREY).convert(mode)))
    assert np.array_equal(film.pixels, GREY)
    assert "alpha-flattened" not in codes(film)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_parts_are_laid_over_black_and_told(mode: str) -> None:
    image = Image.fromarray(GREY).convert(mode)
    image.putalpha(
        Image.fromarray(np.where(np.arange(60) < 30, 0, 255)[None].repeat(40, 0).astype(np.uint8))
    )
    film = load_radiograph(saved(image))
    assert (film.pixels[:, :30] == 0).all()
    assert np.array_equal(film.pixels[:, 30:], GREY[:, 30:])
    assert "alpha-flattened" in codes(film)


def test_palette_png_is_looked_up() -> None:
    grey = Image.fromarray(GREY).convert("P")
    assert np.array_equal(load_radiograph(saved(grey)).pixels, GREY)
    colour = Image.fromarray(COLOUR).quantize(256)
    film = load_radiograph(saved(colour))
    assert np.array_equal(film.pixels, np.asarray(colour.convert("RGB")))
    assert codes(film) == {"colour-image"}


def test_one_bit_png_is_black_and_white() -> None:
    film = load_radiograph(saved(Image.fromarray(GREY > 100)))
    assert set(np.unique(film.pixels)) == {0, 255}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_exif_orientation_is_honoured_and_mapped_back(orientation: int, form: str) -> None:
    stored = np.zeros((40, 64), dtype=np.uint8)
    stored[8:16, 40:56] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    film = load_radiograph(saved(Image.fromarray(stored), form, exif=exif))
    assert (film.width, film.height) == (64, 40)
    assert film.pixels.shape == ((40, 64) if orientation < 5 else (64, 40))
    y, x = np.nonzero(film.pixels > 128)
    box = (float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1))
    assert film.to_original.apply_box(box) == (40, 8, 56, 16)
    assert ("orientation-corrected" in codes(film)) == (orientation > 1)


def test_exif_orientation_turns_the_picture_as_pillow_does() -> None:
    from PIL import ImageOps

    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(Image.fromarray(GREY), "JPEG", exif=exif, quality=95)
        with Image.open(io.BytesIO(data)) as image:
            theirs = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(load_radiograph(data).pixels, theirs)


def test_cmyk_jpeg_is_read_as_colour() -> None:
    film = load_radiograph(saved(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"))
    assert film.pixels.shape == (40, 60, 3)


def test_the_type_is_found_from_the_content() -> None:
    assert media_type_of(saved(Image.fromarray(GREY), "JPEG")) == "image/jpeg"
    assert media_type_of(saved(Image.fromarray(GREY))) == "image/png"
    assert media_type_of(saved(Image.fromarray(GREY), "GIF")) is None
    assert media_type_of(b"\x89PNG\r\n\x1a\n".ljust(128, b"\0") + b"DICM") == "application/dicom"


@pytest.mark.parametrize(
    ("data", "code", "status"),
    [
        (b"", "empty-body", 400),
        (b"GIF89a", "unsupported-media-type", 415),
        (b"%PDF-1.7" * 50, "unsupported-media-type", 415),
        (saved(Image.fromarray(GREY))[:60], "decode-failed", 422),
        (saved(Image.fromarray(GREY), "JPEG")[:300], "decode-failed", 422),
        (b"\x89PNG\r\n\x1a\n", "decode-failed", 422),
        (b"\xff\xd8\xff\xe0", "decode-failed", 422),
    ],
    ids=["empty", "gif", "pdf", "cut png", "cut jpeg", "png signature", "jpeg signature"],
)
def test_what_cannot_be_read_is_refused_with_a_code(data: bytes, code: str, status: int) -> None:
    with pytest.raises(Problem) as refusal:
        load_radiograph(data)
    assert (refusal.value.code, refusal.value.status) == (code, status)


def test_a_png_of_huge_size_is_refused_by_its_header() -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    with pytest.raises(Problem) as refusal:
        load_radiograph(bomb)
    assert refusal.value.code == "image-too-large"


def test_a_jpeg_of_huge_size_is_refused_by_its_header() -> None:
    data = bytearray(saved(Image.fromarray(GREY), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(Problem) as refusal:
        load_radiograph(bytes(data))
    assert refusal.value.code == "image-too-large"


def test_limits_on_bytes_and_pixels_are_kept() -> None:
    data = saved(Image.fromarray(GREY))
    for limits, code in (
        (Limits(max_bytes=50), "file-too-large"),
        (Limits(max_pixels=100), "image-too-large"),
    ):
        with pytest.raises(Problem) as refusal:
            load_radiograph(data, limits=limits)
        assert (refusal.value.code, refusal.value.status) == (code, 413)


def test_a_second_frame_is_out_of_range() -> None:
    with pytest.raises(Problem) as refusal:
        load_radiograph(saved(Image.fromarray(GREY)), frame=2)
    assert refusal.value.code == "frame-out-of-range"
