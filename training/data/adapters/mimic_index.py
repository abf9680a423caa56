"""The tables of MIMIC-CXR-JPG, which every set drawn from MIMIC-CXR leans on.

Patients of all these sets share the namespace ``mimic-cxr``, so that a store of several of them
cannot test on whom it learnt from.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from training.data.adapters.films import Film, find_film, in_order
from training.data.adapters.protocol import Remark
from training.data.adapters.report_sections import drop_gaps, parse_report
from training.data.adapters.splits import split_name
from training.data.adapters.tables import find_file, look_for_file, read_table
from training.data.adapters.writing import Report

SUFFIXES = (".jpg", ".png", ".dcm")
NO_REPORT = "report missing"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0"
ACCESS = "PhysioNet, credentialed, with training in human research"
_PREFIXES = ("mimic-cxr-2.1.0", "mimic-cxr-2.0.0")


def subject_name(number: str) -> str:
    """The namespaced subject of a MIMIC patient number, with or without its ``p``."""
    return f"mimic-cxr:{number.strip().removeprefix('p')}"


def study_name(number: str) -> str:
    """The namespaced study of a MIMIC study number, with or without its ``s``."""
    return f"mimic-cxr:{number.strip().removeprefix('s')}"


def image_path(subject: str, study: str, dicom: str, suffix: str = ".jpg") -> str:
    """Path of a film below the release's folder: ``files/p10/p10000032/s50414267/….jpg``."""
    return f"{study_folder(subject, study)}/{dicom}{suffix}"


def study_folder(subject: str, study: str) -> str:
    """Folder of a study's films."""
    return f"files/p{subject[:2]}/p{subject}/s{study}"


def report_path(subject: str, study: str) -> str:
    """Path of a study's report, beside the folder of its films."""
    return f"{study_folder(subject, study)}.txt"


def read_report(root: Path, subject: str, study: str, gaps: str, remark: Remark) -> Report:
    """The parsed report of a study; empty, remarked, when there is none."""
    path = root / report_path(subject, study)
    if not path.is_file():
        remark(NO_REPORT)
        return Report()
    report = parse_report(_decoded(path.read_bytes()))
    return drop_gaps(report) if gaps == "drop" else report


def _decoded(data: bytes) -> str:
    """A report's text: UTF-8, or where it is none, the Latin-1 of older systems."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


@dataclass(frozen=True, slots=True)
class ListedFilm:
    """A row of the metadata table."""

    dicom: str
    view: str
    taken: str
    """Date and time, shifted per patient, in a form that sorts."""


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """A study with its films as the tables list them; nothing is opened yet."""

    subject: str
    study: str
    split: str
    films: tuple[ListedFilm, ...]

    @property
    def taken(self) -> str:
        """When its first film was taken."""
        return min(film.taken for film in self.films)


class MimicIndex:
    """All studies of MIMIC-CXR-JPG by their number.

    Raises
    ------
    DataError
        When the metadata or split table is missing or has other columns.
    """

    def __init__(self, root: Path) -> None:
        self._subject: dict[str, str] = {}
        self._split: dict[str, str] = {}
        self._films: dict[str, list[ListedFilm]] = defaultdict(list)
        self.study_of_dicom: dict[str, str] = {}
        split_table = find_file(root, *(f"{prefix}-split.csv" for prefix in _PREFIXES))
        for row in read_table(split_table, ("study_id", "split")):
            self._split[row["study_id"]] = split_name(row["split"]) or ""
        columns = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
        metadata = find_file(root, *(f"{prefix}-metadata.csv" for prefix in _PREFIXES))
        for row in read_table(metadata, columns):
            study = row["study_id"]
            taken = f"{row['StudyDate']} {row['StudyTime'].partition('.')[0]:0>6}"
            self._subject[study] = row["subject_id"]
            self._films[study].append(ListedFilm(row["dicom_id"], row["ViewPosition"], taken))
            self.study_of_dicom[row["dicom_id"]] = study
        self._of_subject: dict[str, list[str]] = defaultdict(list)
        for study, subject in self._subject.items():
            self._of_subject[subject].append(study)

    def studies(self) -> list[str]:
        """Numbers of the studies that have a split, in order."""
        return sorted(study for study in self._films if self._split.get(study))

    def study(self, study: str) -> ListedStudy | None:
        """A study by its number; None when the tables do not list it."""
        study = study.removeprefix("s")
        if not self._split.get(study) or study not in self._films:
            return None
        films = tuple(self._films[study])
        return ListedStudy(self._subject[study], study, self._split[study], films)

    def prior(self, of: ListedStudy) -> ListedStudy | None:
        """The study of the same patient that was taken last before this one."""
        others = (self.study(study) for study in self._of_subject[of.subject])
        earlier = [o for o in others if o and o.taken < of.taken and o.study != of.study]
        return max(earlier, key=lambda other: other.taken, default=None)


def study_films(images: Path, listed: ListedStudy, remark: Remark) -> list[Film]:
    """Films of a study that are on disk, in reading order."""
    found = (listed_film(images, listed, film, remark) for film in listed.films)
    return in_order(filter(None, found), remark)


def listed_film(images: Path, listed: ListedStudy, film: ListedFilm, remark: Remark) -> Film | None:
    """One film of a study; None, remarked, when it cannot be used."""
    path = image_path(listed.subject, listed.study, film.dicom)
    return find_film(images, path, film.view, remark, suffixes=SUFFIXES)


def view_positions(root: Path, *, needed: bool = False) -> dict[str, str]:
    """View of every film by its DICOM identifier, of the metadata table where it is there.

    Raises
    ------
    DataError
        When the table is needed and missing, or has other columns.
    """
    names = [f"{prefix}-metadata.csv" for prefix in _PREFIXES]
    path = find_file(root, *names) if needed else look_for_file(root, *names)
    if path is None:
        return {}
    columns = ("dicom_id", "ViewPosition")
    return {row["dicom_id"]: row["ViewPosition"] for row in read_table(path, columns)}


def chexpert_labels(root: Path) -> dict[str, tuple[str, ...]]:
    """Findings labelled present (1.0) by study, of the CheXpert table where it is there."""
    path = look_for_file(root, *(f"{prefix}-chexpert.csv" for prefix in _PREFIXES))
    if path is None:
        return {}
    return {
        row["study_id"]: tuple(name for name in CHEXPERT_FINDINGS if row[name] == "1.0")
        for row in read_table(path, ("study_id", *CHEXPERT_FINDINGS))
    }


CHEXPERT_FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
"""The 14 observations without ``No Finding``, as the label tables spell them."""
