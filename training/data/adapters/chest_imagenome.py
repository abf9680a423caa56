"""Chest ImaGenome: scene graphs of MIMIC-CXR's frontal films, anatomy as boxes.

Boxes are of anatomical regions, in pixels of the original film (``original_x1`` …; ``x1`` … are
in a 224-pixel copy; how large a film was is told by the two together). A finding is linked to the
region that the report's sentence speaks of, not drawn by itself.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, NamedTuple

from training.data.adapters.boxes import OTHER_SIZE, number, pixel_box
from training.data.adapters.films import find_film
from training.data.adapters.mimic_index import (
    ACCESS,
    LICENCE,
    SUFFIXES,
    image_path,
    read_report,
    study_name,
    subject_name,
)
from training.data.adapters.options import choice
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.report_sections import tidy
from training.data.adapters.splits import split_name
from training.data.adapters.tables import look_for_file, no_number, read_table
from training.data.adapters.writing import Study
from training.data.example import Box, Example, ReasoningTarget, Region
from training.data.store.errors import DataError

_ORIGINAL = ("original_x1", "original_y1", "original_x2", "original_y2")
_SMALL, _SMALL_SIZE = ("x1", "y1", "x2", "y2"), 224
_SAME_SIZE = 0.25
"""Share of a film's longer side that boxes in whole pixels of a small copy tell it to within."""
_KINDS = ("anatomicalfinding", "disease", "device", "tubesandlines")
_GRAPH = "_SceneGraph.json"


class _Listed(NamedTuple):
    """A row of the split tables."""

    subject: str
    study: str
    view: str
    split: str


