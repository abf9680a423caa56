"""ReXVQA: multiple-choice questions on the films of ReXGradient-160K."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.rexgradient import (
    ACCESS,
    LICENCE,
    films_of,
    groups_of,
    read_metadata,
    said,
    study_name,
    subject_of,
)
from training.data.adapters.writing import NO_ANSWER, Study
from training.data.example import Example

_LETTER = re.compile(r"^\(?([A-Z])[).:]\s*")


class ReXVqa:
    """One example for each question; the options stand below it, the answer is one of them.

    The published answer is a letter; it is written out with its option (``B. Left lung``).
    Patients share the namespace of ReXGradient; a record without ``PatientID`` takes the patient
    from its study's key, else from its film's folder.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "rexvqa",
        "ReXVQA",
        ACCESS,
        LICENCE,
        (
            "metadata/train_vqa_data.json, valid_vqa_data.json, test_vqa_data.json",
            "deid_png/… of ReXGradient-160K, below the root or --images",
        ),
    )

    def __init__(self, root: Path, *, images: Path | None = None) -> None:
        self.images = images or root
        self._records = read_metadata(root, "{split}_vqa_data.json")

    def studies(self) -> list[str]:
        """Keys of the questions, in order."""
        return sorted(self._records)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """The one question."""
        split, record = self._records[study]
        options = _lettered(record.get("options"))
        answer = _answer(str(record.get("correct_answer") or ""), options)
        if answer is None:
            remark(NO_ANSWER)
            return
        films = films_of(self.images, record, remark)
        if not films:
            return
        paths = record.get("ImagePath") or films[0].path
        first = paths if isinstance(paths, str) else str(paths[0])
        number = str(record.get("study_id") or record.get("StudyInstanceUid") or "")
        subject = subject_of(record, number, study, instead=_patient_folder(first))
        name = study_name(number) if number else None
        told = Study(self.card, study, subject, split, films, name, groups_of(record))
        yield told.question(
            "vqa",
            "\n".join([str(record["question"]).strip(), *options]),
            [answer],
            str(record["task_name"]),
            indication=said(record.get("Indication"), "indication"),
        )


def _patient_folder(path: str) -> str:
    """The folder below ``deid_png``, which is the patient's; empty for other paths."""
    below = path.partition("deid_png/")[2]
    return below.partition("/")[0]


def _lettered(options: Any) -> list[str]:
    if options is None:
        return []
    if not isinstance(options, list):
        raise ValueError("options must be a list")
    texts = [str(option).strip() for option in options]
    return [
        text if _LETTER.match(text) else f"{chr(ord('A') + n)}. {text}"
        for n, text in enumerate(texts)
    ]


def _answer(given: str, options: list[str]) -> str | None:
    """The option whose letter or text is given; what is given where there are no options."""
    given = given.strip()
    if not options:
        return given or None
    for option in options:
        letter = _LETTER.match(option)
        if letter and given in (letter[1], option, option[letter.end() :]):
            return option
    return None
