"""VinDr-CXR: local findings as boxes by radiologists, three readers each in the training set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from training.data.adapters.boxes import OTHER_SIZE, pixel_box, reaches_beyond
from training.data.adapters.films import find_film
from training.data.adapters.options import choice
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.readers import Marked, agreed_regions
from training.data.adapters.splits import split_by_subject
from training.data.adapters.tables import columns_of, look_for_file, read_table
from training.data.adapters.writing import Study
from training.data.example import Example, ReasoningTarget
from training.data.store.errors import DataError

_BOX = ("x_min", "y_min", "x_max", "y_max")
_SUFFIXES = (".dcm", ".png", ".jpg")
_NORMAL = "No finding"
_NOTHING = "No abnormal region is seen"
NO_BOX = "finding named without a box: left out"
_QUESTION = "Which abnormalities does the film show?"
_LEAST = {"any": 1, "majority": 2, "all": 3}


class VinDrCxr:
    """One question for each film: which abnormalities it shows, with their boxes as steps.

    There are no patient numbers: every film is a subject of its own. The published training set
    is divided into train and validate by film. Copies of another size do not fit the boxes,
    which are in pixels of the published DICOM: a film that one of its boxes does not lie within is
    left out. The DICOM's header keeps the patient's sex and age.

    Parameters
    ----------
    readers
        How many of the three readers must have drawn a box: ``majority`` (two), ``all``, or
        ``any``. The test set is a consensus already.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "vindr-cxr",
        "VinDr-CXR 1.0.0",
        "PhysioNet, credentialed",
        "PhysioNet Credentialed Health Data License 1.5.0",
        (
            "annotations/annotations_train.csv, annotations_test.csv",
            "train/<image_id>.dicom, test/<image_id>.dicom",
        ),
        {"readers": "majority (default), all or any of the three must have drawn a box"},
    )

    def __init__(
        self, root: Path, *, images: Path | None = None, readers: str = "majority"
    ) -> None:
        self.images = images or root
        self._least = _LEAST[choice("readers", readers, *_LEAST)]
        self._marks: dict[str, list[tuple[str, str, tuple[str, ...]]]] = defaultdict(list)
        for split in ("train", "test"):
            name = f"annotations_{split}.csv"
            path = look_for_file(root / "annotations", name) or look_for_file(root, name)
            if path is None:
                continue
            reader = ["rad_id"] if "rad_id" in columns_of(path) else []
            for row in read_table(path, ("image_id", "class_name", *_BOX, *reader)):
                corners = tuple(row[side] for side in _BOX)
                mark = (row.get("rad_id", ""), row["class_name"], corners)
                self._marks[f"{split}/{row['image_id']}"].append(mark)
        if not self._marks:
            raise DataError(f"{root} has neither annotations_train.csv nor annotations_test.csv.")

    def studies(self) -> list[str]:
        """Films of both sets in order."""
        return sorted(self._marks)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """The question on one film."""
        film = find_film(self.images, f"{study}.dicom", "", remark, suffixes=_SUFFIXES)
        if film is None:
            return
        drawn = [
            (reader, label, [float(corner) for corner in corners])
            for reader, label, corners in self._marks[study]
            if all(corners)
        ]
        if any(reaches_beyond(corners, film.size) for _, _, corners in drawn):
            remark(OTHER_SIZE)
            return
        marks = [
            Marked(reader, label, box)
            for reader, label, corners in drawn
            if (box := pixel_box(corners, film.size, remark))
        ]
        published, _, name = study.partition("/")
        least = self._least if published == "train" else 1
        regions = agreed_regions(marks, readers=least)
        # A film on which anything was named is not normal, though no box of it can be kept.
        if not regions and any(label != _NORMAL for _, label, _ in self._marks[study]):
            remark("film whose readers agree on no box: left out")
            return
        labels = tuple(sorted({label for label, _ in regions}))
        unboxed = {label for _, label, box in self._marks[study] if not all(box)} - {_NORMAL}
        for _ in unboxed.difference(labels):
            remark(NO_BOX)
        subject = f"vindr-cxr:{name}"
        split = published
        if published == "train" and split_by_subject(subject) == "validate":
            split = "validate"
        steps = [
            ReasoningTarget(label, tuple((0, box) for of, box in regions if of == label))
            for label in labels
        ] or [ReasoningTarget(_NOTHING)]
        told = Study(self.card, name, subject, split, (film,))
        yield told.question(
            "abnormality",
            _QUESTION,
            labels or (_NORMAL,),
            "abnormality",
            steps=steps,
            regions=regions,
            labels=labels,
        )
