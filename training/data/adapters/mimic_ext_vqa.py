"""MIMIC-Ext-MIMIC-CXR-VQA: templated questions with set answers on films of MIMIC-CXR-JPG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from training.data.adapters.films import Film, find_film
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
from training.data.adapters.tables import look_for_file, read_json
from training.data.adapters.writing import NO_ANSWER, Study
from training.data.example import Example
from training.data.store.errors import DataError

_FILES = ("train.json", "valid.json", "test.json")
_NONE = "None"


class MimicExtVqa:
    """One example for each question; an empty set of answers is answered ``None``.

    The published ``image_path`` is looked for below the images' folder as it stands and below
    ``files/``.

    Parameters
    ----------
    mimic
        Folder of MIMIC-CXR-JPG with its metadata table, which tells views; the images' folder
        where not given. Without the table views are UNKNOWN.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "mimic-ext-mimic-cxr-vqa",
        "MIMIC-Ext-MIMIC-CXR-VQA 1.0.0",
        ACCESS,
        LICENCE,
        (
            "MIMIC-Ext-MIMIC-CXR-VQA/dataset/train.json, valid.json, test.json",
            "images of MIMIC-CXR-JPG, given as --images",
            "mimic-cxr-2.0.0-metadata.csv.gz beside them (optional)",
        ),
        {"mimic": "folder of MIMIC-CXR-JPG's tables, for view positions, where it is another"},
    )

    def __init__(self, root: Path, *, images: Path | None = None, mimic: str = "") -> None:
        self.images = images or root
        self._views = view_positions(Path(mimic) if mimic else self.images, needed=bool(mimic))
        self._questions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        folders = [root, root / "dataset", root / "MIMIC-Ext-MIMIC-CXR-VQA" / "dataset"]
        paths = [path for f in folders for name in _FILES if (path := look_for_file(f, name))]
        if not paths:
            raise DataError(f"{root} has no {', '.join(_FILES)}. Give the folder that has them.")
        for path in paths:
            for question in read_json(path):
                film = f"{question.get('subject_id')}/{question.get('image_id')}"
                self._questions[film].append(question)

    def studies(self) -> list[str]:
        """Films in order of patient and film."""
        return sorted(self._questions)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """All questions on one film."""
        films: dict[str, Film | None] = {}

        def read(question: dict[str, Any]) -> Iterator[Example]:
            subject, image = subject_name(str(question["subject_id"])), str(question["image_id"])
            path = str(question["image_path"])
            if path not in films:
                films[path] = self._film(path, image, remark)
            film = films[path]
            if film is None:
                return
            split = split_name(str(question["split"]))
            if split is None:
                remark("question without a split")
                return
            answers = _answers(question.get("answer"))
            if answers is None:
                remark(NO_ANSWER)
                return
            name = study_name(str(question["study_id"]))
            told = Study(self.card, image, subject, split, (film,), name)
            kind = str(question["content_type"])
            yield told.question(
                f"{split}-{question['idx']}", str(question["question"]), answers, kind
            )

        return record_by_record(self._questions[study], read, remark)

    def _film(self, path: str, image: str, remark: Remark) -> Film | None:
        below = path if (self.images / path).exists() else f"files/{path}"
        view = self._views.get(image, "")
        return find_film(self.images, below, view, remark, suffixes=SUFFIXES)


def _answers(given: Any) -> list[str] | None:
    """The set of answers; one that stands alone is a set of its own, and null is none."""
    if isinstance(given, list):
        return [str(answer) for answer in given if answer is not None] or [_NONE]
    text = "" if given is None else str(given).strip()
    return [text] if text else None
