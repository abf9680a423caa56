"""People's own data: JSON lines, or a CSV.

One record is one example. Fields (columns), of which images, subject and an answer are needed:

========================  =====================================================================
``image`` / ``images``    path below the images' folder; several as a list, in a CSV with ``;``
``roles``                 current, lateral or prior for each image, in the same form; the first is
                          current
``subject``               the patient: one patient, one split
``split``                 train, validate or test; drawn by patient where empty
``question``, ``answer``  for a question; several answers with `` | `` between them, or in JSON
                          lines as a list, none of which holds a ``|``
``question_type``         free text
``findings``,             report sections, an example for each; may stand beside a question
``impression``
``steps``                 JSON lines only: ``[{"text": …, "boxes": [[image, x0, y0, x1, y1]]}]``;
                          images are counted from 0 there. Where there are several, a step says
                          in words, counted from 1, which one its boxes are on, as the model is to
                          write it: ``On image 2 there is an opacity``
``regions``               findings' boxes in original pixels of the first image: in JSON lines
                          ``[{"label": …, "box": [x0, y0, x1, y1]}]``, in a CSV
                          ``label: x0 y0 x1 y1; label: …``
``labels``                findings on the film; in a CSV with ``;``
``view``                  PA, AP, LATERAL; of DICOM films the header's where empty
``id``                    unique; the line's number where empty (``line-5`` where 5 is given to
                          another)
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from service.reading import Task
from training.data.adapters.films import find_film
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.splits import split_by_subject, split_name
from training.data.adapters.tables import numbered_json_lines, numbered_rows
from training.data.adapters.writing import Study
from training.data.example import ROLES, Box, Example, ReasoningTarget, Region
from training.data.groups import OLDEST, SEXES, Groups, sex_of, years_of
from training.data.store.errors import DataError
from training.data.store.validation import fits

_FIELDS = frozenset(
    (
        *("id", "image", "images", "roles", "subject", "split", "view"),
        *("question", "answer", "question_type", "findings", "impression"),
        *("steps", "regions", "labels"),
        *("study", "sex", "age", "device", "site"),
        *("indication", "technique", "comparison", "prior_report"),
    )
)
_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")
_MOST_OF_FRACTIONS = 2
"""Corners up to here that are not whole are fractions of the film, which may reach beyond it."""
_LEAST_SIDE = 2
"""Pixels of a box told in parts of pixels."""
_CONTEXT = ("indication", "technique", "comparison", "prior_report")
_SECTIONS = ("findings", "impression")
_NUMBER = r"(-?(?:\d+\.?\d*|\.\d+))"
_CSV_REGION = re.compile(rf"^(.+):\s*{'[ ,]+'.join([_NUMBER] * 4)}$")
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
        self._file = root.name
        self._records = dict(self._numbered(root))
        self._given: set[str] = set()
        for record in self._records.values():
            with suppress(ValueError):  # told when the record is read
                self._given.add(_identifier(record, "id"))
        self._line_of: dict[str, str] = {}

    def _numbered(self, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        for line, record in self._rows(path):
            unknown = set(record) - _FIELDS
            if unknown:
                near = sorted({name.strip().lower() for name in unknown} & _FIELDS)
                hint = f" Did you mean {', '.join(near)}?" if near else ""
                raise DataError(
                    f"{path.name}, line {line}: unknown field {', '.join(sorted(unknown))}; "
                    f"there are {', '.join(sorted(_FIELDS))}.{hint}"
                )
            yield str(line), record

    @abstractmethod
    def _rows(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]: ...

    def studies(self) -> list[str]:
        """Numbers of the records' lines."""
        return list(self._records)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """The question, the findings and the impression of one record.

        Raises
        ------
        DataError
            When a field is not of its form, with the line's number.
        """
        record = self._records[study]
        try:
            for example in self._examples(study, record, remark):
                first = self._line_of.setdefault(example.id, study)
                if first != study:
                    raise ValueError(f"ids are unique, and {example.id} is that of line {first}")
                yield example
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(f"{self._file}, line {study}: {error}.") from error

    def _examples(self, key: str, record: Mapping[str, Any], remark: Remark) -> Iterator[Example]:
        paths = _listed(record, "images") or _listed(record, "image")
        subject = _identifier(record, "subject")
        if not paths or not subject:
            raise ValueError("an image and a subject are needed")
        view = _text(record, "view")
        films = [find_film(self.images, path, view, remark) for path in paths]
        there = [film for film in films if film]
        if len(there) < len(films):
            return
        roles = _listed(record, "roles") or ["current"] * len(there)
        if len(roles) != len(there) or set(roles) - set(ROLES):
            raise ValueError(f"roles are one of {', '.join(ROLES)} for each image")
        if roles[0] != "current":
            raise ValueError("the first image is the one in question: its role must be current")
        given = _text(record, "split")
        namespaced = f"{self._patients}:{subject}"
        split = split_name(given) if given else split_by_subject(namespaced)
        if split is None:
            raise ValueError("split is none of train, validate, test")
        placed = [replace(film, role=role) for film, role in zip(there, roles, strict=True)]
        name = _identifier(record, "study")
        study = Study(
            self._card,
            _identifier(record, "id") or self._default_id(key),
            namespaced,
            split,
            placed,
            f"{namespaced}/{name}" if name else None,
            _groups(record),
        )
        regions, steps = _regions(record.get("regions")), _steps(record.get("steps"))
        _check_places(regions, steps, [film.size for film in there])
        shared: dict[str, Any] = {
            "regions": regions,
            "labels": tuple(_listed(record, "labels")),
            "steps": steps,
            **{name: said for name in (*_CONTEXT, *_SECTIONS) if (said := _written(record, name))},
        }
        asked = [task for task in (Task.FINDINGS, Task.IMPRESSION) if str(task) in shared]
        for task in asked:
            yield study.example(str(task), task, shared[str(task)], **shared)
        question, answer = _text(record, "question"), _answer(record)
        if bool(question) != bool(answer):
            raise ValueError("a question and its answer come together")
        if question:
            kind = _text(record, "question_type") or "question"
            yield study.question("vqa", question, [answer], kind, **shared)
        elif not asked:
            raise ValueError("there is neither an answer nor findings nor an impression")

    def _default_id(self, line: str) -> str:
        while line in self._given:
            line = f"line-{line}"
        return line


