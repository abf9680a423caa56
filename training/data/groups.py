"""Who and what a study is of, as far as its source says: sex, age, device and site."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

SEXES = ("F", "M", "O")
"""Patient's Sex, DICOM PS3.3 C.7.1.1: female, male, other."""
OLDEST = 130
"""Years; a source that tells more has no age there (PadChest writes 200)."""
_WORDS = {"FEMALE": "F", "MALE": "M", "OTHER": "O"}
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([DWMY]?)")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0, "": 1.0}
_EDGES = (18, 40, 60, 80)
AGE_BANDS = (
    f"under {_EDGES[0]}",
    *(f"{begin} to {end - 1}" for begin, end in pairwise(_EDGES)),
    f"{_EDGES[-1]} and over",
)
"""Of years, in order."""


@dataclass(frozen=True)
class Groups:
    """What fairness is looked at by; None for what the source does not say.

    Attributes
    ----------
    sex
        One of :data:`SEXES`.
    age
        In years.
    device
        Maker and model of the equipment, as the source says.
    site
        Institution, or place of collection.
    """

    sex: str | None = None
    age: float | None = None
    device: str | None = None
    site: str | None = None

    def over(self, other: Groups) -> Groups:
        """These, and the other's where these say nothing."""
        own = {name: value for name, value in vars(self).items() if value is not None}
        return Groups(**(vars(other) | own))


NOT_TOLD = Groups()


def sex_of(text: str) -> str | None:
    """The code of a sex, which may be written out; None for any other word."""
    word = text.strip().upper()
    code = _WORDS.get(word, word)
    return code if code in SEXES else None


def years_of(text: str) -> float | None:
    """Years of an age; None where it is none, or none that people reach.

    Parameters
    ----------
    text
        A number of years, or an age string (DICOM PS3.5 6.2): ``063Y``, ``006M``, ``010W``,
        ``003D``. ``000Y`` is none: who is younger than a year has days, weeks or months, and it
        may stand for what was taken out.
    """
    found = _AGE.fullmatch(text.strip().upper())
    if found is None or (found[2] == "Y" and not float(found[1])):
        return None
    years = float(found[1]) * _YEARS[found[2]]
    return years if is_age(years) else None


def is_age(years: float) -> bool:
    """Whether it is an age that people reach."""
    return isfinite(years) and 0 <= years <= OLDEST


def age_band(years: float) -> str:
    """The one of :data:`AGE_BANDS` that it is in; whole years count, as people tell them."""
    return AGE_BANDS[sum(years >= edge for edge in _EDGES)]


def device_of(maker: str, model: str) -> str | None:
    """Manufacturer and Manufacturer's Model Name as one; the maker once where both have it."""
    maker, model = maker.strip(), model.strip()
    parts = [model] if model.upper().startswith(maker.upper()) else [maker, model]
    return " ".join(filter(None, parts)) or None
