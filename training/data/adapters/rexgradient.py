"""ReXGradient-160K: reports in sections with their films."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from training.data.adapters.films import Film, find_film, in_order
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.report_sections import tidy
from training.data.adapters.splits import split_name
from training.data.adapters.tables import look_for_file, read_json
from training.data.adapters.writing import Report, Study
from training.data.example import Example
from training.data.groups import Groups, sex_of, years_of
from training.data.store.errors import DataError

ACCESS = "Hugging Face, gated"
LICENCE = "ReXGradient-160K terms (non-commercial research)"
_SPLITS = ("train", "valid", "test")
_EMPTY = ("none", "nan", "null")
"""Words that an empty cell was written as."""
NO_FILMS = "record that names no image: left out"
_KEY = re.compile(r"p[^_]+(?=_a)", re.I)


def read_metadata(root: Path, name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Records of the three splits' files of one name, by key, each with its split.

    Raises
    ------
    DataError
        When no split has such a file, or two have a key in common.
    """
    records: dict[str, tuple[str, dict[str, Any]]] = {}
    for word in _SPLITS:
        file = name.format(split=word)
        path = look_for_file(root / "metadata", file) or look_for_file(root, file)
        if path is not None:
            split = split_name(word) or word
            found = {str(key): (split, record) for key, record in read_json(path).items()}
            if found.keys() & records.keys():
                raise DataError(f"{path.name} has keys of another split's file, too.")
            records |= found
    if not records:
        raise DataError(f"{root} has no metadata/{name.format(split='train')}.")
    return records


def subject_of(record: dict[str, Any], *keys: str, instead: str = "") -> str:
    """The namespaced patient: as the record says, else by a study's key.

    Parameters
    ----------
    keys
        Of the study; the first of the form ``p<patient>_a<accession>_…`` tells the patient.
    instead
        The patient where none is of that form; where that is empty, too, what the last key begins
        with.
    """
    by_key = next((found[0] for key in keys if (found := _KEY.match(key))), "")
    patient = str(record.get("PatientID") or "").strip() or by_key or instead
    patient = patient or keys[-1].partition("_")[0]
    return f"rexgradient:{patient.removeprefix('p')}"


def groups_of(record: dict[str, Any]) -> Groups:
    """Sex and age of the patient, as far as the record tells them."""
    sex, age = (str(record.get(name) or "") for name in ("PatientSex", "PatientAge"))
    return Groups(sex_of(sex), years_of(age))


def study_name(study: str) -> str:
    """The namespaced study of a study's key."""
    return f"rexgradient:{study}"


def films_of(images: Path, record: dict[str, Any], remark: Remark) -> list[Film]:
    """Films of a record that are on disk. Published paths begin with ``../``."""
    paths = record.get("ImagePath") or []
    paths = [paths] if isinstance(paths, str) else paths
    if not paths:
        remark(NO_FILMS)
    views = list(record.get("ImageViewPosition") or [])
    views += [""] * (len(paths) - len(views))
    found = []
    for path, view in zip(paths, views, strict=False):
        below = str(path).removeprefix("../").lstrip("/")
        choices = (below, below.removeprefix("deid_png/"))
        there = next((choice for choice in choices if (images / choice).is_file()), below)
        found.append(find_film(images, there, str(view or ""), remark))
    return in_order(filter(None, found), remark)


class ReXGradient:
    """Findings and impression of every study."""

    card: ClassVar[DataSetCard] = DataSetCard(
        "rexgradient",
        "ReXGradient-160K",
        ACCESS,
        LICENCE,
        (
            "metadata/train_metadata_view_position.json, valid_…, test_…",
            "deid_png/… (unpacked), below the root or --images",
        ),
    )

    def __init__(self, root: Path, *, images: Path | None = None) -> None:
        self.images = images or root
        self._records = read_metadata(root, "{split}_metadata_view_position.json")

    def studies(self) -> list[str]:
        """Keys of the studies, in order."""
        return sorted(self._records)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """Findings and impression."""
        split, record = self._records[study]
        films = films_of(self.images, record, remark)
        if not films:
            return
        names = ("findings", "impression", "indication", "comparison")
        texts = {name: said(record.get(name.capitalize()), name) for name in names}
        subject, name = subject_of(record, study), study_name(study)
        told = Study(self.card, study, subject, split, films, name, groups_of(record))
        yield from told.reports(Report(**texts), remark)


def said(value: Any, section: str) -> str | None:
    """What stands in a section; None for the words that an empty cell was written as."""
    text = tidy(str(value or ""))
    # An earlier film to compare with may well be none.
    is_empty = text.lower() in _EMPTY and (section != "comparison" or text.lower() != "none")
    return text if text and not is_empty else None
