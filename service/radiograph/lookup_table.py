"""Modality, VOI and Presentation LUTs (PS3.3 C.11.1, C.11.2, C.11.6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from service.radiograph.elements import integers


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """A table and the range that its entries use.

    Attributes
    ----------
    entries
        Output values, unsigned 16 bit.
    first_mapped
        The input that maps to the first entry; inputs below and above take the end entries.
    top
        The output that stands for full scale: ``2**bits - 1`` of the descriptor, or the table's
        real maximum where the descriptor's depth is wrong.
    depth_corrected, first_mapped_corrected, length_corrected
        Which parts of the descriptor were not believed.
    """

    entries: npt.NDArray[np.uint16]
    first_mapped: int
    top: int
    depth_corrected: bool = False
    first_mapped_corrected: bool = False
    length_corrected: bool = False

    def apply(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Look up values of any shape; fractions go to the nearest entry."""
        index = np.rint(values) - self.first_mapped
        clipped = np.clip(index, 0, len(self.entries) - 1).astype(np.intp)
        return self.entries[clipped].astype(np.float64)


def read_lookup_table(
    item: Dataset, *, domain: tuple[float, float], little_endian: bool
) -> LookupTable | None:
    """Read LUT Descriptor and LUT Data of one sequence item.

    Parameters
    ----------
    item
        Item of a Modality, VOI or Presentation LUT Sequence.
    domain
        Smallest and largest input that can occur. The first mapped value is US or SS by the
        sign of that input, and files get it wrong: of the two readings, the one whose table
        covers more of the domain is taken.
    little_endian
        Byte order of the data set.

    Returns
    -------
    LookupTable or None
        ``None`` where the item holds no usable table.
    """
    descriptor = integers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    count = (descriptor[0] & 0xFFFF) or 65536
    bits = descriptor[2]
    entries = _entries(item, count, little_endian)
    if entries is None or len(entries) == 0:
        return None
    length_corrected = len(entries) < count
    entries = entries[:count]
    top, depth_corrected = _top(entries, bits)
    if top == 0:
        return None
    first, first_corrected = _first_mapped(descriptor[1], len(entries), domain)
    return LookupTable(entries, first, top, depth_corrected, first_corrected, length_corrected)


def _entries(item: Dataset, count: int, little_endian: bool) -> npt.NDArray[np.uint16] | None:
    try:
        value = item.get("LUTData")
    except (ValueError, TypeError, NotImplementedError, OverflowError):
        return None
    if isinstance(value, bytes):
        # OW. 8-bit entries may be packed two to a word, the first in the low byte.
        words = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little_endian else ">u2")
        if len(value) < 2 * count and len(value) in (count, count + 1):
            if len(value) % 2:
                return np.frombuffer(value, np.uint8).astype(np.uint16)
            return words.astype("<u2").view(np.uint8).astype(np.uint16)
        return words.astype(np.uint16)
    if value is None:
        return None
    numbers = integers(item, "LUTData")
    words = np.asarray([number & 0xFFFF for number in numbers], dtype=np.uint16)
    if len(words) < count and len(words) == (count + 1) // 2:
        return words.astype("<u2").view(np.uint8).astype(np.uint16)
    return words


def _top(entries: npt.NDArray[np.uint16], bits: int) -> tuple[int, bool]:
    """Return full scale, and whether the descriptor's depth was wrong.

    Some CRs give the depth of storage (16) for a table that uses 10 or 12 bits, and some files
    give 8 for a table of words. Where a whole bit or more is unused, or entries pass the depth,
    the real maximum is full scale.
    """
    real = int(entries.max())
    if not 8 <= bits <= 16:
        return real, True
    stated = (1 << bits) - 1
    if real > stated or real <= stated >> 1:
        return real, True
    return stated, False


def _first_mapped(stated: int, count: int, domain: tuple[float, float]) -> tuple[int, bool]:
    other = stated - 65536 if stated > 32767 else stated + 65536 if stated < 0 else stated

    def covered(first: int) -> float:
        return min(domain[1], first + count - 1) - max(domain[0], first)

    if covered(other) > covered(stated):
        return other, True
    return stated, False
