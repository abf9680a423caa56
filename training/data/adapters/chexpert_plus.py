"""CheXpert Plus: reports and demographics of CheXpert, with CheXbert's labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from training.data.adapters.films import find_film, in_order
from training.data.adapters.mimic_index import CHEXPERT_FINDINGS
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.report_sections import tidy
from training.data.adapters.splits import split_by_subject, split_name
from training.data.adapters.tables import columns_of, find_file, read_json_lines, read_table
from training.data.adapters.writing import Report, Study
from training.data.example import Example
from training.data.groups import Groups, sex_of, years_of

_SUFFIXES = (".png", ".jpg", ".dcm")
_LABELS = ("impression_fixed.json", "findings_fixed.json")
_COLUMNS = (
    "path_to_image",
    "frontal_lateral",
    "ap_pa",
    "deid_patient_id",
    "section_findings",
    "section_impression",
    "split",
)
_SECTIONS = ("findings", "impression", "technique", "comparison")
_OPTIONAL = (
    *("sex", "age"),
    *("section_clinical_history", "section_history", "section_technique", "section_comparison"),
)


class CheXpertPlus:
    """Findings and impression of every study.

    The release has a train and a valid split; valid is kept for testing, as the field does, and
    a tenth of the training patients is drawn for validation. Sex, age, history, technique and
    comparison come from the table where it has them.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "chexpert-plus",
        "CheXpert Plus (240401)",
        "Stanford AIMI, agreement",
        "Stanford University Dataset Research Use Agreement",
        (
            "df_chexpert_plus_240401.csv",
            "chexbert_labels/impression_fixed.json (optional)",
            "train/patient00001/study1/view1_frontal.png or .jpg, below --images",
        ),
    )

    def __init__(self, root: Path, *, images: Path | None = None) -> None:
        self.images = images or root
        self._rows: dict[str, list[dict[str, str]]] = defaultdict(list)
        table = find_file(root, "df_chexpert_plus_240401.csv")
        known = [name for name in _OPTIONAL if name in columns_of(table)]
        for row in read_table(table, (*_COLUMNS, *known)):
            self._rows[str(Path(row["path_to_image"]).parent)].append(row)
        self._labels: dict[str, tuple[str, ...]] = {}
        folder = root / "chexbert_labels"
        path = next((p for name in _LABELS if (p := folder / name).is_file()), None)
        for record in read_json_lines(path) if path else ():
            study = str(Path(str(record["path_to_image"])).parent)
            self._labels[study] = tuple(name for name in CHEXPERT_FINDINGS if record.get(name) == 1)

    def studies(self) -> list[str]:
        """Folders of the studies, in order."""
        return sorted(self._rows)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """Findings and impression."""
        rows = self._rows[study]
        found = (
            find_film(self.images, row["path_to_image"], _view(row), remark, suffixes=_SUFFIXES)
            for row in rows
        )
        films = in_order(filter(None, found), remark)
        if not films:
            return
        subject = f"chexpert:{rows[0]['deid_patient_id']}"
        split = self._split(rows[0]["split"], subject)
        if split is None:
            remark("study without a split")
            return
        row = rows[0]
        told = {name: tidy(row.get(f"section_{name}", "")) or None for name in _SECTIONS}
        indication = tidy(row.get("section_clinical_history", "") or row.get("section_history", ""))
        report = Report(**told, indication=indication or None)
        groups = Groups(sex_of(rows[0].get("sex", "")), years_of(rows[0].get("age", "")))
        about = Study(self.card, study, subject, split, films, f"chexpert:{study}", groups)
        yield from about.reports(report, remark, labels=self._labels.get(study, ()))

    @staticmethod
    def _split(word: str, subject: str) -> str | None:
        published = split_name(word)
        if published == "validate":
            return "test"
        if published == "train" and split_by_subject(subject) == "validate":
            return "validate"
        return published


def _view(row: dict[str, str]) -> str:
    return row["ap_pa"] if row["frontal_lateral"].lower() == "frontal" else "LATERAL"
