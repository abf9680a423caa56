"""MIMIC-CXR and MIMIC-CXR-JPG, in their published layouts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from published import write_mimic_dicom, write_mimic_jpg
from read_all import read_all

from service.reading import Mode, Task
from training.data.adapters import open_adapter
from training.data.adapters.films import OTHER_FORMAT
from training.data.adapters.mimic_cxr_jpg import DISPLACED, NO_FRONTAL
from training.data.adapters.writing import NO_SECTIONS, ONLY_GAPS
from training.data.store import DataError


@pytest.fixture(scope="module")
def mimic_jpg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mimic-cxr-jpg")
    write_mimic_jpg(root)
    return root


def test_every_report_gives_findings_and_impression(mimic_jpg: Path) -> None:
    examples, remarks = read_all("mimic-cxr-jpg", mimic_jpg)
    assert len(examples) == 8
    assert not remarks
    first = examples[0]
    assert first.task is Task.FINDINGS
    assert first.mode is Mode.ANSWER
    assert first.answer == "The heart is normal. There is no pleural effusion or pneumothorax."
    assert first.sections == {
        "findings": first.answer,
        "impression": "No acute disease. Seen at ___.",
    }
    assert first.indication == "___F with cough // ?pneumonia"
    assert first.technique == "Chest PA and lateral"
    assert first.subject == "mimic-cxr:10000001"
    assert first.study == "mimic-cxr:50000001"
    assert (first.sex, first.age) == (None, None)  # which only MIMIC-IV's tables tell
    assert Counter(e.split for e in examples) == {"train": 4, "validate": 2, "test": 2}


def test_the_frontal_film_comes_first_with_the_size_of_the_file(mimic_jpg: Path) -> None:
    examples, _ = read_all("mimic-cxr-jpg", mimic_jpg)
    second = next(e for e in examples if "/50000002/" in e.id)
    assert [Path(path).stem for path in second.images] == ["a3", "a4"]
    assert second.roles == ("current", "lateral")
    assert second.view == "AP"
    assert second.sizes == ((60, 80), (60, 80))  # not the table's: the file may be a smaller copy
    assert second.labels == ("Cardiomegaly",)


def test_the_prior_is_the_last_study_before_with_its_report(mimic_jpg: Path) -> None:
    examples, _ = read_all("mimic-cxr-jpg", mimic_jpg, prior="yes")
    with_prior = [e for e in examples if "prior" in e.roles]
    assert {e.id.split("/")[1] for e in with_prior} == {"50000002"}
    assert with_prior[0].roles == ("current", "lateral", "prior")
    assert Path(with_prior[0].images[2]).stem == "a1"
    assert "The heart is normal." in (with_prior[0].prior_report or "")


def test_a_lateral_film_is_no_prior(tmp_path: Path) -> None:
    write_mimic_jpg(tmp_path)
    next(tmp_path.rglob("a1.jpg")).unlink()
    examples, remarks = read_all("mimic-cxr-jpg", tmp_path, prior="yes")
    assert not any("prior" in e.roles or e.prior_report for e in examples)
    # The film is missing once, of the study itself; the later one says why it has no prior.
    assert remarks == {"image missing": 1, NO_FRONTAL: 1}


def test_a_film_that_the_prior_displaces_is_remarked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mimic_jpg(tmp_path)
    monkeypatch.setattr("training.data.adapters.mimic_cxr_jpg.MOST_IMAGES", 2)
    examples, remarks = read_all("mimic-cxr-jpg", tmp_path, prior="yes")
    (pair, _) = (e for e in examples if "/50000002/" in e.id)
    assert pair.roles == ("current", "prior")
    assert remarks == {DISPLACED: 1}


def test_a_byte_order_mark_hides_no_heading(tmp_path: Path) -> None:
    write_mimic_jpg(tmp_path)
    path = next(tmp_path.rglob("s50000003.txt"))
    path.write_text("\ufeffFINDINGS: Clear.\nIMPRESSION: Normal.")
    examples, _ = read_all("mimic-cxr-jpg", tmp_path)
    told = [e.answer for e in examples if "/50000003/" in e.id]
    assert told == ["Clear.", "Normal."]


def test_sentences_with_gaps_can_be_dropped(mimic_jpg: Path) -> None:
    examples, _ = read_all("mimic-cxr-jpg", mimic_jpg, gaps="drop")
    assert examples[1].impression == "No acute disease."


def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    write_mimic_jpg(tmp_path)
    next(tmp_path.rglob("b1.jpg")).unlink()
    next(tmp_path.rglob("a3.jpg")).write_bytes(b"no image")
    next(tmp_path.rglob("s50000004.txt")).unlink()
    examples, remarks = read_all("mimic-cxr-jpg", tmp_path)
    assert len(examples) == 4
    assert remarks == {
        "image missing": 1,
        OTHER_FORMAT: 1,
        "report missing": 1,
        "report with neither findings nor impression": 1,
    }


def test_a_missing_table_or_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mimic-cxr-2\.0\.0-split\.csv"):
        open_adapter("mimic-cxr-jpg", tmp_path)
    (tmp_path / "mimic-cxr-2.0.0-split.csv").write_text("study,split\n1,train\n")
    with pytest.raises(DataError, match=r"no column study_id; it has study, split"):
        open_adapter("mimic-cxr-jpg", tmp_path)


def test_dicom_films_take_the_view_from_their_header(tmp_path: Path, mimic_jpg: Path) -> None:
    write_mimic_dicom(tmp_path)
    split = str(mimic_jpg / "mimic-cxr-2.0.0-split.csv.gz")
    examples, remarks = read_all("mimic-cxr", tmp_path, split=split)
    assert len(examples) == 8
    assert not remarks
    second = next(e for e in examples if "/50000002/" in e.id)
    assert second.view == "AP"
    assert second.roles == ("current", "lateral")
    assert second.study == "mimic-cxr:50000002"
    assert [e.split for e in examples][-1] == "test"


def test_without_a_split_table_patients_are_drawn(tmp_path: Path) -> None:
    write_mimic_dicom(tmp_path)
    examples, _ = read_all("mimic-cxr", tmp_path)
    splits = {e.subject: set() for e in examples}
    for example in examples:
        splits[example.subject].add(example.split)
    assert all(len(found) == 1 for found in splits.values())


def test_a_section_of_nothing_but_gaps_is_none(tmp_path: Path) -> None:
    write_mimic_jpg(tmp_path)
    for study, findings in (("50000001", "Clear."), ("50000002", "1. ___.")):
        report = next(tmp_path.rglob(f"s{study}.txt"))
        report.write_text(f" FINDINGS: {findings}\n\n IMPRESSION:  ___.\n")
    examples, remarks = read_all("mimic-cxr-jpg", tmp_path)
    assert [e.answer for e in examples if e.subject.endswith("0001")] == ["Clear."]
    assert examples[0].impression is None
    assert remarks == {ONLY_GAPS: 3, NO_SECTIONS: 1}


def test_a_report_in_latin_1_keeps_its_letters(tmp_path: Path) -> None:
    write_mimic_jpg(tmp_path)
    (report,) = tmp_path.rglob("s50000001.txt")
    text = report.read_text().replace("The heart is normal.", "Fever of 38\u00b0C.")
    report.write_bytes(text.encode("latin-1"))
    examples, _ = read_all("mimic-cxr-jpg", tmp_path)
    assert any("38\u00b0C" in example.answer for example in examples)
