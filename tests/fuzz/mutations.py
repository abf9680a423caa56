"""Mutations of sound files that keep enough of their structure to be read deep into."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from random import Random

from tests.fuzz.seeds import all_seeds

Mutation = Callable[[bytearray, Random], None]

_EDGES = (0, 1, 2, 7, 8, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutant(seed: int, index: int) -> tuple[str, bytes]:
    """Return one input, the same for equal numbers: the name of its seed, and its bytes."""
    rng = Random(f"{seed}:{index}")
    origin = rng.choice(all_seeds())
    data = bytearray(origin.data)
    own = _BY_KIND[origin.kind]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutation = rng.choice(own if rng.random() < 0.7 else _ANY)
        mutation(data, rng)
    return origin.name, bytes(data)


# Any bytes --------------------------------------------------------------------------------------


def _flip_bits(data: bytearray, rng: Random) -> None:
    for _ in range(rng.choice((1, 2, 4, 16)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_edge(data: bytearray, rng: Random) -> None:
    """Write a number at the edge of its range somewhere."""
    form = rng.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    if len(data) > size:
        value = rng.choice(_EDGES) & ((1 << 8 * size) - 1)
        struct.pack_into(form, data, rng.randrange(len(data) - size), value)


def _truncate(data: bytearray, rng: Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _extend(data: bytearray, rng: Random) -> None:
    data += rng.randbytes(rng.choice((1, 2, 13, 300)))


def _cut(data: bytearray, rng: Random) -> None:
    start, length = _stretch(data, rng)
    del data[start : start + length]


def _repeat(data: bytearray, rng: Random) -> None:
    start, length = _stretch(data, rng)
    data[start:start] = data[start : start + length] * rng.choice((1, 2, 50))


def _splice(data: bytearray, rng: Random) -> None:
    """Put a stretch of another seed in, or go on as another seed does."""
    other = rng.choice(all_seeds()).data
    start, length = _stretch(other, rng)
    at = rng.randrange(len(data) + 1)
    if rng.random() < 0.5:
        data[at:] = other[min(at, len(other)) :]
    else:
        data[at : at + length] = other[start : start + length]


def _stretch(data: bytes | bytearray, rng: Random) -> tuple[int, int]:
    return rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 8, 64, 512))


_ANY: tuple[Mutation, ...] = (
    _flip_bits, _flip_bits, _set_edge, _truncate, _extend, _cut, _repeat, _splice,
)  # fmt: skip


# DICOM: elements --------------------------------------------------------------------------------

_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_VRS = (
    *_LONG,
    b"US",
    b"SS",
    b"DS",
    b"IS",
    b"LO",
    b"CS",
    b"UI",
    b"AT",
    b"FD",
    b"PN",
    b"zz",
    b"\0\0",
)
_SYNTAXES = (
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99",
    b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.50",
    b"1.2.840.10008.1.2.4.51", b"1.2.840.10008.1.2.4.57", b"1.2.840.10008.1.2.4.70",
    b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.201",
)  # fmt: skip
_TEXTS = (
    b"",
    b"nan",
    b"inf",
    b"1e999",
    b"-1",
    b"0",
    b"1\\2\\3",
    b"\\",
    b"x" * 70,
    b"4096\\a",
    b"\xff",
)
# Of the Image Pixel, VOI LUT and multi-frame modules: what decoding and rendering go by.
_DECIDING = (
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280034,
    0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00281050, 0x00281051,
    0x00281052, 0x00281053, 0x00281056, 0x00283000, 0x00283010, 0x20500020, 0x00200020,
)  # fmt: skip


class _Element:
    """Where one top-level element lies."""

    def __init__(self, start: int, tag: int, length_at: int, wide: bool, value: int, end: int):
        self.start, self.tag, self.length_at, self.wide = start, tag, length_at, wide
        self.value, self.end = value, end


def _elements(data: bytearray) -> list[_Element]:
    """Walk little-endian elements, of either VR form, as far as they make sense."""
    found = []
    position, explicit = 132, True
    while position + 12 <= len(data):
        group, number = struct.unpack_from("<HH", data, position)
        if group != 2:
            explicit = bytes(data[position + 4 : position + 6]).isalpha()
        wide = not explicit or bytes(data[position + 4 : position + 6]) in _LONG
        length_at = position + (4 if not explicit else 8 if wide else 6)
        value = length_at + (4 if wide else 2)
        length = int.from_bytes(data[length_at:value], "little")
        end = len(data) if length == 0xFFFFFFFF else value + length
        if end > len(data):
            break
        found.append(_Element(position, group << 16 | number, length_at, wide, value, end))
        position = end
    return found


def _pick(data: bytearray, rng: Random) -> _Element | None:
    elements = _elements(data)
    deciding = [element for element in elements if element.tag in _DECIDING]
    pool = deciding if deciding and rng.random() < 0.7 else elements
    return rng.choice(pool) if pool else None


def _length(data: bytearray, rng: Random) -> None:
    if element := _pick(data, rng):
        size = 4 if element.wide else 2
        length = element.end - element.value
        new = rng.choice((length + 1, max(0, length - 1), length * 2, *_EDGES))
        new &= (1 << 8 * size) - 1
        data[element.length_at : element.value] = new.to_bytes(size, "little")


def _vr(data: bytearray, rng: Random) -> None:
    if element := _pick(data, rng):
        data[element.start + 4 : element.start + 6] = rng.choice(_VRS)


def _tag(data: bytearray, rng: Random) -> None:
    """Call an element by the name of one that decides something, or by one that ends an item."""
    if element := _pick(data, rng):
        new = rng.choice((*_DECIDING, 0x7FE00010, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD))
        struct.pack_into("<HH", data, element.start, new >> 16, new & 0xFFFF)


def _value(data: bytearray, rng: Random) -> None:
    if element := _pick(data, rng):
        length = element.end - element.value
        if length in (2, 4) and rng.random() < 0.8:
            new = rng.choice((*_EDGES, *range(1, 40))) & ((1 << 8 * length) - 1)
            data[element.value : element.end] = new.to_bytes(length, "little")
            return
        text = rng.choice(_TEXTS)
        text += b" " * (len(text) % 2)
        size = 4 if element.wide else 2
        data[element.value : element.end] = text
        data[element.length_at : element.value] = len(text).to_bytes(size, "little")


def _twice(data: bytearray, rng: Random) -> None:
    if element := _pick(data, rng):
        copy = data[element.start : element.end]
        at = rng.choice(_elements(data)).start
        data[at:at] = copy


def _without(data: bytearray, rng: Random) -> None:
    if element := _pick(data, rng):
        del data[element.start : element.end]


def _nest(data: bytearray, rng: Random) -> None:
    """Open sequences within sequences before an element."""
    if element := _pick(data, rng):
        depth = rng.choice((1, 3, 30, 300))
        level = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        data[element.start : element.start] = level * depth


def _syntax(data: bytearray, rng: Random) -> None:
    """Claim another transfer syntax."""
    for element in _elements(data):
        if element.tag == 0x00020010 and not element.wide:
            uid = rng.choice(_SYNTAXES)
            uid += b"\0" * (len(uid) % 2)
            data[element.value : element.end] = uid
            data[element.length_at : element.value] = len(uid).to_bytes(2, "little")
            return


def _pixels(data: bytearray, rng: Random) -> None:
    """Change bytes at the head of the pixel data, where codestreams and RLE keep their headers."""
    pixels = [element for element in _elements(data) if element.tag == 0x7FE00010]
    if pixels:
        start = pixels[-1].value
        for _ in range(rng.choice((1, 2, 8))):
            at = start + rng.randrange(max(1, min(200, len(data) - start)))
            if at < len(data):
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


_DICOM: tuple[Mutation, ...] = (
    _length, _vr, _tag, _value, _value, _value, _twice, _without, _nest, _syntax, _pixels, _pixels,
)  # fmt: skip


# PNG: chunks with their check sums put right ----------------------------------------------------

_TYPES = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"iCCP", b"tEXt", b"zTXt", b"iTXt",
          b"eXIf", b"acTL", b"fcTL", b"fdAT", b"pHYs", b"sBIT")  # fmt: skip


def _chunks(data: bytearray) -> list[tuple[bytes, bytes]]:
    found, position = [], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = bytes(data[position + 4 : position + 8])
        found.append((kind, bytes(data[position + 8 : position + 8 + length])))
        position += 12 + length
    return found


def _png(data: bytearray, rng: Random) -> None:
    chunks = _chunks(data)
    if not chunks:
        return
    at = rng.randrange(len(chunks))
    kind, body = chunks[at]
    choice = rng.randrange(8)
    if choice == 0:
        chunks[at] = (rng.choice(_TYPES), body)
    elif choice == 1:
        chunks.insert(rng.randrange(len(chunks) + 1), chunks[at])
    elif choice == 2:
        del chunks[at]
    elif choice == 3:
        rng.shuffle(chunks)
    elif choice == 4 and body:
        changed = bytearray(body)
        _flip_bits(changed, rng)
        chunks[at] = (kind, bytes(changed))
    elif choice == 5:
        header = bytearray(chunks[0][1])
        if len(header) >= 13:
            if rng.random() < 0.5:
                struct.pack_into(">I", header, rng.choice((0, 4)), rng.choice(_EDGES))
            else:
                header[rng.randrange(8, 13)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
            chunks[0] = (chunks[0][0], bytes(header))
    elif choice == 6:
        chunks = _other_pixels(chunks, rng)
    else:
        size = rng.choice((0, 1, 1000, 300_000))
        unpacked = rng.choice((bytes(size), rng.randbytes(size)))
        text = b"Comment\0\0" + zlib.compress(unpacked)
        chunks.insert(1, (rng.choice((b"zTXt", b"iCCP", b"eXIf")), text))
    data[8:] = b"".join(_chunk(kind, body) for kind, body in chunks)


def _other_pixels(chunks: list[tuple[bytes, bytes]], rng: Random) -> list[tuple[bytes, bytes]]:
    """Mutate the pixels before they are compressed again."""
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    try:
        raw = bytearray(zlib.decompress(packed))
    except zlib.error:
        return chunks
    rng.choice((_flip_bits, _truncate, _repeat, _extend))(raw, rng)
    kept = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    kept.insert(max(1, len(kept) - 1), (b"IDAT", zlib.compress(bytes(raw))))
    return kept


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


# JPEG: segments ---------------------------------------------------------------------------------


def _segments(data: bytearray) -> list[bytes]:
    """Segments up to the start of scan; the last is the rest of the file."""
    found, position = [bytes(data[:2])], 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xDA:
            break
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        found.append(bytes(data[position:end]))
        position = end
    return [*found, bytes(data[position:])]


def _jpeg(data: bytearray, rng: Random) -> None:
    segments = _segments(data)
    at = rng.randrange(len(segments))
    segment = bytearray(segments[at])
    choice = rng.randrange(7)
    if choice == 0:
        segments.insert(rng.randrange(1, len(segments) + 1), bytes(segment))
    elif choice == 1:
        del segments[at]
    elif choice == 2:
        middle = segments[1:-1]
        rng.shuffle(middle)
        segments[1:-1] = middle
    elif choice == 3 and len(segment) >= 2:
        segment[1] = rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xD8, 0xDB, 0xDD, 0xE1, 0xFE))
        segments[at] = bytes(segment)
    elif choice == 4 and len(segment) > 4:
        for _ in range(rng.choice((1, 3, 10))):
            segment[rng.randrange(4, len(segment))] = rng.choice((0, 1, 0x11, 0x44, 0xFF))
        segments[at] = bytes(segment)
    elif choice == 5 and len(segment) > 4:
        segment[2:4] = rng.choice((0, 1, 2, 3, 0xFFFF, len(segment))).to_bytes(2, "big")
        segments[at] = bytes(segment)
    else:
        marker = bytes((0xFF, rng.choice((0xD0, 0xD7, 0xD9, 0xDA, 0xDC, 0xC4))))
        place = rng.randrange(len(segments[-1]) + 1)
        segments[-1] = segments[-1][:place] + marker + segments[-1][place:]
    data[:] = b"".join(segments)


_BY_KIND: dict[str, tuple[Mutation, ...]] = {"dicom": _DICOM, "png": (_png,), "jpeg": (_jpeg,)}