class ChestImaGenome:
    """For each finding on a film, where it is; with reports, the findings section, too.

    Every example carries the film's anatomy (``structures``), the regions of each finding that
    is present, and the report's sentences with the regions they speak of. The release's list of
    films to avoid (those of its gold standard) is left out.

    Parameters
    ----------
    reports
        Folder of MIMIC-CXR's reports (``files/p10/…``): adds findings and impression.
    gaps
        ``drop`` leaves out sentences that de-identification left gaps in.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "chest-imagenome",
        "Chest ImaGenome 1.0.0 (silver)",
        ACCESS,
        LICENCE,
        (
            "silver_dataset/scene_graph.zip (or its folder, unpacked)",
            "silver_dataset/splits/train.csv, valid.csv, test.csv, images_to_avoid.csv",
            "images of MIMIC-CXR-JPG (files/p10/…), given as --images",
        ),
        {
            "reports": "folder with MIMIC-CXR's reports: adds findings and impression",
            "gaps": "drop: leave out sentences with ___ (default keep)",
        },
    )

    def __init__(
        self, root: Path, *, images: Path | None = None, reports: str = "", gaps: str = "keep"
    ) -> None:
        self.images = images or root
        self._reports = Path(reports) if reports else None
        self._gaps = choice("gaps", gaps, "keep", "drop")
        silver = root / "silver_dataset" if (root / "silver_dataset").is_dir() else root
        self._graphs = _Graphs(silver)
        splits = silver / "splits" if (silver / "splits").is_dir() else root / "splits"
        avoided = look_for_file(splits, "images_to_avoid.csv")
        avoid = (
            {row["dicom_id"] for row in read_table(avoided, ("dicom_id",))} if avoided else set()
        )
        self._listed: dict[str, _Listed] = {}
        for name in ("train", "valid", "test"):
            path = look_for_file(splits, f"{name}.csv")
            if path is None:
                raise DataError(f"{splits} has no {name}.csv.")
            columns = ("subject_id", "study_id", "ViewPosition", "dicom_id")
            for row in read_table(path, columns):
                if row["dicom_id"] not in avoid:
                    self._listed[row["dicom_id"]] = _Listed(
                        subject=row["subject_id"],
                        study=row["study_id"],
                        view=row["ViewPosition"],
                        split=split_name(name) or name,
                    )

    def studies(self) -> list[str]:
        """Films in order."""
        return sorted(self._listed)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """Where each finding is; report sections where there are reports."""
        listed = self._listed[study]
        graph = self._graphs.read(study)
        if graph is None:
            remark("film without a scene graph")
            return
        path = image_path(listed.subject, listed.study, study)
        film = find_film(self.images, path, listed.view, remark, suffixes=SUFFIXES)
        if film is None:
            return
        if _is_of_other_size(graph, film.size):
            remark(OTHER_SIZE)
            return
        anatomy = _anatomy(graph, film.size, remark)
        places, sentences = _findings(graph, anatomy)
        shared: dict[str, Any] = {
            "structures": tuple(anatomy.items()),
            "labels": tuple(sorted(places)),
            "grounded_sentences": sentences,
            "indication": tidy(str(graph.get("reason_for_exam") or "")) or None,
        }
        subject, name = subject_name(listed.subject), study_name(listed.study)
        told = Study(self.card, study, subject, listed.split, (film,), name)
        for finding, names in sorted(places.items()):
            yield told.question(
                f"location-{finding.replace(' ', '-').replace('/', '-')}",
                f"Where is the {finding}?",
                names,
                "location",
                regions=_regions({finding: names}, anatomy),
                steps=[ReasoningTarget(f"{finding} in the {n}", ((0, anatomy[n]),)) for n in names],
                **shared,
            )
        if self._reports:
            report = read_report(self._reports, listed.subject, listed.study, self._gaps, remark)
            shared["indication"] = report.indication or shared["indication"]
            regions = _regions(places, anatomy)
            yield from told.reports(report, remark, **shared, regions=regions)


class _Graphs:
    def __init__(self, silver: Path) -> None:
        folders = (silver / "scene_graph" / "scene_graph", silver / "scene_graph", silver)
        self._folder = next((f for f in folders if next(f.glob(f"*{_GRAPH}"), None)), None)
        self._archive = None
        self._members: dict[str, str] = {}
        packed = silver / "scene_graph.zip"
        if self._folder is None and packed.is_file():
            try:
                self._archive = zipfile.ZipFile(packed)
            except zipfile.BadZipFile as error:
                raise DataError(f"{packed.name} cannot be unpacked: {error}.") from error
            self._members = {Path(name).name: name for name in self._archive.namelist()}
        if self._folder is None and self._archive is None:
            raise DataError(f"{silver} has neither scene_graph.zip nor its folder.")

    def read(self, dicom: str) -> dict[str, Any] | None:
        name = f"{dicom}{_GRAPH}"
        if self._archive is not None:
            member = self._members.get(name)
            try:
                return _graph_of(self._archive.read(member)) if member else None
            except (zipfile.BadZipFile, zlib.error) as error:
                raise ValueError(f"{name} is damaged: {error}") from error
        path = self._folder / name if self._folder else None
        return _graph_of(path.read_bytes()) if path and path.is_file() else None


def _graph_of(content: bytes) -> dict[str, Any]:
    graph: dict[str, Any] = json.loads(content, parse_constant=no_number)
    return graph


def _is_of_other_size(graph: Mapping[str, Any], size: tuple[int, int]) -> bool:
    """Whether the boxes were drawn on a film of another size than this copy.

    The small copies are padded to a square, so that their side is the film's longer one.
    """
    sides = []
    for found in graph["objects"]:
        original, small = (
            [number(found.get(side, 0)) for side in names] for names in (_ORIGINAL, _SMALL)
        )
        for low, high in ((0, 2), (1, 3)):
            length, shown = original[high] - original[low], small[high] - small[low]
            if length > 0 and shown > 0:
                sides.append(length / shown * _SMALL_SIZE)
    return bool(sides) and abs(median(sides) - max(size)) > _SAME_SIZE * max(size)


def _anatomy(graph: Mapping[str, Any], size: tuple[int, int], remark: Remark) -> dict[str, Box]:
    boxes = {}
    for found in graph["objects"]:
        box = pixel_box([number(found[side]) for side in _ORIGINAL], size, remark)
        if box:
            boxes[str(found["bbox_name"])] = box
    return boxes


def _findings(
    graph: Mapping[str, Any], anatomy: Mapping[str, Box]
) -> tuple[dict[str, list[str]], tuple[ReasoningTarget, ...]]:
    """Regions of every finding that is present, and sentences with the regions they speak of."""
    places: dict[str, list[str]] = defaultdict(list)
    sentences: dict[str, list[str]] = defaultdict(list)
    for attribute in graph["attributes"]:
        name = str(attribute["bbox_name"])
        if name not in anatomy:
            continue
        for phrase, said in zip(attribute["phrases"], attribute["attributes"], strict=False):
            if name not in sentences[tidy(phrase)]:
                sentences[tidy(phrase)].append(name)
            for word in said:
                kind, _, rest = str(word).partition("|")
                present, _, finding = rest.partition("|")
                if kind in _KINDS and present == "yes" and name not in places[finding]:
                    places[finding].append(name)
    grounded = tuple(
        ReasoningTarget(phrase, tuple((0, anatomy[name]) for name in names))
        for phrase, names in sentences.items()
        if phrase
    )
    return {finding: names for finding, names in places.items() if names}, grounded


def _regions(places: Mapping[str, list[str]], anatomy: Mapping[str, Box]) -> tuple[Region, ...]:
    return tuple((finding, anatomy[name]) for finding, names in places.items() for name in names)
