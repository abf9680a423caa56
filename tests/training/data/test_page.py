"""The page shows films as the service renders them, boxes where they are stored."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from published import write_dicom, write_film

from service.reading import Mode
from training.data.example import ReasoningTarget
from training.data.inspection import draw_examples
from training.data.page import draw_films, write_page
from training.data.store import read_examples, write_examples

BOX = (4, 10, 24, 40)


@pytest.mark.parametrize("orientation", [("L", "F"), ("R", "F"), ("F", "L")])
def test_boxes_lie_where_they_are_stored_on_films_stored_turned(
    tmp_path: Path, make_example: Any, orientation: tuple[str, str]
) -> None:
    pixels = np.full((60, 40), 20, np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 230
    write_dicom(tmp_path / "a.dcm", pixels, orientation=orientation)
    example = make_example(images=("a.dcm",), sizes=((40, 60),), regions=(("block", BOX),))
    (film,) = draw_films(example, tmp_path)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(film.data))).convert("L"))
    assert shown.shape == (film.height, film.width)
    (box,) = film.boxes
    rows, columns = np.nonzero(shown > 120)
    drawn = (box.x, box.y, box.x + box.width, box.y + box.height)
    seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.subtract(drawn, seen)).max() <= 1


def test_what_texts_say_stays_text(tmp_path: Path, make_example: Any) -> None:
    write_film(tmp_path / "a.png", 40, 50)
    bad = "<script>alert(1)</script>"
    example = make_example(
        mode=Mode.THINK,
        answer=bad,
        regions=((bad, (1, 1, 9, 9)),),
        steps=(ReasoningTarget(bad, ((0, (2, 2, 8, 8)),)),),
        indication=bad,
    )
    write_examples(tmp_path / "store", [example], images_root=tmp_path)
    write_page(tmp_path / "page.html", tmp_path / "store", [example])
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 5
    assert "default-src 'none'" in page


def test_films_that_cannot_be_shown_say_why(tmp_path: Path, make_example: Any) -> None:
    (tmp_path / "b.png").write_bytes(b"no film")
    example = make_example(images=("a.png", "b.png"), sizes=((9, 9), (9, 9)))
    missing, unreadable = draw_films(example, tmp_path)
    assert missing.fault == "The image is missing."
    assert unreadable.fault
    assert not unreadable.data


def test_examples_are_drawn_evenly_and_again_the_same(tmp_path: Path, make_example: Any) -> None:
    write_examples(tmp_path, [make_example(id=str(n)) for n in range(100)], examples_per_shard=30)
    stored = read_examples(tmp_path)
    drawn = [int(example.id) for example in draw_examples(stored, 10, seed=3)]
    assert drawn == [int(example.id) for example in draw_examples(stored, 10, seed=3)]
    assert drawn != [int(example.id) for example in draw_examples(stored, 10, seed=4)]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 10
    assert draw_examples(stored, 200) == list(stored)
