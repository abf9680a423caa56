"""MS-CXR: phrases of reports of MIMIC-CXR with boxes drawn by radiologists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from training.data.adapters.boxes import OTHER_SIZE, extent_box
from training.data.adapters.films import find_film
from training.data.adapters.mimic_index import (
    ACCESS,
    LICENCE,
    SUFFIXES,
    study_name,
    subject_name,
    view_positions,
)
from training.data.adapters.protocol import DataSetCard, Remark, record_by_record
from training.data.adapters.splits import split_name
from training.data.adapters.tables import find_file, read_table
from training.data.adapters.writing import Study
from training.data.example import Box, Example, ReasoningTarget

_BOX = ("x", "y", "w", "h")
_SIZE = ("image_width", "image_height")


class MsCxr:
    """For each category of finding on a film, what it is like: answered by the phrases marked.

    A phrase may tell a place (*left apical*) or none (*heart is enlarged*), so that a place is not
    asked for. The step holds each phrase with its boxes. Boxes are ``x, y, w, h`` in pixels of the
    published JPEG, whose size the table gives; films of another size are left out.

    Parameters
    ----------
    mimic
        Folder of MIMIC-CXR-JPG with its metadata table, which tells views; the images' folder
        where not given. Without the table views are UNKNOWN.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "ms-cxr",
        "MS-CXR 1.1.0",
        ACCESS,
        LICENCE,
        (
            "MS_CXR_Local_Alignment_v1.1.0.csv",
            "images of MIMIC-CXR-JPG (files/p10/…), given as --images",
            "mimic-cxr-2.0.0-metadata.csv.gz beside them (optional)",
        ),
        {"mimic": "folder of MIMIC-CXR-JPG's tables, for view positions, where it is another"},
    )

    def __init__(self, root: Path, *, images: Path | None = None, mimic: str = "") -> None:
        self.images = images or root
        self._views = view_positions(Path(mimic) if mimic else self.images, needed=bool(mimic))
        self._rows: dict[str, list[dict[str, str]]] = defaultdict(list)
        table = find_file(root, "MS_CXR_Local_Alignment_v1.1.0.csv")
        columns = ("dicom_id", "category_name", "label_text", "path", "split", *_BOX, *_SIZE)
        for row in read_table(table, columns):
            self._rows[row["dicom_id"]].append(row)

    def studies(self) -> list[str]:
        """Films in order."""
        return sorted(self._rows)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """One question for each category on a film."""
        rows = self._rows[study]
        first = rows[0]
        view = self._views.get(study, "")
        film = find_film(self.images, first["path"], view, remark, suffixes=SUFFIXES)
        if film is None:
            return
        if film.size != tuple(int(float(first[side])) for side in _SIZE):
            remark(OTHER_SIZE)
            return
        split = split_name(first["split"])
        if split is None:
            remark("film without a split")
            return
        # files/p10/p10000032/s50414267/<dicom>.jpg
        patient, name = Path(first["path"]).parts[-3:-1]
        told = Study(self.card, study, subject_name(patient), split, (film,), study_name(name))
        categories: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in rows:
            categories[row["category_name"]].append(row)

        def read(category: str) -> Iterator[Example]:
            # A row that cannot be read takes its category along: the answer would lack its phrase.
            phrases: dict[str, list[Box]] = defaultdict(list)
            for row in categories[category]:
                box = extent_box([float(row[side]) for side in _BOX], film.size, remark)
                if box:
                    phrases[row["label_text"]].append(box)
            if not phrases:
                return
            steps = tuple(
                ReasoningTarget(phrase, tuple((0, box) for box in boxes))
                for phrase, boxes in phrases.items()
            )
            yield told.question(
                category.lower().replace(" ", "-"),
                f"Describe the {category.lower()}.",
                list(phrases),
                "description",
                steps=steps,
                grounded_sentences=steps,
                regions=tuple((category, box) for boxes in phrases.values() for box in boxes),
                labels=tuple(sorted(categories)),
            )

        yield from record_by_record(sorted(categories), read, remark)
