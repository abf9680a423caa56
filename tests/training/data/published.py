"""Data sets in their published layouts, a few studies each, all of it made up."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_film(path: Path, width: int, height: int) -> None:
    """A grey ramp as PNG, JPEG or DICOM, by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.linspace(0, 255, width * height).reshape(height, width).astype(np.uint8)
    if path.suffix in (".dcm", ".dicom"):
        write_dicom(path, pixels)
    else:
        Image.fromarray(pixels).save(path)


def write_dicom(
    path: Path,
    pixels: np.ndarray,
    view: str = "PA",
    orientation: tuple[str, str] = ("L", "F"),
    **more: Any,
) -> None:
    """A digital radiograph with no more than it must have, and the elements given."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    film = Dataset()
    film.file_meta = meta
    film.SOPClassUID = meta.MediaStorageSOPClassUID
    film.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    film.Modality, film.BodyPartExamined, film.ViewPosition = "DX", "CHEST", view
    film.PatientOrientation = list(orientation)
    film.Rows, film.Columns = pixels.shape
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit = 8, 8, 7
    film.PixelRepresentation = 0
    film.PixelData = pixels.tobytes()
    for keyword, value in more.items():
        setattr(film, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    film.save_as(path, enforce_file_format=True)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV, gzipped where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unpacked = gzip.open if path.suffix == ".gz" else open
    with unpacked(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, value: Any) -> None:
    """A JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


MIMIC_REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // ?pneumonia

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  {comparison}

 FINDINGS:

 The heart is {heart}.  There is no pleural effusion
 or pneumothorax.

 IMPRESSION:

 {impression}
"""
MIMIC_STUDIES = (
    # subject, study, split, date, films (dicom, view), heart
    ("10000001", "50000001", "train", "21800101", (("a1", "PA"), ("a2", "LATERAL")), "normal"),
    ("10000001", "50000002", "train", "21800301", (("a4", "LL"), ("a3", "AP")), "enlarged"),
    ("10000002", "50000003", "validate", "21810101", (("b1", "PA"),), "normal"),
    ("11000003", "50000004", "test", "21820101", (("c1", "AP"),), "enlarged"),
)
MIMIC_SIZE = (60, 80)


def mimic_folder(subject: str, study: str) -> str:
    """Where a study's films lie."""
    return f"files/p{subject[:2]}/p{subject}/s{study}"


def write_mimic_jpg(root: Path, suffix: str = ".jpg") -> None:
    """MIMIC-CXR-JPG with the reports of MIMIC-CXR beside it."""
    metadata, splits, labels = [], [], []
    for subject, study, split, date, films, heart in MIMIC_STUDIES:
        folder = root / mimic_folder(subject, study)
        for dicom, view in films:
            write_film(folder / f"{dicom}{suffix}", *MIMIC_SIZE)
            metadata.append(
                {
                    "dicom_id": dicom,
                    "subject_id": subject,
                    "study_id": study,
                    "ViewPosition": view,
                    "Rows": 2544,
                    "Columns": 3056,
                    "StudyDate": date,
                    "StudyTime": "93000.125",
                }
            )
            splits.append(
                {"dicom_id": dicom, "study_id": study, "subject_id": subject, "split": split}
            )
        large = heart == "enlarged"
        labels.append(
            {
                "subject_id": subject,
                "study_id": study,
                **dict.fromkeys(_CHEXPERT, ""),
                "Cardiomegaly": "1.0" if large else "0.0",
                "Pleural Effusion": "0.0",
                "Edema": "-1.0",
            }
        )
        folder.parent.joinpath(f"s{study}.txt").write_text(
            MIMIC_REPORT.format(
                heart=heart,
                comparison="None." if date != "21800301" else "___",
                impression="Cardiomegaly." if large else "No acute disease. Seen at ___.",
            )
        )
    write_table(root / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    write_table(root / "mimic-cxr-2.0.0-split.csv.gz", splits)
    write_table(root / "mimic-cxr-2.0.0-chexpert.csv.gz", labels)


_CHEXPERT = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum"),
    *("Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion"),
    *("Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices"),
)


def write_mimic_dicom(root: Path) -> None:
    """MIMIC-CXR: DICOM files, the record list, reports."""
    records = []
    for subject, study, _, _, films, heart in MIMIC_STUDIES:
        folder = mimic_folder(subject, study)
        for dicom, view in films:
            path = f"{folder}/{dicom}.dcm"
            write_dicom(root / path, np.full((80, 60), 9, np.uint8), view)
            records.append(
                {"subject_id": subject, "study_id": study, "dicom_id": dicom, "path": path}
            )
        (root / f"{folder}.txt").write_text(
            MIMIC_REPORT.format(heart=heart, comparison="None.", impression="As above.")
        )
    write_table(root / "cxr-record-list.csv.gz", records)
