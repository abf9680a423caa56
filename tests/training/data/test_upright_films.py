"""Films that training would refuse are left out when data are prepared, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from published import write_dicom

from training.architecture import GRID
from training.data.adapters.films import find_film
from training.data.adapters.upright import OBLONG, TURNED
from training.data.preparation import Preparation, prepare
from training.stages.text_targets import film_pixels


def write_turned(path: Path, orientation: int) -> None:
    film = Image.new("L", (100, 80), 90)
    exif = film.getexif()
    exif[0x0112] = orientation
    film.save(path, exif=exif)


def training_refuses(path: Path) -> bool:
    try:
        film_pixels(path, GRID)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 6, 8, 9])
def test_a_film_that_exif_turns_is_left_out(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a{suffix}"
    write_turned(path, orientation)
    remarks: list[str] = []
    film = find_film(tmp_path, path.name, "PA", remarks.append)
    assert (film is None) == training_refuses(path) == (2 <= orientation <= 8)
    assert remarks == ([] if film else [TURNED])


@pytest.mark.parametrize(
    ("orientation", "spacing", "reason"),
    [
        (("L", "F"), {}, None),
        (("", ""), {}, None),
        (("R", "F"), {}, TURNED),
        (("F", "L"), {}, TURNED),
        (("L", "F"), {"PixelAspectRatio": [2, 1]}, OBLONG),
        (("L", "F"), {"ImagerPixelSpacing": [0.1, 0.2]}, OBLONG),
        (("L", "F"), {"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.1, 0.2]}, None),
        (("L", "F"), {"PixelSpacing": [0.2, 0.2002]}, None),
        (("L", "F"), {"PixelSpacing": [0.2, 0.201]}, None),  # not a row more
        (("L", "F"), {"PixelSpacing": [100, 1]}, None),  # not credible
    ],
)
def test_a_dicom_film_not_shown_as_stored_is_left_out(
    tmp_path: Path, orientation: tuple[str, str], spacing: dict[str, list[float]], reason: str
) -> None:
    path = tmp_path / "a.dcm"
    write_dicom(path, np.full((90, 60), 20, np.uint8), orientation=orientation)
    header = pydicom.dcmread(path)
    for keyword, value in spacing.items():
        setattr(header, keyword, value)
    header.save_as(path)
    remarks: list[str] = []
    film = find_film(tmp_path, path.name, "PA", remarks.append)
    assert remarks == [reason] * bool(reason)
    assert (film is None) == training_refuses(path) == bool(reason)


def test_preparation_counts_films_left_out(tmp_path: Path) -> None:
    write_turned(tmp_path / "turned.jpg", 6)
    write_turned(tmp_path / "upright.jpg", 1)
    record = {"subject": "1", "question": "Clear?", "answer": "Yes", "split": "train"}
    lines = [json.dumps({**record, "image": f"{name}.jpg"}) for name in ("turned", "upright")]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    description = prepare(Preparation("jsonl", tmp_path / "own.jsonl"), tmp_path / "store")
    assert description.splits == {"train": 1}
    assert description.remarks == {TURNED: 1}
