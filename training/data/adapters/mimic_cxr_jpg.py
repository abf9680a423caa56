"""MIMIC-CXR-JPG: films as JPEG, the tables, and the reports of MIMIC-CXR beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from service.reading import MOST_IMAGES
from training.data.adapters.films import Film
from training.data.adapters.mimic_index import (
    ACCESS,
    LICENCE,
    ListedStudy,
    MimicIndex,
    chexpert_labels,
    read_report,
    study_films,
    study_name,
    subject_name,
)
from training.data.adapters.options import choice
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.writing import Study
from training.data.example import Example

DISPLACED = "film that the earlier one took the place of: left out"
NO_FRONTAL = "earlier study without a frontal film: not shown"


class MimicCxrJpg:
    """Findings and impression of every study that has a report.

    Parameters
    ----------
    reports
        Folder that holds the reports' ``files/``; the root where not given.
    prior
        ``yes`` adds the frontal film and the report of the patient's study before.
    gaps
        ``drop`` leaves out sentences that de-identification left gaps in.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "mimic-cxr-jpg",
        "MIMIC-CXR-JPG 2.x",
        ACCESS,
        LICENCE,
        (
            "mimic-cxr-2.0.0-metadata.csv.gz",
            "mimic-cxr-2.0.0-split.csv.gz",
            "mimic-cxr-2.0.0-chexpert.csv.gz (optional)",
            "files/p10/p10000032/s50414267/<dicom>.jpg",
            "files/p10/p10000032/s50414267.txt (of MIMIC-CXR: mimic-cxr-reports.zip)",
        ),
        {
            "reports": "folder with the reports' files/, where it is another",
            "prior": "yes: add the frontal film and report of the study before (default no)",
            "gaps": "drop: leave out sentences with ___ (default keep)",
        },
    )

    def __init__(
        self,
        root: Path,
        *,
        images: Path | None = None,
        reports: str = "",
        prior: str = "no",
        gaps: str = "keep",
    ) -> None:
        self.images = images or root
        self._reports = Path(reports) if reports else root
        self._with_prior = choice("prior", prior, "no", "yes") == "yes"
        self._gaps = choice("gaps", gaps, "keep", "drop")
        self._index = MimicIndex(root)
        self._labels = chexpert_labels(root)

    def studies(self) -> list[str]:
        """Study numbers that have a split."""
        return self._index.studies()

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """Findings and impression."""
        listed = self._index.study(study)
        films = study_films(self.images, listed, remark) if listed else []
        if not listed or not films:
            return
        report = read_report(self._reports, listed.subject, study, self._gaps, remark)
        prior_report = None
        if self._with_prior:
            prior_films, prior_report = self._prior(listed, remark)
            if prior_films:  # the service takes so many films at once
                kept = films[: MOST_IMAGES - len(prior_films)]
                for _ in films[len(kept) :]:
                    remark(DISPLACED)
                films = [*kept, *prior_films]
        subject, name = subject_name(listed.subject), study_name(study)
        told = Study(self.card, study, subject, listed.split, films, name)
        yield from told.reports(
            report, remark, labels=self._labels.get(study, ()), prior_report=prior_report
        )

    def _prior(self, listed: ListedStudy, remark: Remark) -> tuple[list[Film], str | None]:
        before = self._index.prior(listed)
        # What is wrong with that study is remarked where it is read itself.
        films = study_films(self.images, before, _unremarked) if before else []
        if not before or not films:
            return [], None
        frontal = next((film for film in films if film.view != "LATERAL"), None)
        if frontal is None:
            remark(NO_FRONTAL)
            return [], None
        report = read_report(self._reports, before.subject, before.study, self._gaps, _unremarked)
        return [replace(frontal, role="prior")], report.text() or None


def _unremarked(reason: str) -> None:
    pass
