"""PadChest-GR: reports sentence by sentence, each positive finding with its boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from service.reading import Task
from training.data.adapters.boxes import fraction_box
from training.data.adapters.films import find_film
from training.data.adapters.options import choice
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.splits import split_by_subject, split_name
from training.data.adapters.tables import columns_of, look_for_file, read_json, read_table
from training.data.adapters.writing import Study
from training.data.example import Example, ReasoningTarget
from training.data.groups import NOT_TOLD, Groups, sex_of, years_of
from training.data.store.errors import DataError

_KNOWN = ("PatientID", "PatientSex_DICOM", "PatientAge")
NO_PATIENT = (
    "study whose patient is not told (master_table.csv, PatientID): a subject of its own, so that "
    "other studies of the patient may be in another split"
)
BAD_BOX = "box that is not four numbers: left out"
_FOLDERS = ("", "Padchest_GR_files", "Padchest_GR_files/PadChest_GR", "PadChest_GR")


class PadChestGr:
    """The findings of each study, its sentences with boxes as steps.

    Boxes are fractions of the film's width and height. ``boxes`` (first reader) are the
    targets; a second reader's ``extra_boxes`` take their place where asked for.

    The split, and the patient with sex and age where the table has them, come from
    ``master_table.csv``, which has a row for each study and label; without it, studies are
    subjects and the split is drawn, which is remarked: a patient's studies may be divided.

    Parameters
    ----------
    language
        ``en`` or ``es``.
    reader
        ``first`` or ``second``; where the second drew none, the first's boxes hold.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "padchest-gr",
        "PadChest-GR",
        "BIMCV, on request",
        "PadChest-GR research use agreement (BIMCV)",
        (
            "grounded_reports_20240819.json",
            "master_table.csv (split, PatientID, PatientSex_DICOM, PatientAge)",
            "Padchest_GR_files/PadChest_GR/<ImageID>",
        ),
        {"language": "en (default) or es", "reader": "first (default) or second"},
    )

    def __init__(
        self,
        root: Path,
        *,
        images: Path | None = None,
        language: str = "en",
        reader: str = "first",
    ) -> None:
        self.images = images or root
        self._text = f"sentence_{choice('language', language, 'en', 'es')}"
        second = choice("reader", reader, "first", "second") == "second"
        self._boxes = ("extra_boxes", "boxes") if second else ("boxes", "extra_boxes")
        path = look_for_file(root, "grounded_reports_20240819.json")
        path = path or next(iter(sorted(root.glob("grounded_reports_*.json"))), None)
        if path is None:
            raise DataError(f"{root} has no grounded_reports_20240819.json.")
        self._studies = {f"{s.get('StudyID')}/{s.get('ImageID')}": s for s in read_json(path)}
        self._split: dict[str, str | None] = {}
        self._patient: dict[str, str] = {}
        self._groups: dict[str, Groups] = {}
        table = look_for_file(root, "master_table.csv")
        if table:
            known = [name for name in _KNOWN if name in columns_of(table)]
            for row in read_table(table, ("StudyID", "split", *known)):
                self._split[row["StudyID"]] = split_name(row["split"])
                self._patient[row["StudyID"]] = row.get("PatientID", "")
                sex, age = row.get("PatientSex_DICOM", ""), row.get("PatientAge", "")
                self._groups[row["StudyID"]] = Groups(sex_of(sex), years_of(age))

    def studies(self) -> list[str]:
        """Studies in order."""
        return sorted(self._studies)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """The findings of one study."""
        told = self._studies[study]
        number, image = str(told["StudyID"]), str(told["ImageID"])
        path = next(
            (p for f in _FOLDERS if (self.images / (p := f"{f}/{image}".lstrip("/"))).exists()),
            image,
        )
        film = find_film(self.images, path, "", remark)
        if film is None:
            return
        patient = self._patient.get(number)
        subject = f"padchest:{patient or number}"
        split = self._split.get(number) if self._split else split_by_subject(subject)
        if split is None:
            remark("study without a split")
            return
        if not patient:
            remark(NO_PATIENT)
        steps, regions, labels = [], [], []
        for finding in told["findings"]:
            sentence = str(finding.get(self._text) or "").strip()
            if not sentence:
                continue
            boxes = self._boxes_of(finding, film.size, remark)
            steps.append(ReasoningTarget(sentence, tuple((0, box) for box in boxes)))
            if finding.get("abnormal"):
                names = [str(label) for label in finding.get("labels") or []]
                labels += names
                # A sentence with several labels has one set of boxes: they mark the first.
                regions += [(names[0] if names else sentence, box) for box in boxes]
        if not steps:
            remark("report without sentences")
            return
        text = " ".join(step.text for step in steps)
        groups = self._groups.get(number, NOT_TOLD)
        told_of = Study(self.card, number, subject, split, (film,), f"padchest:{number}", groups)
        yield told_of.example(
            "findings",
            Task.FINDINGS,
            text,
            steps=steps,
            grounded_sentences=tuple(steps),
            regions=tuple(regions),
            labels=tuple(dict.fromkeys(labels)),
            findings=text,
        )

    def _boxes_of(
        self, finding: dict[str, Any], size: tuple[int, int], remark: Remark
    ) -> list[tuple[int, int, int, int]]:
        drawn: list[list[float | None]] = next(
            (b for n in self._boxes if (b := finding.get(n))), []
        )
        boxes = []
        for corners in drawn:
            try:
                box = fraction_box(corners, size, remark)
            except (TypeError, ValueError):
                remark(BAD_BOX)
                continue
            if box:
                boxes.append(box)
        return boxes
