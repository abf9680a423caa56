"""Data sets with boxes: each has its own space, and all end in original pixels."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import write_dicom, write_film, write_json, write_table
from read_all import read_all

from service.reading import Mode
from training.data.adapters.boxes import OTHER_SIZE
from training.data.adapters.padchest_gr import BAD_BOX, NO_PATIENT
from training.data.adapters.protocol import MALFORMED
from training.data.adapters.readers import Marked, agreed_regions
from training.data.example import ReasoningTarget
from training.data.preparation import Preparation, prepare
from training.data.store import DataError

SIZE = (200, 100)
SUBJECT, STUDY = "10000001", "50000001"
FOLDER = f"files/p10/p{SUBJECT}/s{STUDY}"


def vindr_row(image: str, reader: str, label: str, *box: float | str) -> dict[str, Any]:
    corners = dict(zip(("x_min", "y_min", "x_max", "y_max"), box or ("",) * 4, strict=True))
    return {"image_id": image, "rad_id": reader, "class_name": label, **corners}


def write_vindr(root: Path) -> None:
    train = [
        vindr_row("aa", "R1", "Nodule/Mass", 10, 10, 30, 30),
        vindr_row("aa", "R2", "Nodule/Mass", 12, 10, 32, 30),
        vindr_row("aa", "R3", "Nodule/Mass", 100, 50, 130, 80),
        vindr_row("aa", "R1", "Cardiomegaly", 60, 40, 200.4, 90.4),
        vindr_row("aa", "R3", "Cardiomegaly", 62, 42, 90, 92),
        *(vindr_row("bb", reader, "No finding") for reader in ("R1", "R2", "R3")),
        vindr_row("cc", "R1", "Pneumothorax", 10, 10, 20, 20),
        vindr_row("dd", "R1", "Pneumothorax", 10, 10, 20, 20),
    ]
    test = [vindr_row("ee", "", "Pleural effusion", 5, 60, 50, 95)]
    for row in test:
        del row["rad_id"]
    write_table(root / "annotations" / "annotations_train.csv", train)
    write_table(root / "annotations" / "annotations_test.csv", test)
    for name in ("train/aa", "train/bb", "train/cc"):
        write_film(root / f"{name}.dicom", *SIZE)
    pixels = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    write_dicom(root / "test" / "ee.dicom", pixels, "AP", PatientSex="F", PatientAge="063Y")


def test_vindr_keeps_what_two_of_three_readers_drew(tmp_path: Path) -> None:
    write_vindr(tmp_path)
    examples, remarks = read_all("vindr-cxr", tmp_path)
    by_image = {Path(e.images[0]).stem: e for e in examples}
    sick, normal, effusion = by_image["aa"], by_image["bb"], by_image["ee"]
    assert sick.regions == (("Nodule/Mass", (11, 10, 31, 30)),)
    assert sick.answer == "Nodule/Mass"
    assert sick.mode is Mode.THINK
    assert normal.answer == "No finding"
    assert normal.regions == ()
    assert effusion.regions == (("Pleural effusion", (5, 60, 50, 95)),)
    assert effusion.split == "test"
    assert sick.split in ("train", "validate")
    assert (sick.study, sick.sex, sick.age) == (None, None, None)
    assert (effusion.sex, effusion.age, effusion.device) == ("F", 63, None)
    assert effusion.view == "AP"
    assert remarks == {
        "film whose readers agree on no box: left out": 1,
        "image missing": 1,
    }


@pytest.mark.parametrize("box", [(150, 10, 201.5, 30), (10, 90, 30, 180), (-2, 10, 30, 30)])
def test_a_vindr_film_that_a_box_does_not_lie_within_is_left_out(
    tmp_path: Path, box: tuple[float, ...]
) -> None:
    rows = [vindr_row("aa", reader, "Mass", 10, 10, 30, 30) for reader in ("R1", "R2")]
    rows.append(vindr_row("aa", "R3", "Mass", *box))
    write_table(tmp_path / "annotations_train.csv", rows)
    write_film(tmp_path / "train" / "aa.png", *SIZE)
    examples, remarks = read_all("vindr-cxr", tmp_path)
    assert examples == []
    assert remarks == {OTHER_SIZE: 1}


def test_a_film_whose_boxes_cannot_be_kept_is_never_called_normal(tmp_path: Path) -> None:
    rows = [vindr_row("aa", reader, "Mass", 50, 10, 50, 30) for reader in ("R1", "R2")]
    write_table(tmp_path / "annotations_train.csv", rows)
    write_film(tmp_path / "train" / "aa.dicom", *SIZE)
    examples, remarks = read_all("vindr-cxr", tmp_path)
    assert examples == []
    assert remarks["film whose readers agree on no box: left out"] == 1


def test_a_film_with_findings_named_without_boxes_is_never_called_normal(tmp_path: Path) -> None:
    rows = [vindr_row("aa", reader, "Cardiomegaly") for reader in ("R1", "R2")]
    write_table(tmp_path / "annotations_train.csv", rows)
    write_film(tmp_path / "train" / "aa.dicom", *SIZE)
    assert read_all("vindr-cxr", tmp_path)[0] == []


def test_a_finding_named_without_a_box_beside_others_is_remarked(tmp_path: Path) -> None:
    rows = [vindr_row("aa", reader, "Mass", 10, 10, 30, 30) for reader in ("R1", "R2")]
    rows += [vindr_row("aa", reader, "Cardiomegaly") for reader in ("R1", "R2")]
    rows.append(vindr_row("aa", "R3", "Mass"))
    write_table(tmp_path / "annotations_train.csv", rows)
    write_film(tmp_path / "train" / "aa.dicom", *SIZE)
    (example,), remarks = read_all("vindr-cxr", tmp_path)
    assert example.labels == ("Mass",)
    assert remarks == {"finding named without a box: left out": 1}


def test_a_row_that_was_cut_off_is_told_by_its_line(tmp_path: Path) -> None:
    write_table(tmp_path / "annotations_train.csv", [vindr_row("aa", "R1", "Mass", 1, 1, 9, 9)])
    with (tmp_path / "annotations_train.csv").open("a") as table:
        table.write("bb,R1,Mass")
    with pytest.raises(DataError, match=r"annotations_train.csv, line 3: fewer cells"):
        read_all("vindr-cxr", tmp_path)


def test_vindr_readers_can_be_any(tmp_path: Path) -> None:
    write_vindr(tmp_path)
    examples, _ = read_all("vindr-cxr", tmp_path, readers="any")
    sick = next(e for e in examples if e.images == ("train/aa.dicom",))
    assert sick.answer == "Cardiomegaly | Nodule/Mass"
    assert len(sick.regions) == 4
    with pytest.raises(DataError, match="majority or all"):
        read_all("vindr-cxr", tmp_path, readers="two")


def test_boxes_of_one_reader_do_not_agree_with_each_other() -> None:
    twice = [Marked("R1", "mass", (0, 0, 10, 10)), Marked("R1", "mass", (0, 0, 10, 10))]
    assert agreed_regions(twice, readers=2) == ()
    other = [*twice, Marked("R2", "nodule", (0, 0, 10, 10))]
    assert agreed_regions(other, readers=2) == ()
    both = [*twice, Marked("R2", "mass", (2, 0, 12, 10))]
    assert agreed_regions(both, readers=2) == (("mass", (1, 0, 11, 10)),)


def ms_row(text: str, category: str, box: tuple[int, ...], width: int = SIZE[0]) -> dict[str, Any]:
    return {
        "dicom_id": "d1",
        "category_name": category,
        "label_text": text,
        "path": f"{FOLDER}/d1.jpg",
        **dict(zip("xywh", box, strict=True)),
        "image_width": width,
        "image_height": SIZE[1],
        "split": "val",
    }


def test_ms_cxr_boxes_are_corner_and_extent(tmp_path: Path) -> None:
    rows = [
        ms_row("small left effusion", "Pleural Effusion", (120, 60, 60, 30)),
        ms_row("bibasal opacities", "Lung Opacity", (10, 50, 40, 40)),
        ms_row("bibasal opacities", "Lung Opacity", (140, 50, 40, 40)),
    ]
    write_table(tmp_path / "MS_CXR_Local_Alignment_v1.1.0.csv", rows)
    write_film(tmp_path / FOLDER / "d1.jpg", *SIZE)
    (opacity, effusion), remarks = read_all("ms-cxr", tmp_path)
    assert effusion.question == "Describe the pleural effusion."
    assert effusion.question_type == "description"
    assert effusion.answer == "small left effusion"
    assert effusion.regions == (("Pleural Effusion", (120, 60, 180, 90)),)
    assert opacity.steps == (
        ReasoningTarget("bibasal opacities", ((0, (10, 50, 50, 90)), (0, (140, 50, 180, 90)))),
    )
    assert opacity.split == "validate"
    assert opacity.subject == f"mimic-cxr:{SUBJECT}"
    assert opacity.study == f"mimic-cxr:{STUDY}"
    assert opacity.view == "UNKNOWN"
    assert not remarks


def test_views_of_ms_cxr_are_those_of_mimic_cxr_jpgs_table(tmp_path: Path) -> None:
    row = ms_row("heart is enlarged", "Cardiomegaly", (60, 30, 90, 60))
    write_table(tmp_path / "ms" / "MS_CXR_Local_Alignment_v1.1.0.csv", [row])
    write_film(tmp_path / "jpg" / FOLDER / "d1.jpg", *SIZE)
    table = "mimic-cxr-2.0.0-metadata.csv.gz"
    views = [{"dicom_id": "d0", "ViewPosition": "PA"}, {"dicom_id": "d1", "ViewPosition": "AP"}]
    write_table(tmp_path / "jpg" / table, views)
    (example,), _ = read_all("ms-cxr", tmp_path / "ms", tmp_path / "jpg")
    assert example.view == "AP"
    (tmp_path / "tables").mkdir()
    (tmp_path / "jpg" / table).rename(tmp_path / "tables" / table)
    elsewhere = {"mimic": str(tmp_path / "tables")}
    (example,), _ = read_all("ms-cxr", tmp_path / "ms", tmp_path / "jpg", **elsewhere)
    assert example.view == "AP"
    with pytest.raises(DataError, match=r"metadata\.csv"):
        read_all("ms-cxr", tmp_path / "ms", tmp_path / "jpg", mimic=str(tmp_path / "ms"))


def test_an_ms_cxr_row_that_cannot_be_read_takes_its_category_alone(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        ms_row("small left effusion", "Pleural Effusion", (120, 60, 60, 30)),
        ms_row("left basal opacity", "Lung Opacity", (10, 50, 40, 40)),
        ms_row("right basal opacity", "Lung Opacity", (140, 50, 40, 40)),
    ]
    rows[2]["x"] = ""
    write_table(tmp_path / "MS_CXR_Local_Alignment_v1.1.0.csv", rows)
    write_film(tmp_path / FOLDER / "d1.jpg", *SIZE)
    (example,), remarks = read_all("ms-cxr", tmp_path)
    assert example.answer == "small left effusion"
    assert example.labels == ("Lung Opacity", "Pleural Effusion")
    assert remarks == {MALFORMED: 1}


def test_a_film_of_another_size_than_its_boxes_is_left_out(tmp_path: Path) -> None:
    row = ms_row("small left effusion", "Pleural Effusion", (1200, 60, 60, 30), width=2000)
    write_table(tmp_path / "MS_CXR_Local_Alignment_v1.1.0.csv", [row])
    write_film(tmp_path / FOLDER / "d1.jpg", *SIZE)
    examples, remarks = read_all("ms-cxr", tmp_path)
    assert examples == []
    assert remarks == {"film of another size than its boxes were drawn on: left out": 1}


def write_padchest(root: Path) -> None:
    finding = {
        "sentence_en": "Left pleural effusion.",
        "sentence_es": "Derrame pleural izquierdo.",
        "abnormal": True,
        "boxes": [[0.5, 0.6, 0.95, 0.9]],
        "extra_boxes": [[0.5, 0.5, 1.0004, 0.9]],
        "labels": ["pleural effusion"],
        "locations": ["left"],
        "progression": None,
    }
    normal = {"sentence_en": "Normal heart.", "sentence_es": "Corazón normal.", "abnormal": False}
    studies = [
        {"StudyID": "s1", "ImageID": "s1_i1.png", "findings": [finding, normal]},
        {"StudyID": "s2", "ImageID": "s2_i1.png", "findings": [normal]},
    ]
    write_json(root / "grounded_reports_20240819.json", studies)
    first = {"ImageID": "s1_i1.png", "split": "test", "PatientID": "p1"}
    first |= {"StudyID": "s1", "PatientSex_DICOM": "F", "PatientAge": "71.0"}
    second = {"ImageID": "s2_i1.png", "split": "validation", "PatientID": "p2"}
    second |= {"StudyID": "s2", "PatientSex_DICOM": "None", "PatientAge": "200"}
    table = [
        {**first, "label": "pleural effusion"},
        {**first, "label": "Normal"},
        {**second, "label": "Normal"},
    ]
    write_table(root / "master_table.csv", table)
    for name in ("s1_i1", "s2_i1"):
        write_film(root / "Padchest_GR_files" / "PadChest_GR" / f"{name}.png", *SIZE)


def test_padchest_boxes_are_fractions_of_the_film(tmp_path: Path) -> None:
    write_padchest(tmp_path)
    (sick, normal), remarks = read_all("padchest-gr", tmp_path)
    assert sick.answer == "Left pleural effusion. Normal heart."
    assert sick.regions == (("pleural effusion", (100, 60, 190, 90)),)
    assert sick.steps[0] == ReasoningTarget("Left pleural effusion.", ((0, (100, 60, 190, 90)),))
    assert sick.steps[1] == ReasoningTarget("Normal heart.")
    assert (sick.split, normal.split) == ("test", "validate")
    assert (sick.subject, sick.study, sick.sex, sick.age) == ("padchest:p1", "padchest:s1", "F", 71)
    assert (normal.sex, normal.age) == (None, None)  # PadChest's words for not known
    assert normal.regions == ()
    assert not remarks


def test_padchest_speaks_spanish_and_has_a_second_reader(tmp_path: Path) -> None:
    write_padchest(tmp_path)
    examples, _ = read_all("padchest-gr", tmp_path, language="es", reader="second")
    assert examples[0].answer == "Derrame pleural izquierdo. Corazón normal."
    assert examples[0].regions == (("pleural effusion", (100, 50, 200, 90)),)


def test_padchest_cells_without_a_text_or_a_number_are_empty(tmp_path: Path) -> None:
    write_padchest(tmp_path)
    path = tmp_path / "grounded_reports_20240819.json"
    studies = json.loads(path.read_text())
    studies[0]["findings"][0]["boxes"].append([0.1, float("nan"), 0.2, 0.3])
    studies[1]["findings"].append({"sentence_en": float("nan"), "abnormal": False})
    write_json(path, studies)
    (sick, normal), remarks = read_all("padchest-gr", tmp_path)
    assert sick.regions == (("pleural effusion", (100, 60, 190, 90)),)
    assert normal.answer == "Normal heart."
    assert remarks == {"box without area: left out": 1}


def test_a_padchest_box_that_is_none_leaves_the_report(tmp_path: Path) -> None:
    write_padchest(tmp_path)
    path = tmp_path / "grounded_reports_20240819.json"
    studies = json.loads(path.read_text())
    studies[0]["findings"][0]["boxes"] += [[0.1, 0.2, 0.3], [0.1, "left", 0.2, 0.3], 7]
    write_json(path, studies)
    (sick, _), remarks = read_all("padchest-gr", tmp_path)
    assert sick.regions == (("pleural effusion", (100, 60, 190, 90)),)
    assert remarks == {BAD_BOX: 3}


def test_padchest_studies_whose_patient_is_not_told_are_remarked(tmp_path: Path) -> None:
    write_padchest(tmp_path)
    table = (tmp_path / "master_table.csv").read_text()
    (tmp_path / "master_table.csv").write_text(table.replace(",p2,", ",,"))
    _, remarks = read_all("padchest-gr", tmp_path)
    assert remarks == {NO_PATIENT: 1}
    (tmp_path / "master_table.csv").unlink()
    examples, remarks = read_all("padchest-gr", tmp_path)
    assert [e.subject for e in examples] == ["padchest:s1", "padchest:s2"]
    assert remarks == {NO_PATIENT: 2}


def write_imagenome(root: Path) -> None:
    def thing(name: str, *box: int) -> dict[str, Any]:
        corners = ("original_x1", "original_y1", "original_x2", "original_y2")
        # On the film in the middle of a square of 224 pixels.
        inner = [round((at + (0, 50)[n % 2]) * 224 / 200) for n, at in enumerate(box)]
        small = dict(zip(("x1", "y1", "x2", "y2"), inner, strict=True))
        return {"bbox_name": name, **small, **dict(zip(corners, box, strict=True))}

    graph = {
        "image_id": "d1",
        "reason_for_exam": "cough\n and fever",
        "objects": [
            thing("right lung", 10, 5, 90, 95),
            thing("left lung", 110, 5, 190, 95),
            thing("cardiac silhouette", 70, 40, 150, 90),
        ],
        "attributes": [
            {
                "bbox_name": "left lung",
                "phrases": ["There is a left opacity.", "No pneumothorax."],
                "attributes": [
                    ["anatomicalfinding|yes|lung opacity", "nlp|yes|abnormal"],
                    ["anatomicalfinding|no|pneumothorax"],
                ],
            },
            {
                "bbox_name": "right lung",
                "phrases": ["No pneumothorax."],
                "attributes": [["anatomicalfinding|no|pneumothorax"]],
            },
            {"bbox_name": "spine", "phrases": ["x"], "attributes": [["disease|yes|y"]]},
        ],
        "relationships": [],
    }
    silver = root / "silver_dataset"
    (silver / "splits").mkdir(parents=True)
    with zipfile.ZipFile(silver / "scene_graph.zip", "w") as archive:
        for name in ("d1", "gold"):
            archive.writestr(f"scene_graph/{name}_SceneGraph.json", json.dumps(graph))
    listed = {"subject_id": SUBJECT, "study_id": STUDY, "ViewPosition": "AP"}
    for split, names in (("train", ("d1", "gold")), ("valid", ("d2",)), ("test", ("d3",))):
        rows = [{**listed, "dicom_id": name, "path": f"{FOLDER}/{name}.dcm"} for name in names]
        write_table(silver / "splits" / f"{split}.csv", rows)
    write_table(silver / "splits" / "images_to_avoid.csv", [{"dicom_id": "gold"}])
    write_film(root / "jpg" / FOLDER / "d1.jpg", *SIZE)
    report = root / "jpg" / f"{FOLDER}.txt"
    report.write_text(" FINDINGS:\n There is a left opacity. No pneumothorax.\n")


def test_imagenome_anatomy_is_in_pixels_of_the_original(tmp_path: Path) -> None:
    write_imagenome(tmp_path)
    (example,), remarks = read_all("chest-imagenome", tmp_path, tmp_path / "jpg")
    assert dict(example.structures)["cardiac silhouette"] == (70, 40, 150, 90)
    assert example.question == "Where is the lung opacity?"
    assert example.answer == "left lung"
    assert example.regions == (("lung opacity", (110, 5, 190, 95)),)
    assert example.labels == ("lung opacity",)
    assert example.indication == "cough and fever"
    assert example.study == f"mimic-cxr:{STUDY}"
    assert example.grounded_sentences[1] == ReasoningTarget(
        "No pneumothorax.", ((0, (110, 5, 190, 95)), (0, (10, 5, 90, 95)))
    )
    assert remarks == {"film without a scene graph": 2}


def test_imagenome_with_reports_adds_the_findings(tmp_path: Path) -> None:
    write_imagenome(tmp_path)
    jpg = tmp_path / "jpg"
    examples, _ = read_all("chest-imagenome", tmp_path, jpg, reports=str(jpg))
    assert examples[1].answer == "There is a left opacity. No pneumothorax."
    assert examples[1].regions == (("lung opacity", (110, 5, 190, 95)),)


def test_imagenome_texts_and_corners_that_are_none_are_empty(tmp_path: Path) -> None:
    write_imagenome(tmp_path)
    packed = tmp_path / "silver_dataset" / "scene_graph.zip"
    with zipfile.ZipFile(packed) as archive:
        graph = json.loads(archive.read("scene_graph/d1_SceneGraph.json"))
    graph["reason_for_exam"] = float("nan")
    graph["objects"][2]["original_x1"] = float("nan")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("scene_graph/d1_SceneGraph.json", json.dumps(graph))
    (example,), remarks = read_all("chest-imagenome", tmp_path, tmp_path / "jpg")
    assert example.indication is None
    assert set(dict(example.structures)) == {"right lung", "left lung"}
    assert remarks == {"box without area: left out": 1, "film without a scene graph": 2}


@pytest.mark.parametrize("size", [(100, 50), (400, 200)])
def test_an_imagenome_film_of_another_size_than_its_boxes_is_left_out(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    write_imagenome(tmp_path)
    write_film(tmp_path / "jpg" / FOLDER / "d1.jpg", *size)
    examples, remarks = read_all("chest-imagenome", tmp_path, tmp_path / "jpg")
    assert examples == []
    assert remarks == {OTHER_SIZE: 1, "film without a scene graph": 2}


def test_a_damaged_scene_graph_leaves_the_others(tmp_path: Path) -> None:
    write_imagenome(tmp_path)
    packed = tmp_path / "silver_dataset" / "scene_graph.zip"
    with zipfile.ZipFile(packed) as archive:
        content = archive.read("scene_graph/d1_SceneGraph.json")
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scene_graph/d2_SceneGraph.json", content)
        archive.writestr("scene_graph/d3_SceneGraph.json", content)
        begins = [
            archive.getinfo(f"scene_graph/d{n}_SceneGraph.json").header_offset for n in (2, 3)
        ]
    data = bytearray(packed.read_bytes())
    for begin, at in zip(begins, (80, 60), strict=True):  # of the content, behind its header
        data[begin + at : begin + at + 20] = bytes(20)
    packed.write_bytes(data)
    prepared = prepare(
        Preparation("chest-imagenome", tmp_path, images=tmp_path / "jpg"), tmp_path / "store"
    )
    assert prepared.remarks["record not of the published form: left out"] == 2
    assert prepared.splits == {"train": 1}
