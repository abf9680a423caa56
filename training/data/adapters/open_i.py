"""Open-I, the Indiana University collection: XML reports with films as PNG or DICOM."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from training.data.adapters.films import Film, find_film, in_order
from training.data.adapters.options import choice
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.adapters.report_sections import drop_gaps, tidy
from training.data.adapters.splits import split_by_subject
from training.data.adapters.tables import columns_of, look_for_file, read_table
from training.data.adapters.writing import Report, Study
from training.data.example import Example
from training.data.store.errors import DataError

_SECTIONS = {
    "FINDINGS": "findings",
    "IMPRESSION": "impression",
    "INDICATION": "indication",
    "COMPARISON": "comparison",
}
_PROJECTIONS = "indiana_projections.csv"
_BREAK = re.compile(r"<br\s*/?>", re.I)  # typed into the text of some reports
_NO_FINDINGS = ("normal", "no indexing", "technical quality of image unsatisfactory")
_NAME = re.compile(r"CXR(\d+)_(?:\1_)?(.+)")


@dataclass(frozen=True)
class OpenIReport:
    """What one XML file holds.

    Attributes
    ----------
    codes
        Manual (major) MeSH codes as they stand, lower case: ``pleural effusion/left/small``.
    labels
        Findings of the manual (major) MeSH codes, lower case, without qualifiers; none for
        ``normal`` and for films that were not coded.
    films
        Names of its films, ``CXR1_1_IM-0001-3001``.
    """

    number: str
    report: Report
    labels: tuple[str, ...]
    films: tuple[str, ...]
    codes: tuple[str, ...] = ()


def parse_open_i(path: Path) -> OpenIReport:
    """Read one report.

    Raises
    ------
    DataError
        When the file is no XML.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f"{path.name} is no XML: {error}.") from error
    sections = {}
    for element in root.iter("AbstractText"):
        name = _SECTIONS.get(element.get("Label", "").strip().upper())
        text = tidy(_BREAK.sub(" ", "".join(element.itertext())))
        if name and text:
            sections[name] = text
    told = (tidy("".join(code.itertext())).lower() for code in root.iter("major"))
    codes = tuple(filter(None, told))
    labels = dict.fromkeys(code.partition("/")[0] for code in codes)
    findings = tuple(label for label in labels if label not in _NO_FINDINGS)
    films = tuple(film.get("id", "") for film in root.iter("parentImage"))
    return OpenIReport(path.stem, Report(**sections), findings, tuple(filter(None, films)), codes)


class OpenI:
    """Findings and impression of every report whose films are there.

    There is no official split: it is drawn by report, of which a patient has one. View
    positions are not in the XML; without a table of them, and where no DICOM header tells it, a
    film is UNKNOWN and keeps the report's order, which is mostly the frontal first.

    Parameters
    ----------
    views
        CSV with the views: ``indiana_projections.csv`` (filename, projection), or
        ``nlmcxr_dicom_metadata.csv.gz`` (imageid, View Position).
    gaps
        ``drop`` leaves out sentences that de-identification left gaps in (``XXXX``).
    films
        ``none``: the reports alone, all of them for testing; their films are not looked for.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "open-i",
        "Open-I, Indiana University chest X-rays",
        "openi.nlm.nih.gov, free download",
        "CC BY-NC-ND 4.0",
        (
            "ecgen-radiology/1.xml (NLMCXR_reports.tgz)",
            "CXR1_1_IM-0001-3001.png (NLMCXR_png.tgz), or 1/1_IM-0001-3001.dcm (NLMCXR_dcm.tgz);",
            "any folder, given as --images",
            "indiana_projections.csv (optional)",
        ),
        {
            "views": "CSV of view positions: indiana_projections.csv or the DICOM metadata",
            "gaps": "drop: leave out sentences with XXXX (default keep)",
            "films": "none: the reports alone, to test on (default required)",
        },
    )

    def __init__(
        self,
        root: Path,
        *,
        images: Path | None = None,
        views: str = "",
        gaps: str = "keep",
        films: str = "required",
    ) -> None:
        folder = root / "ecgen-radiology"
        self._reports = folder if folder.is_dir() else root
        self.images = images or root
        self._gaps = choice("gaps", gaps, "keep", "drop")
        self._text_only = choice("films", films, "required", "none") == "none"
        table = Path(views) if views else look_for_file(root, _PROJECTIONS)
        self._views = _view_table(table) if table else {}

    def studies(self) -> list[str]:
        """Numbers of the reports, in order.

        Raises
        ------
        DataError
            When the folder has none.
        """
        numbers = [path.stem for path in self._reports.glob("*.xml")]
        if not numbers:
            raise DataError(f"{self._reports} has no reports (1.xml, 2.xml, ...).")
        return sorted(numbers, key=lambda number: (len(number), number))

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """Findings and impression."""
        try:
            told = parse_open_i(self._reports / f"{study}.xml")
        except DataError as error:
            raise ValueError(str(error)) from error  # counted, as other faults of one study are
        if self._text_only:
            yield from self._examples(study, told, (), "test", remark)
            return
        if not told.films:
            remark("report without films")
            return
        found = []
        for name in told.films:
            short = _short(name)  # the mirror on Kaggle: 1_IM-0001-3001.dcm.png
            path = next(
                (
                    path
                    for path in (
                        f"{name}.png",
                        f"{short}.dcm.png",
                        f"{short}.dcm",
                        f"{study}/{short}.dcm",  # as NLMCXR_dcm.tgz is unpacked
                    )
                    if (self.images / path).is_file()
                ),
                f"{name}.png",
            )
            found.append(find_film(self.images, path, self._views.get(short, ""), remark))
        films = in_order(filter(None, found), remark)
        if films:
            split = split_by_subject(f"open-i:{study}")
            yield from self._examples(study, told, films, split, remark)

    def _examples(
        self, study: str, told: OpenIReport, films: Sequence[Film], split: str, remark: Remark
    ) -> Iterator[Example]:
        report = drop_gaps(told.report) if self._gaps == "drop" else told.report
        # A patient has one report, a report one study: the number is that of all three.
        number = f"open-i:{study}"
        study_told = Study(self.card, study, number, split, films, number)
        yield from study_told.reports(report, remark, labels=told.labels)


def _view_table(path: Path) -> dict[str, str]:
    name, view = (
        ("filename", "projection")
        if "projection" in columns_of(path)
        else ("imageid", "View Position")
    )
    return {_short(row[name]): row[view] for row in read_table(path, (name, view))}


def _short(name: str) -> str:
    """Report and film alone, ``1_IM-0001-3001``, of any of the names that a film goes by."""
    bare = name.removesuffix(".png").removesuffix(".dcm")
    return _NAME.sub(r"\1_\2", bare)
