"""Open-I: a report made up in the published layout, and the real ones where they are installed."""

from __future__ import annotations

import tarfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from published import write_dicom, write_film, write_table
from read_all import read_all

from training.data.adapters.open_i import parse_open_i
from training.data.adapters.protocol import MALFORMED
from training.data.preparation import Preparation, prepare
from training.data.store import DataError, read_examples

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
  <uId id="CXR{number}"/>
  <MedlineCitation><Article><Abstract>
    <AbstractText Label="COMPARISON">None.</AbstractText>
    <AbstractText Label="INDICATION">Cough</AbstractText>
    <AbstractText Label="FINDINGS">The heart is large.
      Comparison XXXX was not available.</AbstractText>
    <AbstractText Label="IMPRESSION">{impression}</AbstractText>
  </Abstract></Article></MedlineCitation>
  <MeSH><major>Cardiomegaly/mild</major><major>Catheters, Indwelling/right</major>
    <automatic>heart</automatic></MeSH>
  <parentImage id="CXR{number}_IM-0001-3001"><caption>Xray Chest</caption></parentImage>
  <parentImage id="CXR{number}_IM-0001-4001"><caption>Xray Chest</caption></parentImage>
</eCitation>
"""
REAL = 400
"""Real reports that films are made up for."""


@pytest.fixture
def open_i(tmp_path: Path) -> Path:
    (tmp_path / "ecgen-radiology").mkdir()
    for number in (1, 2, 10):
        text = REPORT.format(number=number, impression="Cardiomegaly." if number < 10 else "")
        (tmp_path / "ecgen-radiology" / f"{number}.xml").write_text(text)
        for film in (3001, 4001):
            write_film(tmp_path / f"CXR{number}_IM-0001-{film}.png", 30, 40)
    return tmp_path


def test_sections_and_codes_are_read_from_the_xml(open_i: Path) -> None:
    examples, remarks = read_all("open-i", open_i)
    assert [e.id for e in examples[:3]] == [
        "open-i/1/findings",
        "open-i/1/impression",
        "open-i/2/findings",
    ]
    assert len(examples) == 5  # the last has no impression
    first = examples[0]
    assert first.answer == "The heart is large. Comparison XXXX was not available."
    assert first.indication == "Cough"
    assert first.labels == ("cardiomegaly", "catheters, indwelling")
    assert first.licence == "CC BY-NC-ND 4.0"
    assert not remarks


@pytest.mark.parametrize(
    "name",
    ["{}_IM-0001-3001.dcm.png", "{}_IM-0001-3001.dcm", "{0}/{0}_IM-0001-3001.dcm"],
)
def test_films_may_be_named_as_the_mirrors_and_the_dicom_archive_name_them(
    open_i: Path, name: str
) -> None:
    for film in open_i.glob("*.png"):
        film.unlink()
    for number in (1, 2, 10):
        write_film(open_i / name.format(number), 30, 40)
    examples, remarks = read_all("open-i", open_i)
    assert examples[0].images == (name.format(1),)
    assert remarks == {"image missing": 3}


def test_sentences_with_gaps_can_be_dropped(open_i: Path) -> None:
    examples, _ = read_all("open-i", open_i, gaps="drop")
    assert examples[0].answer == "The heart is large."


def test_views_come_from_the_table_of_projections(open_i: Path) -> None:
    write_table(
        open_i / "indiana_projections.csv",
        [
            {"uid": 1, "filename": "1_IM-0001-3001.dcm.png", "projection": "Lateral"},
            {"uid": 1, "filename": "1_IM-0001-4001.dcm.png", "projection": "Frontal"},
        ],
    )
    examples, _ = read_all("open-i", open_i)
    assert examples[0].images == ("CXR1_IM-0001-4001.png", "CXR1_IM-0001-3001.png")
    assert examples[0].roles == ("current", "lateral")
    assert examples[0].view == "FRONTAL"
    assert examples[2].view == "UNKNOWN"


def test_broken_xml_is_counted_and_leaves_the_other_reports(open_i: Path) -> None:
    (open_i / "ecgen-radiology" / "2.xml").write_text("<eCitation>")
    told = prepare(Preparation("open-i", open_i), open_i / "store")
    assert told.remarks == {MALFORMED: 1}
    kept = {example.study for example in read_examples(open_i / "store")}
    assert kept == {"open-i:1", "open-i:10"}


def test_where_every_xml_is_broken_the_first_is_named(open_i: Path) -> None:
    for path in open_i.glob("ecgen-radiology/*.xml"):
        path.write_text("<eCitation>")
    with pytest.raises(DataError, match=r"1\.xml is no XML"):
        prepare(Preparation("open-i", open_i), open_i / "store")


def test_a_dicom_films_header_tells_the_view_that_no_table_does(open_i: Path) -> None:
    for film in open_i.glob("*.png"):
        film.unlink()
    for film, view in ((3001, "LL"), (4001, "PA")):
        write_dicom(open_i / f"1_IM-0001-{film}.dcm", np.zeros((40, 30), np.uint8), view)
    (first, _), _ = read_all("open-i", open_i)
    assert first.view == "PA"
    assert first.images == ("1_IM-0001-4001.dcm", "1_IM-0001-3001.dcm")
    assert first.roles == ("current", "lateral")


@pytest.fixture(scope="module")
def real_reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the real reports, as the installed package carries them."""
    package = find_spec("torchxrayvision")
    if package is None or not package.submodule_search_locations:
        pytest.skip("torchxrayvision is not installed")
    packed = Path(package.submodule_search_locations[0]) / "data" / "NLMCXR_reports.tgz"
    root = tmp_path_factory.mktemp("open-i")
    with tarfile.open(packed) as archive:
        wanted = [m for m in archive.getmembers() if m.name.endswith(".xml")]
        wanted.sort(key=lambda member: member.name)
        archive.extractall(root, wanted[:REAL], filter="data")
    return root


def test_real_reports_are_read_whole(real_reports: Path) -> None:
    reports = [parse_open_i(path) for path in real_reports.glob("ecgen-radiology/*.xml")]
    assert len(reports) == REAL
    counts = Counter(
        name for told in reports for name, text in told.report.fields().items() if text
    )
    # Of all 3,955 reports 99% have an impression and 87% findings.
    assert counts["impression"] > 0.97 * REAL
    assert counts["findings"] > 0.82 * REAL
    texts = [told.report.text() for told in reports]
    assert not any("<br>" in text.lower() or "  " in text for text in texts)
    normal = [told for told in reports if not told.labels]
    assert 0.25 * REAL < len(normal) < 0.5 * REAL


def test_real_reports_make_a_store(real_reports: Path, tmp_path: Path) -> None:
    reports = {path: parse_open_i(path) for path in real_reports.glob("ecgen-radiology/*.xml")}
    films = [name for told in reports.values() for name in told.films]
    first, *others = (tmp_path / f"{name}.png" for name in films)
    write_film(first, 8, 8)
    for film in others:
        film.hardlink_to(first)
    told = prepare(Preparation("open-i", real_reports, images=tmp_path), tmp_path / "store")
    expected = sum(
        len(list(filter(None, (r.report.findings, r.report.impression))))
        for r in reports.values()
        if r.films
    )
    assert sum(told.splits.values()) == expected
    assert set(told.splits) == {"train", "validate", "test"}
    assert told.remarks["report without films"] == sum(not r.films for r in reports.values())
    assert len(list(read_examples(tmp_path / "store", "test"))) == told.splits["test"]
