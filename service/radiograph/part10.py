"""A bounded walk over a DICOM file, before any DICOM library reads it (PS3.5, PS3.10).

The walk copies no values and builds no objects: it counts elements and levels, and finds where
the pixel data ends, so that the library is only ever given a file of known size and shape.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO, cast

from pydicom.datadict import dictionary_VR

from service.radiograph import problems
from service.radiograph.limits import Limits
from service.radiograph.transfer_syntaxes import ACCEPTED, TransferSyntax

PREFIX = b"DICM"
PREFIX_OFFSET = 128

_DATA_SET_OFFSET = PREFIX_OFFSET + len(PREFIX)
_MAX_META_BYTES = 64 * 1024
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the File Meta Information says (PS3.10 section 7.1)."""

    transfer_syntax: TransferSyntax
    data_set_offset: int

    def file_of(self, data: bytes, end: int) -> BinaryIO:
        """Return a file that holds the data set up to ``end`` and says this and no more.

        A library that reads group 0002 by rules of its own could find another transfer syntax.
        """
        uid = self.transfer_syntax.uid.encode()
        uid += b"\0" * (len(uid) % 2)
        meta = b"\x02\x00\x10\x00UI" + len(uid).to_bytes(2, "little") + uid
        head = bytes(PREFIX_OFFSET) + PREFIX + meta
        return cast(BinaryIO, _Joined(head, memoryview(data)[self.data_set_offset : end]))


