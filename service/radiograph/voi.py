"""Windows (PS3.3 C.11.2.1.2 and C.11.2.1.3) and what stands in where there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from service.notice import Notice
from service.radiograph.elements import numbers, text
from service.radiograph.lookup_table import LookupTable

FloatArray = npt.NDArray[np.float64]

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")

FALLBACK_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True, slots=True)
class Window:
    """A window centre and width in modality units, and the function between its edges."""

    center: float
    width: float
    function: str = "LINEAR"

    def apply(self, values: FloatArray) -> FloatArray:
        """Map modality values to display values from 0 to 1."""
        if self.function == "SIGMOID":
            exponent = np.clip(-4.0 * (values - self.center) / self.width, -700.0, 700.0)
            return 1.0 / (1.0 + np.exp(exponent))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.center) / self.width + 0.5, 0.0, 1.0)
        if self.width == 1.0:
            return (values > self.center - 0.5).astype(np.float64)
        return np.clip((values - (self.center - 0.5)) / (self.width - 1.0) + 0.5, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Range:
    """Display values spread evenly between two modality values."""

    low: float
    high: float

    def apply(self, values: FloatArray) -> FloatArray:
        """Map modality values to display values from 0 to 1."""
        if self.high <= self.low:
            return np.where(values > self.low, 1.0, 0.0)
        return np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class VoiTable:
    """A VOI LUT Sequence item."""

    table: LookupTable

    def apply(self, values: FloatArray) -> FloatArray:
        """Map modality values to display values from 0 to 1."""
        return np.minimum(self.table.apply(values) / self.table.top, 1.0)


Voi = Window | Range | VoiTable


def first_sound_window(groups: list[Dataset], notices: list[Notice]) -> Window | None:
    """Return the first usable window; the first of several is the default view.

    Parameters
    ----------
    groups
        Data sets that may hold windows, the most specific first (frame, shared, image).
    notices
        Where a window or function that had to be passed over is told.
    """
    for group in groups:
        centers, widths = numbers(group, "WindowCenter"), numbers(group, "WindowWidth")
        if not centers and not widths:
            continue
        function = text(group, "VOILUTFunction") or "LINEAR"
        if function not in FUNCTIONS:
            function = "LINEAR"
            notices.append(
                Notice("voi-function-unknown", "The VOI LUT function is unknown; LINEAR was used.")
            )
        least = 1.0 if function == "LINEAR" else np.finfo(np.float64).tiny
        for index, (center, width) in enumerate(zip(centers, widths, strict=False)):
            if center is not None and width is not None and width >= least:
                if index:
                    notices.append(
                        Notice("window-skipped", "The first window is unusable; a later was used.")
                    )
                return Window(center, width, function)
    return None


def percentile_range(sample: FloatArray) -> Range:
    """Return the range between the 0.5th and 99.5th percentile of a film's modality values."""
    if sample.size == 0:
        return Range(0.0, 1.0)
    low, high = (float(value) for value in np.percentile(sample, FALLBACK_PERCENTILES))
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    return Range(low, high)


def shows_nothing(voi: Voi, sample: FloatArray) -> bool:
    """Whether a window or table turns a film that has contrast into (nearly) one flat tone.

    True where fewer than 1% of the pixels get a grey other than black and white, or the
    0.5th to 99.5th percentile spans 4 grey levels or fewer, and the film itself has more than
    16 different values.
    """
    if sample.size == 0 or not _has_contrast(sample):
        return False
    grey = np.floor(voi.apply(sample) * 255.0 + 0.5)
    counts = np.bincount(grey.astype(np.intp), minlength=256)
    if counts[1:255].sum() < 0.01 * grey.size:
        return True
    # Of so few different values the percentiles are read off the counts, without sorting.
    low, high = _percentiles(counts)
    return bool(high - low <= 4)


def _has_contrast(sample: FloatArray) -> bool:
    """Whether there are more than 16 different values; a small part mostly shows it."""
    return any(np.unique(part).size > 16 for part in (sample[::61], sample))


def _percentiles(counts: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Return numpy's percentiles (linear between neighbours) of whole numbers counted from 0."""
    ends = np.cumsum(counts)
    found = []
    for percentile in FALLBACK_PERCENTILES:
        rank = (int(ends[-1]) - 1) * percentile / 100.0
        below = int(rank)
        at, after = np.searchsorted(ends, (below, min(below + 1, int(ends[-1]) - 1)), side="right")
        found.append(float(at + (after - at) * (rank - below)))
    return found[0], found[1]
