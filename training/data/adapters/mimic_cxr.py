"""MIMIC-CXR: films as DICOM with their free-text reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from training.data.adapters.films import find_film, in_order
from training.data.adapters.mimic_index import (
    ACCESS,
    LICENCE,
    read_report,
    study_name,
    subject_name,
)
from training.data.adapters.options import choice
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.splits import split_by_subject, split_name
from training.data.adapters.tables import find_file, look_for_file, read_table
from training.data.adapters.writing import Study
from training.data.example import Example


class MimicCxr:
    """Findings and impression of every study, its films as DICOM.

    MIMIC-CXR itself publishes no split: that of MIMIC-CXR-JPG is used where its table lies in
    the root or is named; else one is drawn by patient.

    Parameters
    ----------
    split
        Path of ``mimic-cxr-2.0.0-split.csv.gz``.
    gaps
        ``drop`` leaves out sentences that de-identification left gaps in.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "mimic-cxr",
        "MIMIC-CXR 2.x",
        ACCESS,
        LICENCE,
        (
            "cxr-record-list.csv.gz",
            "files/p10/p10000032/s50414267/<dicom>.dcm",
            "files/p10/p10000032/s50414267.txt (mimic-cxr-reports.zip)",
            "mimic-cxr-2.0.0-split.csv.gz (of MIMIC-CXR-JPG, optional)",
        ),
        {
            "split": "path of mimic-cxr-2.0.0-split.csv.gz, where it is not in the folder",
            "gaps": "drop: leave out sentences with ___ (default keep)",
        },
    )

    def __init__(
        self, root: Path, *, images: Path | None = None, split: str = "", gaps: str = "keep"
    ) -> None:
        self.images = images or root
        self._root = root
        self._gaps = choice("gaps", gaps, "keep", "drop")
        self._subject: dict[str, str] = {}
        self._paths: dict[str, list[str]] = defaultdict(list)
        table = find_file(root, "cxr-record-list.csv")
        for row in read_table(table, ("subject_id", "study_id", "path")):
            self._subject[row["study_id"]] = row["subject_id"]
            self._paths[row["study_id"]].append(row["path"])
        names = ("mimic-cxr-2.1.0-split.csv", "mimic-cxr-2.0.0-split.csv")
        listed = Path(split) if split else look_for_file(root, *names)
        self._split = (
            {
                row["study_id"]: split_name(row["split"])
                for row in read_table(listed, ("study_id", "split"))
            }
            if listed
            else None
        )

    def studies(self) -> list[str]:
        """Study numbers in order."""
        return sorted(self._paths)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """Findings and impression."""
        number = self._subject[study]
        subject = subject_name(number)
        split = split_by_subject(subject) if self._split is None else self._split.get(study)
        if split is None:
            remark("study without a split")
            return
        # Views are the headers' own: the record list tells none.
        found = (find_film(self.images, path, "", remark) for path in self._paths[study])
        films = in_order(filter(None, found), remark)
        if films:
            report = read_report(self._root, number, study, self._gaps, remark)
            told = Study(self.card, study, subject, split, films, study_name(study))
            yield from told.reports(report, remark)
