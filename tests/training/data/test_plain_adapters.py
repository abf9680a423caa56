"""People's own data: JSON lines and CSV say the same thing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from published import write_film, write_table
from read_all import read_all

from service.reading import Mode, Task
from training.data.example import ReasoningTarget
from training.data.preparation import UNREADABLE_REASONING, Preparation, prepare
from training.data.store import DataError, read_examples


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_film(tmp_path / "films" / f"{name}.png", 40, 50)
    return tmp_path


def write_lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)) + "\n\n")
    return path


def test_json_lines_hold_all_there_is(films: Path) -> None:
    path = write_lines(
        films / "own.jsonl",
        {
            "images": ["films/a.png", "films/b.png"],
            "roles": ["current", "prior"],
            "subject": "7",
            "split": "val",
            "view": "ap",
            "question": "Is it larger?",
            "answer": "Yes",
            "question_type": "comparison",
            "findings": "A large effusion.",
            "steps": [{"text": "Effusion", "boxes": [[0, 1, 2, 10, 20], [1, 1, 2, 10, 12]]}],
            "regions": [{"label": "effusion", "box": [1, 2, 10, 20.4]}],
            "labels": ["effusion"],
            "prior_report": "A small effusion.",
            "study": 4,
            "sex": "female",
            "age": 63.5,
            "device": "Maker One",
            "site": "North",
        },
    )
    (report, question), remarks = read_all("jsonl", path)
    assert report.task is Task.FINDINGS
    assert question.task is Task.VQA
    assert question.mode is Mode.THINK
    assert question.steps == (
        ReasoningTarget("Effusion", ((0, (1, 2, 10, 20)), (1, (1, 2, 10, 12)))),
    )
    assert question.regions == (("effusion", (1, 2, 10, 20)),)
    assert question.roles == ("current", "prior")
    assert question.split == "validate"
    assert question.view == "AP"
    assert question.source == "own"
    assert question.subject == "own:7"
    assert question.study == "own:7/4"
    assert (question.sex, question.age) == ("F", 63.5)
    assert (question.device, question.site) == ("Maker One", "North")
    assert not remarks


def test_a_csv_says_the_same(films: Path) -> None:
    write_table(
        films / "own.csv",
        [
            {
                "images": "films/a.png; films/b.png",
                "roles": "current;prior",
                "subject": "7",
                "split": "",
                "question": "Where?",
                "answer": "left | right",
                "regions": "effusion: 1 2 10 20; large mass: 3, 4, 9, 9",
                "labels": "effusion; large mass",
                "study": "4",
                "sex": "O",
                "age": "006M",
                "device": "",
                "site": "North",
            }
        ],
    )
    (example,), _ = read_all("csv", films / "own.csv")
    assert example.regions == (("effusion", (1, 2, 10, 20)), ("large mass", (3, 4, 9, 9)))
    assert example.labels == ("effusion", "large mass")
    assert example.answer == "left | right"
    assert (example.study, example.sex, example.age) == ("own:7/4", "O", 0.5)
    assert (example.device, example.site) == (None, "North")
    assert example.split in ("train", "validate", "test")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": ""}, "record 1.*come together"),
        ({"question": "", "answer": ""}, "neither an answer nor findings"),
        ({"subject": ""}, "an image and a subject are needed"),
        ({"split": "dev2"}, "none of train, validate, test"),
        ({"roles": ["now"]}, "roles are one of"),
        ({"regions": [{"label": "x", "box": [1, 2, 3]}]}, "record 1"),
        ({"boxes": []}, "unknown field boxes"),
        ({"sex": "1"}, "record 1: sex is F, M, O, or empty"),
        ({"age": 131}, "record 1: age is years from 0 to 130"),
        ({"age": "63 or so"}, "record 1: age is years from 0 to 130"),
    ],
)
def test_what_is_wrong_is_told_with_the_record(
    films: Path, changes: dict[str, Any], said: str
) -> None:
    record = {"image": "films/a.png", "subject": "1", "question": "Is it?", "answer": "No"}
    path = write_lines(films / "own.jsonl", {**record, **changes})
    with pytest.raises(DataError, match=f"(?i){said}"):
        read_all("jsonl", path)


def test_patients_of_files_that_share_them_are_one(films: Path) -> None:
    record = {"image": "films/a.png", "subject": "7", "findings": "Clear."}
    subjects = set()
    for name in ("train", "test"):
        (example,), _ = read_all("jsonl", write_lines(films / f"{name}.jsonl", record))
        subjects.add(example.subject)
        (other,), _ = read_all("jsonl", films / f"{name}.jsonl", patients=f"{name}-hospital")
        assert other.subject == f"{name}-hospital:7"
    assert subjects == {"own:7"}


def test_a_file_that_was_cut_off_is_told(films: Path) -> None:
    packed = gzip.compress(b"image,subject,findings\nfilms/a.png,7,Clear.\n" * 400)
    (films / "own.csv.gz").write_bytes(packed[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read_all("csv", films / "own.csv.gz")


def test_reasoning_that_would_be_read_otherwise_is_left_out(films: Path, tmp_path: Path) -> None:
    record = {
        "image": "films/a.png",
        "subject": "7",
        "split": "train",
        "question": "Is it?",
        "answer": "Yes",
        "steps": [{"text": "an effusion; the rest is clear", "boxes": []}],
    }
    own = write_lines(films / "own.jsonl", record)
    description = prepare(Preparation("jsonl", own), tmp_path / "store")
    (example,) = read_examples(tmp_path / "store", "train")
    assert (example.mode, example.steps) == (Mode.ANSWER, ())
    assert description.remarks == {UNREADABLE_REASONING: 1}


def test_broken_lines_are_told_by_number(films: Path) -> None:
    (films / "own.jsonl").write_text('{"image": "films/a.png"\n')
    with pytest.raises(DataError, match="line 1"):
        read_all("jsonl", films / "own.jsonl")


QUESTION = {"image": "films/a.png", "subject": "1", "question": "How many?", "split": "train"}


@pytest.mark.parametrize(
    ("given", "stored"), [(0, "0"), (2.5, "2.5"), (False, "No"), (True, "Yes")]
)
def test_an_answer_may_be_a_number_or_a_truth(films: Path, given: Any, stored: str) -> None:
    path = write_lines(films / "own.jsonl", {**QUESTION, "subject": 0, "answer": given})
    ((example,), _) = read_all("jsonl", path)
    assert (example.answer, example.subject) == (stored, "own:0")


@pytest.mark.parametrize("corner", ["1e999", "-1e999", "NaN"])
@pytest.mark.parametrize("image", ["0", "1e999"])
def test_a_box_that_is_not_finite_is_told_with_its_record(
    films: Path, corner: str, image: str
) -> None:
    boxes = [["IMAGE", 1, 2, 3, "CORNER"]]
    record = {**QUESTION, "answer": "Yes", "steps": [{"text": "a", "boxes": boxes}]}
    text = json.dumps(record).replace('"IMAGE"', image).replace('"CORNER"', corner)
    (films / "own.jsonl").write_text(text)
    with pytest.raises(DataError, match="Record 1"):
        read_all("jsonl", films / "own.jsonl")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("Clear <|image_pad|> film.", "special token"),
        ("Clear.<|im_end|>", "special token"),
        ("</think> Clear.", "special token"),
        ("Clear \ud800 film.", "lone surrogate"),
    ],
)
def test_answers_that_would_break_training_are_left_out_and_counted(
    films: Path, answer: str, fault: str
) -> None:
    sound = {**QUESTION, "answer": "Size < 3 cm | > 5 cm"}
    path = write_lines(films / "own.jsonl", sound, {**QUESTION, "answer": answer})
    description = prepare(Preparation("jsonl", path), films / "store")
    assert description.splits == {"train": 1}
    (remark,) = description.remarks
    assert fault in remark
