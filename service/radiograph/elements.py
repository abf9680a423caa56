"""Values out of DICOM elements that may be empty, multi-valued or not numbers at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset


def values(dataset: Dataset, keyword: str) -> list[Any]:
    """Return an element's values as a list; empty where it is absent, empty or unreadable."""
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, NotImplementedError, OverflowError, AttributeError):
        return []
    if value is None or (isinstance(value, str | bytes) and not value):
        return []
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    return [value]


def numbers(dataset: Dataset, keyword: str) -> list[float | None]:
    """Return an element's values as finite floats, ``None`` for each that is none."""
    found: list[float | None] = []
    for value in values(dataset, keyword):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            found.append(None)
            continue
        found.append(number if math.isfinite(number) else None)
    return found


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return an element's first value as a finite float, or ``None``."""
    found = numbers(dataset, keyword)
    return found[0] if found else None


def integers(dataset: Dataset, keyword: str) -> list[int]:
    """Return an element's values as integers; empty where one of them is none."""
    found = numbers(dataset, keyword)
    if any(value is None or value != int(value) for value in found):
        return []
    return [int(value) for value in found if value is not None]


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return an element's first value as an integer, or ``None``."""
    found = integers(dataset, keyword)
    return found[0] if found else None


def text(dataset: Dataset, keyword: str) -> str:
    """Return an element's first value upper-cased and stripped, for comparison only."""
    found = values(dataset, keyword)
    return str(found[0]).strip().upper() if found else ""


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return a sequence's items; empty where it is absent or not a sequence."""
    return [value for value in values(dataset, keyword) if isinstance(value, Dataset)]