class _Joined(io.RawIOBase):
    """A head and a body read as one file, without putting the two together in memory."""

    def __init__(self, head: bytes, body: memoryview) -> None:
        self._head = head
        self._body = body
        self._size = len(head) + len(body)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = (0, self._position, self._size)[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        start = min(self._position, self._size)
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        self._position = stop
        head = len(self._head)
        if start >= head:
            return bytes(self._body[start - head : stop - head])
        return self._head[start:stop] + bytes(self._body[: max(0, stop - head)])


def read_file_meta(data: bytes) -> FileMeta:
    """Read group 0002, which is always Explicit VR Little Endian, and check the transfer syntax.

    Raises
    ------
    Problem
        ``malformed-dicom`` where the group cannot be read, is larger than any or names no
        transfer syntax;
        ``unsupported-transfer-syntax`` where it names one that is not accepted.
    """
    position = _DATA_SET_OFFSET
    limit = min(len(data), position + _MAX_META_BYTES)
    uid: str | None = None
    while position + 8 <= limit and data[position : position + 2] == b"\x02\x00":
        element = data[position + 2 : position + 4]
        if data[position + 4 : position + 6] in _LONG_VRS:
            if position + 12 > limit:
                raise problems.malformed_dicom()
            length = int.from_bytes(data[position + 8 : position + 12], "little")
            position += 12
        else:
            length = int.from_bytes(data[position + 6 : position + 8], "little")
            position += 8
        if position + length > limit:
            raise problems.malformed_dicom()
        if element == b"\x10\x00":
            value = data[position : position + length]
            uid = value.rstrip(b"\0 ").decode("ascii", errors="replace")
        position += length
    if not uid or data[position : position + 2] == b"\x02\x00":
        raise problems.malformed_dicom()
    syntax = ACCEPTED.get(uid)
    if syntax is None:
        raise problems.unsupported_transfer_syntax()
    return FileMeta(syntax, position)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a data set ends, and where its pixels lie.

    Attributes
    ----------
    end
        Offset at which the pixel data (or the file) ends.
    pixel_element
        Offset at which the pixel data element begins; ``end`` where there is none.
    pixel_value
        Offset of the pixel data's value, which runs to ``end``; ``None`` where there is none, and
        where it is encapsulated.
    """

    end: int
    pixel_element: int
    pixel_value: int | None


def bounded_extent(data: bytes, meta: FileMeta, limits: Limits) -> Extent:
    """Walk the data set and return where it and its pixel data end.

    Raises
    ------
    Problem
        ``malformed-dicom`` where lengths run past the end; ``dicom-too-complex`` where elements
        or nesting pass the limits.
    """
    return _Walk(data, meta, limits).run()


@dataclass(slots=True)
class _Level:
    """One open data set, item or sequence."""

    end: int
    is_sequence: bool
    delimited: bool
    implicit_vr: bool
    endian: str


class _Walk:
    """Iterative, so that depth costs a list entry and never a stack frame."""

    def __init__(self, data: bytes, meta: FileMeta, limits: Limits) -> None:
        self._data = data
        self._size = len(data)
        self._position = meta.data_set_offset
        self._limits = limits
        self._count = 0
        self._pixel_value: int | None = None
        syntax = meta.transfer_syntax
        self._levels = [
            _Level(
                end=self._size,
                is_sequence=False,
                delimited=False,
                # Some files write Implicit VR under an explicit transfer syntax; pydicom reads
                # them so, by the same sign.
                implicit_vr=syntax.implicit_vr or not self._begins_with_vr(),
                endian="<" if syntax.little_endian else ">",
            )
        ]

    def _begins_with_vr(self) -> bool:
        vr = self._data[self._position + 4 : self._position + 6]
        return vr.isalpha() and vr.isupper()

    def run(self) -> Extent:
        while True:
            level = self._levels[-1]
            if self._position >= level.end:
                if level.delimited:
                    raise problems.malformed_dicom()
                if len(self._levels) == 1:
                    return Extent(self._size, self._size, None)
                self._levels.pop()
                continue
            self._count += 1
            if self._count > self._limits.max_elements:
                raise problems.dicom_too_complex()
            start = self._position
            if level.is_sequence:
                self._enter_item(level)
            elif self._enter_element(level):
                return Extent(self._position, start, self._pixel_value)

    def _tag(self, level: _Level) -> int:
        if self._position + 8 > level.end:
            raise problems.malformed_dicom()
        group, element = struct.unpack_from(level.endian + "HH", self._data, self._position)
        return int(group) << 16 | int(element)

    def _length(self, level: _Level, offset: int) -> int:
        return int(struct.unpack_from(level.endian + "I", self._data, offset)[0])

    def _enter_item(self, level: _Level) -> None:
        tag = self._tag(level)
        length = self._length(level, self._position + 4)
        self._position += 8
        if tag == _SEQUENCE_END:
            self._levels.pop()
        elif tag == _ITEM:
            self._push(level, length, is_sequence=False)
        else:
            raise problems.malformed_dicom()

    def _enter_element(self, level: _Level) -> bool:
        """Step over one element; true when it was the pixel data of the image itself."""
        tag = self._tag(level)
        start = self._position
        if tag == _ITEM_END and len(self._levels) > 1:
            self._position += 8
            self._levels.pop()
            return False
        if tag >> 16 == 0xFFFE:
            raise problems.malformed_dicom()
        vr = b"" if level.implicit_vr else self._data[start + 4 : start + 6]
        if level.implicit_vr:
            length, header = self._length(level, start + 4), 8
        elif vr in _LONG_VRS:
            if start + 12 > level.end:
                raise problems.malformed_dicom()
            length, header = self._length(level, start + 8), 12
        else:
            length = int(struct.unpack_from(level.endian + "H", self._data, start + 6)[0])
            header = 8
        self._position += header
        top = len(self._levels) == 1
        if tag == _PIXEL_DATA and length == _UNDEFINED:
            self._skip_fragments(level)
            return top
        if self._is_sequence(tag, vr, length, level):
            self._push(level, length, is_sequence=True, unknown=vr == b"UN")
            return False
        if length == _UNDEFINED:
            raise problems.malformed_dicom()
        if tag == _PIXEL_DATA and top:
            # Too short a value is found when it is decoded, with a clearer answer.
            self._pixel_value = self._position
            self._position = min(self._position + length, self._size)
            return True
        if self._position + length > level.end:
            raise problems.malformed_dicom()
        self._position += length
        return False

    @staticmethod
    def _is_sequence(tag: int, vr: bytes, length: int, level: _Level) -> bool:
        if vr == b"SQ":
            return True
        if length == _UNDEFINED:
            return vr in (b"", b"UN")
        if not level.implicit_vr or tag >> 16 & 1:
            return False
        try:
            return dictionary_VR(tag) == "SQ"
        except KeyError:
            return False

    def _push(
        self, level: _Level, length: int, *, is_sequence: bool, unknown: bool = False
    ) -> None:
        if len(self._levels) > 2 * self._limits.max_nesting:
            raise problems.dicom_too_complex()
        delimited = length == _UNDEFINED
        end = level.end if delimited else self._position + length
        if end > level.end:
            raise problems.malformed_dicom()
        self._levels.append(
            _Level(
                end=end,
                is_sequence=is_sequence,
                delimited=delimited,
                # PS3.5 section 6.2.2 note: UN of undefined length is Implicit VR Little Endian.
                implicit_vr=level.implicit_vr or unknown,
                endian="<" if unknown else level.endian,
            )
        )

    def _skip_fragments(self, level: _Level) -> None:
        """Step over encapsulated pixel data (PS3.5 A.4), always little endian."""
        while True:
            if self._position + 8 > level.end:
                raise problems.decode_failed()
            tag = self._tag(level)
            length = self._length(level, self._position + 4)
            self._position += 8
            if tag == _SEQUENCE_END:
                return
            self._count += 1
            if self._count > self._limits.max_elements:
                raise problems.dicom_too_complex()
            if tag != _ITEM or length == _UNDEFINED:
                raise problems.malformed_dicom()
            self._position += length
