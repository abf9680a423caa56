"""What a worker that a film has taken over may say: nothing that an honest one would not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.problem import Problem
from service.radiograph import problems
from service.radiograph.geometry import Affine
from service.radiograph.reply import read_reply
from service.radiograph.wire import problem_header

FILM = {
    "number": 7,
    "width": 4,
    "height": 3,
    "media_type": "application/dicom",
    "view_position": "PA",
    "rendering": "film-1",
    "pixel_aspect": 1,
    "modality": "DX",
    "frame": 1,
    "frames": 1,
    "sop_class_uid": "1.2",
    "sop_instance_uid": None,
    "study_instance_uid": None,
    "series_instance_uid": None,
    "notices": [["for-processing", "The film is for processing."]],
    "to_original": [1, 0, 0, 0, 1, 0],
    "shape": [3, 4],
}


def read(**changes: Any) -> Any:
    return read_reply({**FILM, **changes}, np.zeros(12, np.uint8), 7)


def test_an_honest_reply_is_read() -> None:
    film = read()
    assert film.pixels.shape == (3, 4)
    assert not film.pixels.flags.writeable
    assert film.to_original == Affine(1, 0, 0, 0, 1, 0)
    assert [notice.code for notice in film.notices] == ["for-processing"]


def test_a_refusal_is_named_and_its_words_are_ours() -> None:
    for problem in (problems.malformed_dicom(), problems.decode_worker_died()):
        header = {"number": 7, **problem_header(problem)}
        with pytest.raises(Problem) as raised:
            read_reply(header, np.empty(0, np.uint8), 7)
        assert vars(raised.value) == vars(problem)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 8},
        {"problem": "DOE^JOHN"},
        {"problem": ["decode-failed", 503, "DOE^JOHN", "", "1\r\nSet-Cookie: x=1"]},
        {"notices": [["DOE^JOHN", "text"]]},
        {"notices": [["for-processing", "a line\nand another"]]},
        {"notices": [["for-processing", "x" * 500]]},
        {"view_position": "P" * 65},
        {"study_instance_uid": "1.2\r\nx: y"},
        {"media_type": "text/html"},
        {"width": 0},
        {"frames": 10**400},
        {"pixel_aspect": float("nan")},
        {"pixel_aspect": 1e300},
        {"to_original": [1, 0, 0, 0, 1, float("inf")]},
        {"to_original": [1]},
        {"shape": [4, 4]},
        {"shape": [3, 2, 2]},
        {"more": 1},
    ],
)
def test_whatever_else_it_says_is_no_reply(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic words most of them
        read(**changes)
