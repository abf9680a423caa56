"""Films that training would refuse are left out when data are prepared, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from published import write_dicom
from typer.testing import CliRunner

from training.architecture import GRID
from training.data.adapters.films import BROKEN, OTHER_FORMAT, UNREADABLE, find_film
from training.data.adapters.upright import OBLONG, TURNED
from training.data.cli import data
from training.data.preparation import Preparation, prepare
from training.stages.errors import ConfigError
from training.stages.text_targets import film_pixels, shown_film


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


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("suffix", [".tif", ".png", ".dcm"])
def test_a_film_of_another_format_is_left_out(tmp_path: Path, kind: str, suffix: str) -> None:
    Image.new("L", (40, 50), 90).save(tmp_path / f"a{suffix}", format=kind)
    remarks: list[str] = []
    assert find_film(tmp_path, f"a{suffix}", "PA", remarks.append) is None
    assert remarks == [OTHER_FORMAT]


@pytest.mark.parametrize(
    ("suffix", "kept", "reason"),
    [(".png", 20, UNREADABLE), (".jpg", 3, UNREADABLE), (".png", 0, OTHER_FORMAT)],
)
def test_a_film_without_a_whole_header_is_left_out(
    tmp_path: Path, suffix: str, kept: int, reason: str
) -> None:
    path = tmp_path / f"a{suffix}"
    Image.new("L", (40, 50), 90).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    remarks: list[str] = []
    assert find_film(tmp_path, path.name, "PA", remarks.append) is None
    assert remarks == [reason]


def test_the_format_is_told_by_the_content(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", np.full((50, 40), 20, np.uint8))
    (tmp_path / "a.dcm").rename(tmp_path / "a.png")
    Image.new("L", (40, 50), 90).save(tmp_path / "b.dcm", format="PNG")
    for name in ("a.png", "b.dcm"):
        film = find_film(tmp_path, name, "PA", pytest.fail)
        assert film is not None
        assert film.size == (40, 50)
        assert film_pixels(tmp_path / name, GRID).size


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_film_that_was_cut_off_is_found_by_opening_it(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 80), np.uint8)
    for name in ("whole", "cut"):
        Image.fromarray(noise).save(tmp_path / f"{name}{suffix}")
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(cut.read_bytes()[:2000])
    record = {"subject": "1", "question": "Clear?", "answer": "Yes", "split": "train"}
    lines = [json.dumps({**record, "image": f"{name}{suffix}"}) for name in ("whole", "cut")]
    own = tmp_path / "own.jsonl"
    own.write_text("\n".join(lines))
    assert prepare(Preparation("jsonl", own), tmp_path / "all").splits == {"train": 2}
    refused = CliRunner().invoke(data, ["inspect", str(tmp_path / "all"), "--verify"])
    assert refused.exit_code == 2
    assert "1 cannot be opened" in refused.output
    with pytest.raises(ConfigError, match="--open-images"):
        shown_film(tmp_path, cut.name, GRID)
    prepared = ["prepare", "jsonl", str(own), "-o", str(tmp_path / "sound"), "--open-images"]
    told = CliRunner().invoke(data, prepared).output
    assert "train: 1 examples" in told
    assert f"{BROKEN}: 1" in told
    verified = CliRunner().invoke(data, ["inspect", str(tmp_path / "sound"), "--verify"])
    assert "1 images are there" in verified.output


def test_a_film_of_another_size_than_its_boxes_is_not_trained_on(tmp_path: Path) -> None:
    Image.new("L", (40, 50), 90).save(tmp_path / "a.png")
    assert shown_film(tmp_path, "a.png", GRID, (40, 50)).size
    with pytest.raises(ConfigError, match=r"a\.png .*is 40 x 50 pixels large, and was 80 x 100"):
        shown_film(tmp_path, "a.png", GRID, (80, 100))


def test_preparation_counts_films_left_out(tmp_path: Path) -> None:
    write_turned(tmp_path / "turned.jpg", 6)
    write_turned(tmp_path / "upright.jpg", 1)
    record = {"subject": "1", "question": "Clear?", "answer": "Yes", "split": "train"}
    lines = [json.dumps({**record, "image": f"{name}.jpg"}) for name in ("turned", "upright")]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    description = prepare(Preparation("jsonl", tmp_path / "own.jsonl"), tmp_path / "store")
    assert description.splits == {"train": 1}
    assert description.remarks == {TURNED: 1}
