"""The greyscale chain of PS3.3: stored values → modality → VOI → presentation → 8 bit.

For up to 16 bits allocated the whole chain is worked out once for each code up to the film's
highest, and the film is one look-up in that table: no pass over the film in floating point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from service.notice import Notice
from service.radiograph.elements import integer, items, number, text, values
from service.radiograph.lookup_table import LookupTable, read_lookup_table
from service.radiograph.voi import (
    FloatArray,
    Range,
    Voi,
    VoiTable,
    first_sound_window,
    percentile_range,
    shows_nothing,
)

_SAMPLE_PIXELS = 60_000

FALLBACK_MISSING = Notice(
    "fallback-window",
    "The film names no usable window; grey levels were spread over its 0.5th to 99.5th percentile.",
)
FALLBACK_NONSENSE = Notice(
    "fallback-window",
    "The film's window or LUT would show nothing of it; grey levels were spread over its 0.5th "
    "to 99.5th percentile.",
)


@dataclass(frozen=True, slots=True)
class StoredFormat:
    """How stored values sit in the decoded samples (PS3.5 section 8.1.1).

    Attributes
    ----------
    allocated, stored, high_bit
        Bits allocated in the decoded array, bits stored, and the highest stored bit.
    signed
        Two's complement.
    little_endian
        Byte order of the data set, for LUTs stored as words.
    """

    allocated: int
    stored: int
    high_bit: int
    signed: bool
    little_endian: bool

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest stored value."""
        if self.signed:
            return -(1 << self.stored - 1), (1 << self.stored - 1) - 1
        return 0, (1 << self.stored) - 1

    def values(self, codes: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
        """Cut stored values out of raw codes: shift, mask, extend the sign."""
        raw = codes.astype(np.int64) >> (self.high_bit + 1 - self.stored)
        raw &= (1 << self.stored) - 1
        if self.signed:
            sign = 1 << self.stored - 1
            raw = (raw ^ sign) - sign
        return raw


def render_grey(
    frame: npt.NDArray[np.generic],
    dataset: Dataset,
    groups: list[Dataset],
    form: StoredFormat,
    notices: list[Notice],
) -> npt.NDArray[np.uint8]:
    """Render one greyscale frame for display.

    Parameters
    ----------
    frame
        Decoded codes, ``(rows, columns)``, an integer type of ``form.allocated`` bits.
    dataset
        The image.
    groups
        Data sets that may hold rescale, window or LUT, the most specific first.
    form
        How stored values sit in the codes.
    notices
        Told what was missing, wrong or guessed.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)``, 8 bit, 0 black.
    """
    codes: npt.NDArray[np.integer[Any]] = frame.view(np.dtype(f"u{frame.dtype.itemsize}"))
    padding = _padding_range(dataset, form)
    modality = _Modality(groups, form, notices)
    sample = _sample(codes, form, modality, padding)
    voi = _choose_voi(groups, form, modality, sample, notices)
    invert = _inverted(dataset, notices)
    presentation = _presentation_table(dataset, form)

    def display(some: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
        stored = form.values(some)
        shown = voi.apply(modality.apply(stored))
        if presentation is not None:
            span = len(presentation.entries) - 1
            shown = presentation.apply(shown * span + presentation.first_mapped)
            shown = np.minimum(shown / presentation.top, 1.0)
        if invert:
            shown = 1.0 - shown
        grey = np.floor(shown * 255.0 + 0.5).astype(np.uint8)
        if padding is not None:
            grey[_is_padding(some, stored, padding, form)] = 0
        return grey

    if codes.dtype.itemsize <= 2:
        table = display(np.arange(int(codes.max()) + 1, dtype=np.uint32))
        return look_up(table, codes)
    return display(codes)


def look_up(
    table: npt.NDArray[np.uint8], codes: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.uint8]:
    """``table[codes]``, two to four times as fast as NumPy, which makes words of indices first.

    Parameters
    ----------
    table
        An entry for each code up to the highest that occurs.
    codes
        ``(rows, columns)``, unsigned, 8 or 16 bit, in this machine's byte order.
    """
    whole = np.zeros(1 << 8 * codes.dtype.itemsize, np.uint8)
    whole[: len(table)] = table
    grey = np.empty(codes.shape, np.uint8)  # by NumPy, for its MemoryError
    cv2.LUT(codes, whole, dst=grey)
    return grey


class _Modality:
    """Stored values → modality values (PS3.3 C.11.1)."""

    def __init__(self, groups: list[Dataset], form: StoredFormat, notices: list[Notice]) -> None:
        self.table: LookupTable | None = None
        self.slope, self.intercept = 1.0, 0.0
        low, high = form.limits
        sequence = [item for group in groups for item in items(group, "ModalityLUTSequence")]
        if sequence:
            self.table = read_lookup_table(
                sequence[0], domain=(low, high), little_endian=form.little_endian
            )
            if self.table is None:
                notices.append(
                    Notice("modality-lut-unusable", "The Modality LUT cannot be read; not applied.")
                )
        if self.table is None:
            self._read_rescale(groups, notices)
        ends = self.apply(np.asarray([low, high]))
        if self.table is not None:
            ends = self.table.entries.astype(np.float64)
        self.domain = float(ends.min()), float(ends.max())

    @property
    def is_identity(self) -> bool:
        return self.table is None and self.slope == 1.0 and self.intercept == 0.0

    def apply(self, stored: npt.NDArray[np.int64]) -> FloatArray:
        floats = stored.astype(np.float64)
        if self.table is not None:
            return self.table.apply(floats)
        if self.is_identity:
            return floats
        return floats * self.slope + self.intercept

    def _read_rescale(self, groups: list[Dataset], notices: list[Notice]) -> None:
        for group in groups:
            if "RescaleSlope" not in group and "RescaleIntercept" not in group:
                continue
            slope, intercept = number(group, "RescaleSlope"), number(group, "RescaleIntercept")
            if slope == 0.0:
                slope = None
                notices.append(
                    Notice("rescale-ignored", "The rescale slope is 0; 1 was used instead.")
                )
            self.slope = 1.0 if slope is None else slope
            self.intercept = intercept or 0.0
            return


def _choose_voi(
    groups: list[Dataset],
    form: StoredFormat,
    modality: _Modality,
    sample: FloatArray,
    notices: list[Notice],
) -> Voi:
    """VOI LUT Sequence before windows; the first of several; percentiles where none is sound."""
    named: Voi | None = None
    sequence = [item for group in groups for item in items(group, "VOILUTSequence")]
    if sequence:
        named = _voi_table(sequence[0], form, modality, notices)
    if named is None:
        named = first_sound_window(groups, notices)
    if named is not None:
        if not shows_nothing(named, sample):
            return named
        notices.append(FALLBACK_NONSENSE)
        return percentile_range(sample)
    if form.stored <= 8 and modality.is_identity and not _names_window(groups):
        # Eight bits and nothing else said: these are display values already.
        low, high = form.limits
        return Range(float(low), float(high))
    notices.append(FALLBACK_MISSING)
    return percentile_range(sample)


def _names_window(groups: list[Dataset]) -> bool:
    return any(
        values(group, keyword) for group in groups for keyword in ("WindowCenter", "WindowWidth")
    )


def _voi_table(
    item: Dataset, form: StoredFormat, modality: _Modality, notices: list[Notice]
) -> VoiTable | None:
    table = read_lookup_table(item, domain=modality.domain, little_endian=form.little_endian)
    if table is None:
        notices.append(Notice("voi-lut-unusable", "The VOI LUT cannot be read; not applied."))
        return None
    if table.depth_corrected:
        notices.append(
            Notice(
                "voi-lut-depth-corrected",
                "The VOI LUT's stated depth is wrong; its real maximum was taken as full scale.",
            )
        )
    if table.first_mapped_corrected:
        notices.append(
            Notice(
                "voi-lut-first-mapped-corrected",
                "The VOI LUT's first mapped value was read with the sign that fits the film.",
            )
        )
    if table.length_corrected:
        notices.append(
            Notice("voi-lut-length-corrected", "The VOI LUT holds fewer entries than it states.")
        )
    return VoiTable(table)


def _sample(
    codes: npt.NDArray[np.generic],
    form: StoredFormat,
    modality: _Modality,
    padding: tuple[int, int] | None,
) -> FloatArray:
    """Modality values of an even grid of pixels, padding left out."""
    rows, columns = codes.shape
    step = max(1, int((rows * columns / _SAMPLE_PIXELS) ** 0.5))
    some = codes[::step, ::step].ravel()
    stored = form.values(some)
    if padding is not None:
        stored = stored[~_is_padding(some, stored, padding, form)]
    return modality.apply(stored)


def _padding_range(dataset: Dataset, form: StoredFormat) -> tuple[int, int] | None:
    """Return the smallest and largest padding value (PS3.3 C.7.5.1.1.2)."""
    ends = [
        value
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        if (value := integer(dataset, keyword)) is not None
    ]
    if not ends or "PixelPaddingValue" not in dataset:
        return None
    # The sign of the value's VR is often wrong; the pixels' own sign decides.
    span = 1 << form.allocated
    signed = [
        (value % span) - span if form.signed and value % span >= span >> 1 else value % span
        for value in ends
    ]
    return min(signed), max(signed)


def _is_padding(
    codes: npt.NDArray[np.generic],
    stored: npt.NDArray[np.int64],
    padding: tuple[int, int],
    form: StoredFormat,
) -> npt.NDArray[np.bool_]:
    """Compare as stored, and as coded: padding may use bits beyond those stored."""
    low, high = padding
    raw = codes.astype(np.int64)
    if form.signed:
        sign = 1 << form.allocated - 1
        raw = (raw ^ sign) - sign
    found: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return found | (raw >= low) & (raw <= high)


def _inverted(dataset: Dataset, notices: list[Notice]) -> bool:
    """Whether display values are inverted, after VOI.

    Presentation LUT Shape decides where it is given (PS3.3 C.11.6.1.2): for digital X-ray,
    INVERSE goes with MONOCHROME1 and is the same one inversion, not a second.
    """
    monochrome1 = text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    shape = text(dataset, "PresentationLUTShape")
    if shape not in ("IDENTITY", "INVERSE"):
        return monochrome1
    if (shape == "INVERSE") != monochrome1:
        notices.append(
            Notice(
                "presentation-lut-contradiction",
                "Presentation LUT shape and photometric interpretation disagree; the shape was "
                "followed.",
            )
        )
    return shape == "INVERSE"


def _presentation_table(dataset: Dataset, form: StoredFormat) -> LookupTable | None:
    sequence = items(dataset, "PresentationLUTSequence")
    if not sequence:
        return None
    return read_lookup_table(sequence[0], domain=(0.0, 65535.0), little_endian=form.little_endian)
