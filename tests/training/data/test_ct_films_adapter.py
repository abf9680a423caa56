"""Simulated films as a data set like any other."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from published import write_film
from read_all import read_all

from service.reading import Mode, Task
from training.data.store import DataError


def finding(amount: int) -> dict[str, Any]:
    box = [4, 30 - amount, 14, 34]
    return {
        "kind": "pleural effusion",
        "side": "right",
        "box": box,
        "severity": "small",
        "lobe": None,
        "zone": None,
    }


def write_films(root: Path) -> None:
    structures = ("heart", "right lung", "left lung")
    shared = {
        "split": "train",
        "subject": "train-00001",
        "width": 32,
        "height": 36,
        "view": "PA",
        "structures": [
            {"name": n, "box": [2 + i, 4, 20 + i, 30]} for i, n in enumerate(structures)
        ],
        "devices": [],
    }
    films = [
        {"id": "f1", "path": "films/f1.png", "findings": [finding(4)], **shared},
        {
            "id": "f2",
            "path": "films/f2.png",
            "findings": [finding(12)],
            "prior": "f1",
            "change": {"right pleural effusion": "larger"},
            **shared,
        },
    ]
    (root / "train-0000.jsonl").write_text("\n".join(map(json.dumps, films)))
    for film in films:
        write_film(root / film["path"], 32, 36)


def test_every_film_gives_sections_questions_and_comparisons(tmp_path: Path) -> None:
    write_films(tmp_path)
    examples, remarks = read_all("ct-radiographs", tmp_path, questions="2")
    assert not remarks
    kinds = Counter((e.task, e.mode) for e in examples)
    assert kinds[Task.FINDINGS, Mode.THINK] == kinds[Task.IMPRESSION, Mode.ANSWER] == 2
    compared = [e for e in examples if e.question_type == "comparison"]
    assert {e.roles for e in compared} == {("current", "prior")}
    assert {e.answer for e in compared} == {"Larger"}
    name = "right pleural effusion"
    assert compared[0].regions_of(0) == ((name, (4, 18, 14, 34)),)
    assert compared[0].regions_of(1) == ((name, (4, 26, 14, 34)),)
    assert dict(examples[0].structures)["heart"] == (2, 4, 20, 30)
    assert all(e.steps for e in examples if e.mode is Mode.THINK and e.task is not Task.VQA)


def test_one_split_can_be_read_alone(tmp_path: Path) -> None:
    write_films(tmp_path)
    assert read_all("ct-radiographs", tmp_path, split="train") == read_all(
        "ct-radiographs", tmp_path
    )
    with pytest.raises(DataError, match="Make them first"):
        read_all("ct-radiographs", tmp_path, split="test")
    with pytest.raises(DataError, match="not 'tests'"):
        read_all("ct-radiographs", tmp_path, split="tests")


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Make them first"):
        read_all("ct-radiographs", tmp_path)
