"""People's own data: JSON lines, or a CSV.

One record is one example. Fields (columns), of which images, subject and an answer are needed:

========================  =====================================================================
``image`` / ``images``    path below the images' folder; several as a list, in a CSV with ``;``
``roles``                 current, lateral or prior for each image, in the same form
``subject``               the patient: one patient, one split
``split``                 train, validate or test; drawn by patient where empty
``question``, ``answer``  for a question; several answers with `` | `` between them
``question_type``         free text
``findings``,             report sections, an example for each; may stand beside a question
``impression``
``steps``                 JSON lines only: ``[{"text": …, "boxes": [[image, x0, y0, x1, y1]]}]``
``regions``               findings' boxes in original pixels of the first image: in JSON lines
                          ``[{"label": …, "box": [x0, y0, x1, y1]}]``, in a CSV
                          ``label: x0 y0 x1 y1; label: …``
``labels``                findings on the film; in a CSV with ``;``
``view``                  PA, AP, LATERAL
``id``                    unique; the line's number where empty
``study``                 the study that the films are of; else its first film stands for it
``sex``, ``age``          F, M or O; years (or ``006M``, months). Of DICOM films the header's where
``device``, ``site``      empty, as are the equipment's maker and model, and the institution
``indication``,           context
``technique``,
``comparison``,
``prior_report``
========================  =====================================================================
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from service.reading import Task
from training.data.adapters.films import find_film
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.splits import split_by_subject, split_name
from training.data.adapters.tables import columns_of, read_json_lines, read_table
from training.data.adapters.writing import Study
from training.data.example import ROLES, Box, Example, ReasoningTarget, Region
from training.data.groups import OLDEST, SEXES, Groups, sex_of, years_of
from training.data.store.errors import DataError

_FIELDS = frozenset(
    (
        *("id", "image", "images", "roles", "subject", "split", "view"),
        *("question", "answer", "question_type", "findings", "impression"),
        *("steps", "regions", "labels"),
        *("study", "sex", "age", "device", "site"),
        *("indication", "technique", "comparison", "prior_report"),
    )
)
_CONTEXT = ("indication", "technique", "comparison", "prior_report")
_CSV_REGION = re.compile(r"^(.+):\s*(-?[\d.]+)[ ,]+(-?[\d.]+)[ ,]+(-?[\d.]+)[ ,]+(-?[\d.]+)$")
_OPTIONS = {
    "name": "what the data set is called (default: the file's name)",
    "licence": "terms of its use (default: own data)",
    "patients": "namespace of subjects: files that share patients share it (default: own)",
}


class _Plain(ABC):
    card: ClassVar[DataSetCard]

    def __init__(
        self,
        root: Path,
        *,
        images: Path | None = None,
        name: str = "",
        licence: str = "own data",
        patients: str = "own",
    ) -> None:
        if not root.is_file():
            raise DataError(f"{root} is no file. Give the {self.card.name} file itself.")
        self.images = images or root.parent
        self._patients = patients
        self._card = replace(self.card, name=name or root.stem, licence=licence)
        self._records = dict(self._numbered(root))

    def _numbered(self, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        for line, record in enumerate(self._rows(path), self._first_line):
            unknown = set(record) - _FIELDS
            if unknown:
                raise DataError(
                    f"{path.name}, record {line}: unknown field {', '.join(sorted(unknown))}; "
                    f"there are {', '.join(sorted(_FIELDS))}."
                )
            yield str(line), record

    _first_line = 1

    @abstractmethod
    def _rows(self, path: Path) -> Iterator[dict[str, Any]]: ...

    def studies(self) -> list[str]:
        """Numbers of the records."""
        return list(self._records)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """The question, the findings and the impression of one record.

        Raises
        ------
        DataError
            When a field is not of its form, with the record's number.
        """
        record = self._records[study]
        try:
            yield from self._examples(study, record, remark)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(f"Record {study}: {error}.") from error

    def _examples(self, key: str, record: Mapping[str, Any], remark: Remark) -> Iterator[Example]:
        paths = _listed(record.get("images") or record.get("image"))
        subject = _text(record.get("subject"))
        if not paths or not subject:
            raise ValueError("an image and a subject are needed")
        view = _text(record.get("view"))
        films = [find_film(self.images, path, view, remark) for path in paths]
        there = [film for film in films if film]
        if len(there) < len(films):
            return
        roles = _listed(record.get("roles")) or ["current"] * len(there)
        if len(roles) != len(there) or set(roles) - set(ROLES):
            raise ValueError(f"roles are one of {', '.join(ROLES)} for each image")
        given = _text(record.get("split"))
        namespaced = f"{self._patients}:{subject}"
        split = split_name(given) if given else split_by_subject(namespaced)
        if split is None:
            raise ValueError(f"split {given!r} is none of train, validate, test")
        placed = [replace(film, role=role) for film, role in zip(there, roles, strict=True)]
        name = _text(record.get("study"))
        study = Study(
            self._card,
            _text(record.get("id")) or key,
            namespaced,
            split,
            placed,
            f"{namespaced}/{name}" if name else None,
            _groups(record),
        )
        shared: dict[str, Any] = {
            "regions": _regions(record.get("regions")),
            "labels": tuple(_listed(record.get("labels"))),
            "steps": _steps(record.get("steps")),
            **{name: str(record[name]) for name in _CONTEXT if record.get(name)},
            **{name: str(record[name]) for name in ("findings", "impression") if record.get(name)},
        }
        asked = [task for task in (Task.FINDINGS, Task.IMPRESSION) if record.get(str(task))]
        for task in asked:
            yield study.example(str(task), task, str(record[str(task)]), **shared)
        question, answer = _text(record.get("question")), _text(record.get("answer"))
        if bool(question) != bool(answer):
            raise ValueError("a question and its answer come together")
        if question:
            kind = _text(record.get("question_type")) or "question"
            yield study.question("vqa", question, [answer], kind, **shared)
        elif not asked:
            raise ValueError("there is neither an answer nor findings nor an impression")


class JsonLines(_Plain):
    """One JSON object on each line."""

    card: ClassVar[DataSetCard] = DataSetCard(
        "jsonl", "Own data, JSON lines", "yours", "yours", ("own.jsonl",), _OPTIONS
    )

    def _rows(self, path: Path) -> Iterator[dict[str, Any]]:
        return read_json_lines(path)


class Csv(_Plain):
    """One row of a table for each example; the header is line 1."""

    card: ClassVar[DataSetCard] = DataSetCard(
        "csv", "Own data, CSV", "yours", "yours", ("own.csv",), _OPTIONS
    )
    _first_line = 2

    def _rows(self, path: Path) -> Iterator[dict[str, Any]]:
        return read_table(path, columns_of(path))


def _text(value: Any) -> str:
    """Empty where there is none; a number as it is, true and false as answers say it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return str(value).strip()


