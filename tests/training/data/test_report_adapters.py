"""CheXpert Plus, ReXGradient and ReXVQA, in their published layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from published import write_film, write_json, write_table
from read_all import read_all

from training.data.adapters.rexgradient import NO_FILMS


def chexpert_row(patient: str, name: str, split: str, **changes: str) -> dict[str, str]:
    return {
        "path_to_image": f"{split}/{patient}/study1/{name}.jpg",
        "frontal_lateral": "Frontal" if "frontal" in name else "Lateral",
        "ap_pa": "AP" if "frontal" in name else "",
        "deid_patient_id": patient,
        "section_findings": "",
        "section_impression": "1. Cardiomegaly.\n 2. No effusion.",
        "age": "60",
        "sex": "Female",
        "split": split,
        **changes,
    }


def test_chexpert_plus_films_may_be_png_though_the_table_says_jpg(tmp_path: Path) -> None:
    rows = [
        chexpert_row("patient00001", "view2_lateral", "train"),
        chexpert_row("patient00001", "view1_frontal", "train"),
        chexpert_row(
            *("patient64541", "view1_frontal", "valid"),
            section_findings="Clear lungs.",
            sex="Unknown",
            age="",
        ),
    ]
    write_table(tmp_path / "df_chexpert_plus_240401.csv", rows)
    for row in rows:
        write_film((tmp_path / row["path_to_image"]).with_suffix(".png"), 20, 30)
    labels = {"path_to_image": rows[1]["path_to_image"], "Cardiomegaly": 1.0, "Edema": 0.0}
    (tmp_path / "chexbert_labels").mkdir()
    (tmp_path / "chexbert_labels" / "impression_fixed.json").write_text(json.dumps(labels) + "\n")
    examples, remarks = read_all("chexpert-plus", tmp_path)
    first = examples[0]
    assert first.answer == "1. Cardiomegaly. 2. No effusion."
    assert first.roles == ("current", "lateral")
    assert first.images[0] == "train/patient00001/study1/view1_frontal.png"
    assert first.view == "AP"
    assert first.labels == ("Cardiomegaly",)
    assert (first.study, first.sex, first.age) == ("chexpert:train/patient00001/study1", "F", 60)
    assert (examples[1].sex, examples[1].age) == (None, None)
    assert [str(e.task) for e in examples] == ["impression", "findings", "impression"]
    assert {e.split for e in examples[1:]} == {"test"}
    assert first.split in ("train", "validate")
    assert not remarks


def rex_record(**changes: Any) -> dict[str, Any]:
    return {
        "Findings": "The lungs are clear.",
        "Impression": "",
        "Indication": "Cough",
        "Comparison": None,
        "PatientSex": "M",
        "PatientAge": "065Y",
        "ImagePath": ["../deid_png/GRDN1/A1/one.png", "../deid_png/GRDN1/A1/two.png"],
        "ImageViewPosition": ["LATERAL", "POSTERO_ANTERIOR"],
        **changes,
    }


def test_rexgradient_paths_lead_to_the_unpacked_films(tmp_path: Path) -> None:
    metadata = tmp_path / "metadata"
    write_json(metadata / "train_metadata_view_position.json", {"pGRDN1_A1": rex_record()})
    write_json(
        metadata / "test_metadata_view_position.json",
        {"pGRDN2_A1": rex_record(Findings="", ImagePath=["../deid_png/GRDN1/A1/one.png"])},
    )
    for name in ("one", "two"):
        write_film(tmp_path / "deid_png" / "GRDN1" / "A1" / f"{name}.png", 20, 30)
    (example,), remarks = read_all("rexgradient", tmp_path)
    assert example.images == ("deid_png/GRDN1/A1/two.png", "deid_png/GRDN1/A1/one.png")
    assert example.roles == ("current", "lateral")
    assert example.view == "PA"
    assert example.subject == "rexgradient:GRDN1"
    assert (example.study, example.sex, example.age) == ("rexgradient:pGRDN1_A1", "M", 65)
    assert example.indication == "Cough"
    assert remarks == {"report with neither findings nor impression": 1}


def test_what_an_empty_cell_was_written_as_is_no_report(tmp_path: Path) -> None:
    nan = float("nan")
    records = {
        "p1_A1": rex_record(Findings=nan, Impression="Clear.", Comparison="None"),
        "p2_A1": rex_record(Findings="nan", Impression=nan, Indication=nan),
        "p3_A1": rex_record(Findings="None", Impression="null"),
    }
    write_json(tmp_path / "metadata" / "train_metadata_view_position.json", records)
    for name in ("one", "two"):
        write_film(tmp_path / "deid_png" / "GRDN1" / "A1" / f"{name}.png", 20, 30)
    (example,), remarks = read_all("rexgradient", tmp_path)
    assert (example.answer, example.findings) == ("Clear.", None)
    assert example.comparison == "None"
    assert remarks == {"report with neither findings nor impression": 2}


def test_rexvqa_answers_with_the_option(tmp_path: Path) -> None:
    question = {
        "study_id": "pGRDN1_A1",
        "question": "Which finding is present?",
        "options": ["A. Effusion", "B. Pneumothorax"],
        "correct_answer": "B",
        "explanation": "…",
        "task_name": "presence_assessment",
        "ImagePath": ["../deid_png/GRDN1/A1/one.png"],
    }
    other = {**question, "options": ["Left", "Right"], "correct_answer": "Left"}
    wrong = {**question, "correct_answer": "E"}
    del other["study_id"]
    records = {"q1": question, "q2": other, "q3": wrong}
    write_json(tmp_path / "metadata" / "valid_vqa_data.json", records)
    write_film(tmp_path / "deid_png" / "GRDN1" / "A1" / "one.png", 20, 30)
    (lettered, plain), remarks = read_all("rexvqa", tmp_path)
    assert lettered.question == "Which finding is present?\nA. Effusion\nB. Pneumothorax"
    assert lettered.answer == "B. Pneumothorax"
    assert plain.answer == "A. Left"
    assert lettered.question_type == "presence_assessment"
    assert lettered.split == "validate"
    assert lettered.subject == plain.subject == "rexgradient:GRDN1"
    assert (lettered.study, plain.study) == ("rexgradient:pGRDN1_A1", None)
    assert remarks == {"question without an answer": 1}


def test_a_record_that_names_no_image_is_remarked(tmp_path: Path) -> None:
    records = {
        "pGRDN1_A1": rex_record(ImagePath=[]),
        "pGRDN1_A2": rex_record(ImagePath=None),
        "pGRDN1_A3": rex_record(ImagePath=["../deid_png/one.png"]),
    }
    write_json(tmp_path / "metadata" / "train_metadata_view_position.json", records)
    asked = {"question": "?", "correct_answer": "Yes", "task_name": "x", "ImagePath": []}
    write_json(tmp_path / "metadata" / "train_vqa_data.json", {"q1": asked})
    write_film(tmp_path / "deid_png" / "one.png", 20, 30)
    examples, remarks = read_all("rexgradient", tmp_path)
    assert (len(examples), remarks) == (1, {NO_FILMS: 2})
    assert read_all("rexvqa", tmp_path) == ([], {NO_FILMS: 1})


def test_rexvqa_takes_the_patient_as_rexgradient_does(tmp_path: Path) -> None:
    question = {
        "study_id": "1.2.826.1",
        "PatientID": "GRDN1",
        "PatientSex": "F",
        "PatientAge": "050Y",
        "Indication": "cough",
        "question": "Which?",
        "options": ["A. Left", "B. Right"],
        "correct_answer": "B",
        "task_name": "location_assessment",
        "ImagePath": ["../deid_png/GRDN9/A1/one.png"],
    }
    keyed = {**question, "PatientID": None, "Indication": "nan"}
    write_json(tmp_path / "metadata" / "train_vqa_data.json", {"q1": question, "pGRDN2_A1": keyed})
    write_json(tmp_path / "metadata" / "test_vqa_data.json", {"q2": {**keyed, "study_id": "7"}})
    report = {"pGRDN1_A1": rex_record(PatientID="GRDN1", ImagePath=question["ImagePath"])}
    write_json(tmp_path / "metadata" / "train_metadata_view_position.json", report)
    write_film(tmp_path / "deid_png" / "GRDN9" / "A1" / "one.png", 20, 30)
    examples, _ = read_all("rexvqa", tmp_path)
    by_key, told, by_folder = sorted(examples, key=lambda e: e.id != "rexvqa/pGRDN2_A1/vqa")
    assert told.subject == read_all("rexgradient", tmp_path)[0][0].subject == "rexgradient:GRDN1"
    assert by_key.subject == "rexgradient:GRDN2"
    assert by_folder.subject == "rexgradient:GRDN9"
    assert (told.sex, told.age, told.indication) == ("F", 50, "cough")
    assert by_key.indication is None


def test_rexvqa_options_in_one_text_are_not_lettered(tmp_path: Path) -> None:
    question = {
        "question": "Which?",
        "options": "A. Left B. Right",
        "correct_answer": "B",
        "task_name": "location_assessment",
        "ImagePath": ["../deid_png/one.png"],
    }
    write_json(tmp_path / "metadata" / "train_vqa_data.json", {"q1": question})
    with pytest.raises(ValueError, match="options must be a list"):
        read_all("rexvqa", tmp_path)
