"""Questions on films of MIMIC-CXR: MIMIC-Ext-MIMIC-CXR-VQA and Medical-CXR-VQA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from published import (
    MIMIC_STUDIES,
    mimic_folder,
    write_film,
    write_json,
    write_mimic_jpg,
    write_table,
)
from read_all import read_all

from training.data.preparation import MALFORMED, Preparation, prepare
from training.data.store import DataError


@pytest.fixture(scope="module")
def mimic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mimic-cxr-jpg")
    write_mimic_jpg(root)
    return root


def ext_question(number: int, study: int, answer: list[str], split: str) -> dict[str, Any]:
    subject, study_id, _, _, films, _ = MIMIC_STUDIES[study]
    dicom = films[0][0]
    return {
        "split": split,
        "idx": number,
        "subject_id": subject,
        "study_id": study_id,
        "image_id": dicom,
        "image_path": f"p{subject[:2]}/p{subject}/s{study_id}/{dicom}.jpg",
        "question": "Are there any abnormalities in the heart?",
        "content_type": "abnormality",
        "semantic_type": "query",
        "template": "Are there any abnormalities in the ${object}?",
        "template_arguments": {"object": {"0": "heart"}},
        "answer": answer,
    }


def test_sets_of_answers_are_written_as_the_published_reward_reads_them(
    tmp_path: Path, mimic: Path
) -> None:
    folder = tmp_path / "MIMIC-Ext-MIMIC-CXR-VQA" / "dataset"
    write_json(
        folder / "train.json",
        [
            ext_question(0, 0, ["cardiomegaly", "lung opacity"], "train"),
            ext_question(1, 0, [], "train"),
        ],
    )
    write_json(folder / "test.json", [ext_question(0, 3, ["yes"], "test")])
    examples, remarks = read_all("mimic-ext-mimic-cxr-vqa", tmp_path, mimic, mimic=str(mimic))
    assert [e.answer for e in examples] == ["cardiomegaly | lung opacity", "None", "yes"]
    assert [e.question_type for e in examples] == ["abnormality"] * 3
    assert [e.split for e in examples] == ["train", "train", "test"]
    assert [e.view for e in examples] == ["PA", "PA", "AP"]
    assert examples[0].images == ("files/p10/p10000001/s50000001/a1.jpg",)
    assert examples[0].subject == "mimic-cxr:10000001"
    assert [e.study for e in examples] == [f"mimic-cxr:{n}" for n in (50000001, 50000001, 50000004)]
    assert not remarks


def test_an_answer_may_stand_alone_and_null_is_none(tmp_path: Path, mimic: Path) -> None:
    asked = [ext_question(n, 0, ["no"], "train") for n in range(5)]
    asked[0]["answer"], asked[1]["answer"] = "yes", None
    del asked[2]["answer"]
    incomplete = {key: value for key, value in asked[3].items() if key != "subject_id"}
    write_json(tmp_path / "train.json", [*asked[:4]])
    examples, remarks = read_all("mimic-ext-mimic-cxr-vqa", tmp_path, mimic)
    assert [e.answer for e in examples] == ["yes", "no"]
    assert [e.view for e in examples] == ["PA", "PA"]  # of the table beside the images
    assert remarks == {"question without an answer": 2}
    write_json(tmp_path / "train.json", [asked[4], incomplete])
    wanted = Preparation("mimic-ext-mimic-cxr-vqa", tmp_path, images=mimic)
    told = prepare(wanted, tmp_path / "store")
    assert told.splits == {"train": 1}
    assert told.remarks == {MALFORMED: 1}


def test_medical_cxr_vqa_takes_splits_and_films_from_mimic(tmp_path: Path, mimic: Path) -> None:
    write_table(
        tmp_path / "medical_cxr_vqa_questions.csv",
        [
            {
                "study_id": study,
                "question": "what is the type of the opacity?",
                "answer": answer,
                "question_type": "type",
            }
            for study, answer in (("50000001", "patchy"), ("50000004", ""), ("59999999", "x"))
        ],
    )
    examples, remarks = read_all("medical-cxr-vqa", tmp_path, mimic)
    assert [(e.answer, e.split, e.question_type) for e in examples] == [("patchy", "train", "type")]
    assert examples[0].roles == ("current", "lateral")
    assert examples[0].study == "mimic-cxr:50000001"
    assert remarks == {
        "question without an answer": 1,
        "study that MIMIC-CXR-JPG does not list": 1,
    }


def test_medical_cxr_vqa_shows_the_film_that_is_named_and_lists_findings(
    tmp_path: Path, mimic: Path
) -> None:
    asked = {
        "study_id": "50000001",
        "question": "what abnormalities are seen?",
        "answer": "edema, effusion",
        "question_type": "abnormality",
        "split": "val",
    }
    write_table(
        tmp_path / "medical-cxr-vqa-questions.csv",
        [{**asked, "dicom_id": film} for film in ("a1", "gone")],
    )
    (example,), remarks = read_all("medical-cxr-vqa", tmp_path, mimic)
    assert example.answer == "edema | effusion"
    assert example.split == "validate"
    assert example.images == ("files/p10/p10000001/s50000001/a1.jpg",)
    assert remarks == {"question whose film is not there": 1}


def test_medical_cxr_vqa_reads_other_columns_when_told(tmp_path: Path, mimic: Path) -> None:
    write_table(
        tmp_path / "medical_cxr_vqa_questions.csv",
        [{"StudyID": "s50000003", "Q": "is it AP?", "A": "no", "Kind": "view", "Part": "val"}],
    )
    with pytest.raises(DataError, match=r"no column study_id.*it has StudyID"):
        read_all("medical-cxr-vqa", tmp_path, mimic)
    columns = "study=StudyID,question=Q,answer=A,kind=Kind,split=Part"
    (example,), _ = read_all("medical-cxr-vqa", tmp_path, mimic, columns=columns)
    assert (example.answer, example.split) == ("no", "validate")
    with pytest.raises(DataError, match="not NAME=COLUMN"):
        read_all("medical-cxr-vqa", tmp_path, mimic, columns="patient=x")


def test_a_question_of_another_form_leaves_the_others_on_its_film(
    tmp_path: Path, mimic: Path
) -> None:
    asked = [ext_question(n, 0, ["no"], "train") for n in range(4)]
    del asked[0]["image_path"], asked[2]["content_type"]
    write_json(tmp_path / "train.json", asked)
    examples, remarks = read_all("mimic-ext-mimic-cxr-vqa", tmp_path, mimic)
    assert [e.id.rpartition("-")[2] for e in examples] == ["1", "3"]
    assert remarks == {MALFORMED: 2}


def test_a_film_whose_questions_are_all_of_another_form_is_counted_by_question(
    tmp_path: Path, mimic: Path
) -> None:
    asked = [ext_question(n, n // 3, ["no"], "train") for n in range(4)]
    for question in asked[:3]:
        del question["content_type"]
    write_json(tmp_path / "train.json", asked)
    wanted = Preparation("mimic-ext-mimic-cxr-vqa", tmp_path, images=mimic)
    told = prepare(wanted, tmp_path / "store")
    assert (told.splits, told.remarks) == ({"train": 1}, {MALFORMED: 3})
    del asked[3]["content_type"]
    write_json(tmp_path / "train.json", asked)
    with pytest.raises(DataError, match="no field 'content_type'"):
        prepare(wanted, tmp_path / "other")


def test_medical_cxr_vqa_finds_the_fifth_film_of_a_study_where_a_question_names_it(
    tmp_path: Path,
) -> None:
    films = [f"d{n}" for n in range(6)]
    told = {"subject_id": "10000001", "study_id": "50000001"}
    taken = {"ViewPosition": "PA", "StudyDate": "21800101", "StudyTime": "1"}
    jpg = tmp_path / "jpg"
    write_table(
        jpg / "mimic-cxr-2.0.0-metadata.csv", [{**told, **taken, "dicom_id": f} for f in films]
    )
    write_table(
        jpg / "mimic-cxr-2.0.0-split.csv",
        [{**told, "dicom_id": f, "split": "train"} for f in films],
    )
    for film in films[:5]:
        write_film(jpg / mimic_folder("10000001", "50000001") / f"{film}.jpg", 20, 30)
    asked = {"study_id": "50000001", "question": "?", "answer": "no", "question_type": "presence"}
    table = tmp_path / "medical-cxr-vqa-questions.csv"
    write_table(table, [{**asked, "dicom_id": film} for film in films])
    examples, remarks = read_all("medical-cxr-vqa", tmp_path, jpg)
    assert [Path(path).stem for e in examples for path in e.images] == films[:5]
    assert remarks == {"image missing": 1, "question whose film is not there": 1}