class JsonLines(_Plain):
    """One JSON object on each line."""

    card: ClassVar[DataSetCard] = DataSetCard(
        "jsonl",
        "Own data, JSON lines",
        "yours",
        "yours",
        ("own.jsonl",),
        _OPTIONS,
        studies_are_lines=True,
    )

    def _rows(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        return numbered_json_lines(path, strict=True)


class Csv(_Plain):
    """One row of a table for each example; the header is line 1."""

    card: ClassVar[DataSetCard] = DataSetCard(
        "csv",
        "Own data, CSV",
        "yours",
        "yours",
        ("own.csv",),
        _OPTIONS,
        studies_are_lines=True,
    )

    def _rows(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        return numbered_rows(path)


def _text(record: Mapping[str, Any], name: str) -> str:
    """Empty where there is none; a number as it is, true and false as answers say it."""
    return _plain_text(record.get(name), name)


def _plain_text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if not isinstance(value, str) and not _is_number(value):
        raise ValueError(f"{name} must be a text, a finite number, true or false")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # the patient 7.0 is the patient 7
    return str(value).strip()


def _identifier(record: Mapping[str, Any], name: str) -> str:
    """A text that names something: ``7.0``, as tables write the number 7, is 7."""
    text = _text(record, name)
    found = _WHOLE_NUMBER.fullmatch(text)
    return found[1] if found else text


def _written(record: Mapping[str, Any], name: str) -> str:
    """What someone wrote: a text, and nothing else."""
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be a text")
    return (value or "").strip()


def _needed(record: Mapping[str, Any], name: str) -> str:
    text = _written(record, name)
    if not text:
        raise ValueError(f"a {name} is missing")
    return text


def _answer(record: Mapping[str, Any]) -> str:
    value = record.get("answer")
    if not isinstance(value, list):
        return _text(record, "answer")
    answers = list(filter(None, (_plain_text(item, "each answer") for item in value)))
    if any("|" in answer for answer in answers):
        raise ValueError("an answer of a list holds a |, which stands between answers")
    return " | ".join(answers)


def _groups(record: Mapping[str, Any]) -> Groups:
    told = {name: _text(record, name) for name in ("sex", "age", "device", "site")}
    sex, age = sex_of(told["sex"]), years_of(told["age"])
    if told["sex"] and sex is None:
        raise ValueError(f"sex is {', '.join(SEXES)}, or empty")
    if told["age"] and age is None:
        raise ValueError(f"age is years from 0 to {OLDEST} (63, 063Y, 006M), or empty")
    return Groups(sex, age, told["device"] or None, told["site"] or None)


def _listed(record: Mapping[str, Any], name: str) -> list[str]:
    value = record.get(name)
    if value is None:
        return []
    if isinstance(value, str):
        value = value.split(";")
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a text or a list of texts")
    return list(filter(None, (_plain_text(item, f"each of {name}") for item in value)))


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if value is None or value == "":
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{name} must be a list of JSON objects")
    return value


def _whole(corners: Any) -> Box:
    if not isinstance(corners, list) or len(corners) != 4 or not all(map(_is_number, corners)):
        raise ValueError("a box must be a list of four finite numbers")
    is_whole = all(corner % 1 == 0 for corner in corners)
    if all(0 <= corner <= 1 for corner in corners) or (
        not is_whole and max(corners) <= _MOST_OF_FRACTIONS
    ):
        raise ValueError(
            "a box's corners are about from 0 to 1, as of a box in fractions of the film: multiply "
            "them by its width and height in original pixels"
        )
    x_min, y_min, x_max, y_max = map(round, corners)
    if not is_whole and min(x_max - x_min, y_max - y_min) < _LEAST_SIDE:
        raise ValueError(
            f"a box is less than {_LEAST_SIDE} pixels wide or high: give its corners in original "
            "pixels"
        )
    return x_min, y_min, x_max, y_max


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _regions(value: Any) -> tuple[Region, ...]:
    if not isinstance(value, str):
        return tuple(
            (_needed(item, "label"), _whole(item.get("box"))) for item in _objects(value, "regions")
        )
    regions = []
    for text in filter(None, map(str.strip, value.split(";"))):
        found = _CSV_REGION.match(text)
        if found is None:
            raise ValueError("a region is not `label: x0 y0 x1 y1`")
        regions.append((found[1].strip(), _whole([float(n) for n in found.groups()[1:]])))
    return tuple(regions)


def _steps(value: Any) -> tuple[ReasoningTarget, ...]:
    return tuple(
        ReasoningTarget(
            _needed(step, "text"), tuple(_placed(box) for box in step.get("boxes") or ())
        )
        for step in _objects(value, "steps")
    )


def _placed(box: Any) -> tuple[int, Box]:
    """Which image, and where on it."""
    if not isinstance(box, list) or len(box) != 5 or not _is_number(box[0]) or box[0] % 1:
        raise ValueError("a step's box must be a list of an image's number and four numbers")
    return int(box[0]), _whole(box[1:])


def _check_places(
    regions: Sequence[Region], steps: Sequence[ReasoningTarget], sizes: Sequence[tuple[int, int]]
) -> None:
    """Refuse boxes on no image of the record, without area, or beyond their film."""
    placed = [(0, box) for _, box in regions]
    for step in steps:
        placed += step.boxes
    for image, box in placed:
        if not 0 <= image < len(sizes):
            raise ValueError(
                f"a step's box is on image {image}, counted from 0, and there are {len(sizes)}"
            )
        if not fits(box, sizes[image]):
            width, height = sizes[image]
            raise ValueError(
                f"the box {list(box)} has no area, has its corners in another order than x_min, "
                f"y_min, x_max, y_max, or reaches beyond its film of {width} x {height} pixels"
            )
