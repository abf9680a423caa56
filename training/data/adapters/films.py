"""Films on disk: where they are, how large, and what they are to a study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

from service.problem import Problem
from service.radiograph import load_radiograph, media_type_of
from service.radiograph.elements import values
from service.radiograph.load import DICOM
from training.data.adapters.protocol import Remark
from training.data.adapters.upright import fault_of_film
from training.data.groups import NOT_TOLD, Groups, device_of, sex_of, years_of

MISSING = "image missing"
UNREADABLE = "image's size cannot be read"
OTHER_FORMAT = "image is neither DICOM, PNG nor JPEG: left out (training opens no other)"
BROKEN = "example of a film that cannot be opened: left out"
BEYOND = "film beyond the fourth of a study: left out"
MOST_FILMS = 4
_HEAD = 132
"""Bytes that tell the format: DICOM's prefix stands at the end of them (PS3.10 section 7.1)."""
_FRONTAL = ("PA", "AP")
_SAID = ("PatientSex", "PatientAge", "Manufacturer", "ManufacturerModelName", "InstitutionName")


@dataclass(frozen=True)
class _Header:
    size: tuple[int, int]
    view: str = ""
    groups: Groups = NOT_TOLD


@dataclass(frozen=True)
class Film:
    """A film of a study.

    Attributes
    ----------
    path
        Relative to the images' folder, with forward slashes.
    size
        Width and height in original pixels, as the file's header says.
    view
        PA, AP, LATERAL, or the source's own word; UNKNOWN where neither it nor a DICOM header says
        anything.
    groups
        What a DICOM header says of patient and equipment; nothing of other files.
    """

    path: str
    size: tuple[int, int]
    view: str
    role: str = "current"
    groups: Groups = NOT_TOLD


def find_film(
    images: Path, path: str, view: str, remark: Remark, *, suffixes: Sequence[str] = ()
) -> Film | None:
    """The film at a path, or at that path with another suffix; None, remarked, when unusable.

    Sizes come from the file itself: tables tell those of the published file, and boxes would
    silently go astray on a smaller copy. A film that is not shown as it is stored is unusable, too.
    The format is told by the content, as where films are opened.
    """
    relative = Path(path)
    named = [relative, *(relative.with_suffix(suffix) for suffix in suffixes)]
    # Letters with accents are written apart on some systems, and looked for as one on others.
    written = [Path(normalize(form, str(one))) for form in ("NFC", "NFD") for one in named]
    choices = dict.fromkeys([*named, *written])
    there = next((choice for choice in choices if (images / choice).is_file()), None)
    if there is None:
        remark(MISSING)
        return None
    try:
        media_type = _media_type(images / there)
    except OSError:
        remark(UNREADABLE)
        return None
    if media_type is None:
        remark(OTHER_FORMAT)
        return None
    header = _header(images / there, media_type)
    if header is None:
        remark(UNREADABLE)
        return None
    fault = fault_of_film(images / there, is_dicom=media_type == DICOM)
    if fault:
        remark(fault)
        return None
    return Film(there.as_posix(), header.size, view_name(view or header.view), groups=header.groups)


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height that a film's header tells; None where it cannot be read."""
    try:
        media_type = _media_type(path)
    except OSError:
        return None
    header = _header(path, media_type) if media_type else None
    return header.size if header else None


def opens(path: Path) -> bool:
    """Whether training can open a film; decodes it whole."""
    try:
        load_radiograph(path.read_bytes(), allow_other_anatomy=True)
    except (OSError, Problem):
        return False
    return True


def _media_type(path: Path) -> str | None:
    with path.open("rb") as file:
        return media_type_of(file.read(_HEAD))


def _header(path: Path, media_type: str) -> _Header | None:
    return _dicom_header(path) if media_type == DICOM else _picture_header(path)


def _picture_header(path: Path) -> _Header | None:
    """Width and height of a PNG or JPEG; pixels are not read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return _Header(image.size)
    except (OSError, Image.DecompressionBombError):
        return None


def _dicom_header(path: Path) -> _Header | None:
    """Width and height as stored, how it was taken, whom and what it is of; pixels are not read."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    tags = ["Rows", "Columns", "ViewPosition", *_SAID]
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
        size = int(header.Columns), int(header.Rows)
    except (OSError, InvalidDicomError, AttributeError, TypeError, ValueError):
        return None
    # A backslash stands between values, and in names that were meant to be one.
    sex, age, maker, model, site = (" ".join(map(str, values(header, name))) for name in _SAID)
    groups = Groups(sex_of(sex), years_of(age), device_of(maker, model), site.strip() or None)
    return _Header(size, " ".join(map(str, values(header, "ViewPosition"))), groups)


def view_name(view: str) -> str:
    """PA, AP, LATERAL, or the source's own word in capitals."""
    word = view.strip().upper().replace("_", " ")
    if word in ("LL", "RL", "LAT") or "LATERAL" in word:
        return "LATERAL"
    if word in ("PA", "POSTERO ANTERIOR", "POSTEROANTERIOR"):
        return "PA"
    if word in ("AP", "ANTERO POSTERIOR", "ANTEROPOSTERIOR") or word.startswith("AP "):
        return "AP"
    return word or "UNKNOWN"


def in_order(films: Iterable[Film], remark: Remark) -> list[Film]:
    """Films of one study: PA, AP, others, then laterals; at most four.

    The first is the one read. Laterals after it have the role lateral.
    """
    ranked = sorted(films, key=lambda film: _rank(film.view))
    for _ in ranked[MOST_FILMS:]:
        remark(BEYOND)
    return [
        replace(film, role="lateral") if number and film.view == "LATERAL" else film
        for number, film in enumerate(ranked[:MOST_FILMS])
    ]


def _rank(view: str) -> int:
    if view in _FRONTAL:
        return _FRONTAL.index(view)
    return 3 if view == "LATERAL" else 2
