"""Medical-CXR-VQA: questions written from the reports of MIMIC-CXR.

The published table, ``medical-cxr-vqa-questions.csv``, has 780,014 questions of six types. The
defaults below are the column names that the authors' own code and others' loaders read; where the
table's differ, name them:
``--option columns=study=study_id,question=Question,answer=Answer,kind=Type``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from training.data.adapters.films import Film
from training.data.adapters.mimic_index import (
    ACCESS,
    LICENCE,
    ListedStudy,
    MimicIndex,
    listed_film,
    study_films,
    study_name,
    subject_name,
)
from training.data.adapters.options import column_mapping
from training.data.adapters.protocol import DataSetCard, Remark, record_by_record
from training.data.adapters.splits import split_name
from training.data.adapters.tables import columns_of, find_file, read_table
from training.data.adapters.writing import NO_ANSWER, Study
from training.data.example import Example

_COLUMNS = {
    "study": "study_id",
    "question": "question",
    "answer": "answer",
    "kind": "question_type",
    "split": "",
    "film": "",
}
_WHERE_THERE = {"film": "dicom_id", "split": "split"}
_TABLES = ("medical-cxr-vqa-questions.csv", "medical_cxr_vqa_questions.csv")
NO_FILM = "question whose film is not there"
_LISTED = "abnormality"
"""The type of question whose answers list findings, with commas."""


class MedicalCxrVqa:
    """One example for each question, on the film it names, else on all of its study.

    Parameters
    ----------
    mimic
        Folder of MIMIC-CXR-JPG with its tables; the images' folder where not given.
    columns
        ``NAME=COLUMN,…`` for study, question, answer, kind, split and film. Without a column of
        splits those of MIMIC-CXR-JPG hold.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "medical-cxr-vqa",
        "Medical-CXR-VQA 1.0.0",
        ACCESS,
        LICENCE,
        (
            "medical-cxr-vqa-questions.csv (other column names: see --option columns)",
            "images and tables of MIMIC-CXR-JPG, given as --images",
        ),
        {
            "mimic": "folder of MIMIC-CXR-JPG with its tables, where it is not --images",
            "columns": "study=…,question=…,answer=…,kind=…,split=…,film=… as the table names them",
        },
    )

    def __init__(
        self, root: Path, *, images: Path | None = None, mimic: str = "", columns: str = ""
    ) -> None:
        self.images = images or root
        self._index = MimicIndex(Path(mimic) if mimic else self.images)
        self._columns = column_mapping(columns, _COLUMNS)
        self._questions: dict[str, list[dict[str, str]]] = defaultdict(list)
        table = find_file(root, *_TABLES)
        there = columns_of(table)
        for name, column in _WHERE_THERE.items():
            if not self._columns[name] and column in there:
                self._columns[name] = column
        named = {name: column for name, column in self._columns.items() if column}
        for row in read_table(table, named.values()):
            told = {name: row[column] for name, column in named.items()}
            study = told["study"].removeprefix("s").removesuffix(".0")
            self._questions[study].append(told)

    def studies(self) -> list[str]:
        """Study numbers in order."""
        return sorted(self._questions)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """All questions on one study."""
        listed = self._index.study(study)
        if listed is None:
            remark("study that MIMIC-CXR-JPG does not list")
            return
        films: dict[str, list[Film]] = {}

        def read(numbered: tuple[int, dict[str, str]]) -> Iterator[Example]:
            number, asked = numbered
            split = split_name(asked["split"]) if "split" in asked else listed.split
            if split is None:
                remark("question without a split")
                return
            if not asked["answer"]:
                remark(NO_ANSWER)
                return
            named = asked.get("film", "")
            if named not in films:
                films[named] = self._shown(listed, named, remark)
            if not films[named]:
                remark(NO_FILM)
                return
            answers = asked["answer"].split(",") if asked["kind"] == _LISTED else []
            listed_answers = [text.strip() for text in answers if text.strip()]
            subject, name = subject_name(listed.subject), study_name(study)
            told = Study(self.card, study, subject, split, films[named], name)
            yield told.question(
                str(number),
                asked["question"],
                listed_answers or [asked["answer"]],
                asked["kind"],
            )

        yield from record_by_record(enumerate(self._questions[study]), read, remark)

    def _shown(self, listed: ListedStudy, named: str, remark: Remark) -> list[Film]:
        """The film that a question names; those of its study where it names none."""
        if not named:
            return study_films(self.images, listed, remark)
        wanted = (film for film in listed.films if film.dicom == named)
        found = (listed_film(self.images, listed, film, remark) for film in wanted)
        return [film for film in found if film]
