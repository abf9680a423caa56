"""One training or test example, whatever data set it came from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal, get_args

from service.reading import Mode, Task

Box = tuple[int, int, int, int]
"""``(x_min, y_min, x_max, y_max)`` in original pixels, origin top left."""
Region = tuple[str, Box]
"""A label and its box."""
Role = Literal["current", "lateral", "prior"]
"""What a film is to the question: the one read, another view of that study, an earlier study."""
Split = Literal["train", "validate", "test"]
ROLES: tuple[str, ...] = get_args(Role)
SPLITS: tuple[str, ...] = get_args(Split)


@dataclass(frozen=True)
class ReasoningTarget:
    """A step that the model is to write: its text and boxes.

    Attributes
    ----------
    boxes
        Pairs of image index (from 0) and box in original pixels of that image.
    """

    text: str
    boxes: tuple[tuple[int, Box], ...] = ()


@dataclass(frozen=True)
class Example:
    """What is asked of one or more films, and what is to be answered.

    Attributes
    ----------
    id
        Unique within a store.
    images
        Paths of the films relative to the data's folder, the film in question first.
    sizes
        Width and height in original pixels of each.
    roles
        Of each image: current, lateral or prior. Empty where the source does not say.
    answer
        Findings, impression, or the answer to the question. Several answers to one question are
        written with `` | `` between them, as the published reward reads them.
    steps
        Reasoning that leads to the answer; empty where none was written.
    split
        train, validate or test.
    subject
        The patient, with the namespace in which the identifier is unique: data sets drawn from
        one collection share it (``mimic-cxr:10000032``).
    question
        For a question; None for report sections.
    question_type
        The source's own word for the kind of question: presence, location, ...; None for reports.
    labels
        Findings that are on the (first) film, in the source's vocabulary.
    regions
        Label and box in original pixels of the first film, one for each finding's place.
    regions_by_image
        The same for every image in order, where further images have findings marked, too; empty
        otherwise. See :meth:`regions_of`.
    structures
        Name and box in original pixels of anatomical structures of the first film.
    grounded_sentences
        Sentences of the report with the boxes that the source gives for each.
    findings, impression
        The report's sections where the source has them, whatever the task is.
    indication, technique, comparison
        What the report says of the request, the films and earlier studies.
    prior_report
        Text of the report on the film whose role is prior.
    image_hashes
        SHA-256 of each image file, where it was asked for.
    study
        The study that the first film is of, with the namespace in which the identifier is unique
        (``mimic-cxr:50414267``): what intervals resample by.
    sex, age
        Of the patient at that time: F, M or O, and years. None where the source does not say.
    device, site
        Maker and model of the equipment, and institution or place of collection, as the source
        says.
    source, licence
        Name of the data set and the terms of its use.
    """

    id: str
    images: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    task: Task
    mode: Mode
    answer: str
    steps: tuple[ReasoningTarget, ...]
    split: str
    subject: str
    view: str
    question: str | None = None
    question_type: str | None = None
    labels: tuple[str, ...] = ()
    regions: tuple[Region, ...] = field(default=())
    source: str = "ct-radiographs"
    licence: str = "MIT"
    roles: tuple[str, ...] = ()
    regions_by_image: tuple[tuple[Region, ...], ...] = ()
    structures: tuple[Region, ...] = ()
    grounded_sentences: tuple[ReasoningTarget, ...] = ()
    findings: str | None = None
    impression: str | None = None
    indication: str | None = None
    technique: str | None = None
    comparison: str | None = None
    prior_report: str | None = None
    image_hashes: tuple[str, ...] = ()
    study: str | None = None
    sex: str | None = None
    age: float | None = None
    device: str | None = None
    site: str | None = None

    @property
    def sections(self) -> dict[str, str]:
        """The report's sections that the source has, by name."""
        found = {"findings": self.findings, "impression": self.impression}
        return {name: text for name, text in found.items() if text}

    def regions_of(self, image: int) -> tuple[Region, ...]:
        """Findings marked on an image, by its index; none where the source marks none."""
        if self.regions_by_image:
            return self.regions_by_image[image]
        return self.regions if image == 0 else ()

    def content_hash(self) -> str:
        """SHA-256 of all fields in a canonical form, equal for equal examples everywhere.

        Fields that came later count where they are known: the hashes of older stores stand.
        """
        from training.data.store.features import LATER, to_row

        row = {k: v for k, v in to_row(self).items() if v is not None or k not in LATER}
        canonical = json.dumps(row, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