def _groups(record: Mapping[str, Any]) -> Groups:
    told = {name: _text(record.get(name)) for name in ("sex", "age", "device", "site")}
    sex, age = sex_of(told["sex"]), years_of(told["age"])
    if told["sex"] and sex is None:
        raise ValueError(f"sex is {', '.join(SEXES)}, or empty")
    if told["age"] and age is None:
        raise ValueError(f"age is years from 0 to {OLDEST} (63, 063Y, 006M), or empty")
    return Groups(sex, age, told["device"] or None, told["site"] or None)


def _listed(value: Any) -> list[str]:
    if not value:
        return []
    items = value.split(";") if isinstance(value, str) else value
    return [str(item).strip() for item in items if str(item).strip()]


def _whole(corners: Any) -> Box:
    numbers = [float(corner) for corner in corners]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a box has a number that is not finite")
    x_min, y_min, x_max, y_max = map(round, numbers)
    return x_min, y_min, x_max, y_max


def _regions(value: Any) -> tuple[Region, ...]:
    if not value:
        return ()
    if not isinstance(value, str):
        return tuple((str(item["label"]), _whole(item["box"])) for item in value)
    regions = []
    for text in filter(None, map(str.strip, value.split(";"))):
        found = _CSV_REGION.match(text)
        if found is None:
            raise ValueError(f"region {text!r} is not `label: x0 y0 x1 y1`")
        regions.append((found[1].strip(), _whole(found.groups()[1:])))
    return tuple(regions)


def _steps(value: Any) -> tuple[ReasoningTarget, ...]:
    return tuple(
        ReasoningTarget(
            str(step["text"]),
            tuple((int(box[0]), _whole(box[1:])) for box in step.get("boxes") or ()),
        )
        for step in value or ()
    )
