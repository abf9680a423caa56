"""People's own data: JSON lines and CSV say the same thing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from published import write_film, write_table
from read_all import read_all

from service.reading import Mode, Task
from training.data.example import ReasoningTarget
from training.data.preparation import (
    UNPLACED_REASONING,
    UNREADABLE_REASONING,
    Preparation,
    prepare,
)
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
        ({"answer": ""}, r"own\.jsonl, line 1.*come together"),
        ({"question": "", "answer": ""}, "neither an answer nor findings"),
        ({"subject": ""}, "an image and a subject are needed"),
        ({"split": "dev2"}, "none of train, validate, test"),
        ({"roles": ["now"]}, "roles are one of"),
        ({"image": "films/a.png;films/b.png", "roles": ["prior", "current"]}, "must be current"),
        ({"regions": [{"label": "x", "box": [1, 2, 3]}]}, "line 1: a box must be a list of four"),
        ({"regions": [{"label": "x", "box": "1234"}]}, "a box must be a list of four"),
        ({"regions": [{"label": "x", "box": [1, 2, 3, "4"]}]}, "a box must be a list of four"),
        ({"regions": [{"label": "x", "box": [1, 2, 3, True]}]}, "a box must be a list of four"),
        ({"regions": [{"label": "x", "box": [1, 2, 3, 4, 5]}]}, "a box must be a list of four"),
        ({"regions": [{"box": [1, 2, 3, 4]}]}, "a label is missing"),
        (
            {"regions": [{"label": "x", "box": [0.1, 0.2, 0.5, 1]}]},
            r"line 1: .*from 0 to 1.*multiply",
        ),
        ({"steps": [{"text": "a", "boxes": [[0, 0.1, 0.2, 0.5, 0.6]]}]}, "line 1: .*from 0 to 1"),
        ({"regions": [{"label": "x", "box": [0.4, 0.5, 1.2, 0.9]}]}, "from 0 to 1"),
        ({"regions": [{"label": "x", "box": [-0.1, 0, 1, 1]}]}, "from 0 to 1"),
        ({"regions": [{"label": "x", "box": [9.2, 5, 10.4, 30]}]}, "less than 2 pixels"),
        ({"regions": {"mass": [1, 2, 3, 4]}}, "regions must be a list of JSON objects"),
        ({"steps": [{"text": "a", "boxes": [[1, 2, 3, 4]]}]}, "an image's number and four"),
        ({"steps": [{"text": "a", "boxes": [[0.5, 1, 2, 3, 4]]}]}, "an image's number and four"),
        ({"steps": [{"text": "a", "boxes": ["01234"]}]}, "an image's number and four"),
        ({"steps": {"text": "a"}}, "steps must be a list of JSON objects"),
        ({"steps": [{"text": "a", "boxes": [[1, 1, 2, 3, 4]]}]}, "line 1: .*image 1.* there are 1"),
        ({"steps": [{"text": "a", "boxes": [[-1, 1, 2, 3, 4]]}]}, "image -1, counted from 0"),
        ({"steps": [{"text": "a", "boxes": [[0, 1, 2, 41, 4]]}]}, r"beyond its film of 40 x 50"),
        ({"regions": [{"label": "x", "box": [5, 5, 40, 51]}]}, r"line 1: the box \[5, 5, 40, 51\]"),
        ({"regions": [{"label": "x", "box": [-3, 5, 20, 20]}]}, "beyond its film"),
        ({"regions": [{"label": "x", "box": [20, 5, 10, 30]}]}, "another order"),
        ({"regions": [{"label": "x", "box": [5, 5, 5, 30]}]}, "has no area"),
        ({"answer": ["a|b", "c"]}, "line 1: an answer of a list holds a |"),
        ({"steps": [{"text": ["a"]}]}, "text must be a text"),
        ({"question": ["Is", "it?"]}, "question must be a text"),
        ({"answer": {"a": "No"}}, "answer must be a text"),
        ({"answer": [["No"]]}, "each answer must be a text"),
        ({"subject": {"name": "Doe"}}, "subject must be a text"),
        ({"findings": ["One.", "Two."]}, "findings must be a text"),
        ({"findings": False}, "findings must be a text"),
        ({"indication": {"a": 1}}, "indication must be a text"),
        ({"labels": {"mass": 1}}, "labels must be a text or a list"),
        ({"labels": [None, ["mass"]]}, "each of labels must be a text"),
        ({"boxes": []}, "unknown field boxes"),
        ({"sex": "1"}, "line 1: sex is F, M, O, or empty"),
        ({"age": 131}, "line 1: age is years from 0 to 130"),
        ({"age": "63 or so"}, "line 1: age is years from 0 to 130"),
    ],
)
def test_what_is_wrong_is_told_with_the_record(
    films: Path, changes: dict[str, Any], said: str
) -> None:
    record = {"image": "films/a.png", "subject": "1", "question": "Is it?", "answer": "No"}
    path = write_lines(films / "own.jsonl", {**record, **changes})
    with pytest.raises(DataError, match=f"(?i){said}") as told:
        read_all("jsonl", path)
    assert "Doe" not in str(told.value)


def test_a_csvs_boxes_in_fractions_are_refused_by_line(films: Path) -> None:
    row = {"image": "films/a.png", "subject": "1", "findings": "Mass."}
    rows = [{**row, "regions": text} for text in ("mass: 0 0 2 1", "mass: 0.1 0.2 0.5 0.6")]
    write_table(films / "own.csv", rows)
    with pytest.raises(DataError, match=r"own\.csv, line 3: .*from 0 to 1"):
        read_all("csv", films / "own.csv")


def test_patients_of_files_that_share_them_are_one(films: Path) -> None:
    record = {"image": "films/a.png", "subject": "7", "findings": "Clear."}
    subjects = set()
    for name in ("train", "test"):
        (example,), _ = read_all("jsonl", write_lines(films / f"{name}.jsonl", record))
        subjects.add(example.subject)
        (other,), _ = read_all("jsonl", films / f"{name}.jsonl", patients=f"{name}-hospital")
        assert other.subject == f"{name}-hospital:7"
    assert subjects == {"own:7"}


def test_columns_in_capitals_are_told_with_those_that_are_meant(films: Path) -> None:
    (films / "own.csv").write_text("Image,Subject,findings\nfilms/a.png,7,Clear.\n")
    with pytest.raises(DataError, match="Did you mean image, subject"):
        read_all("csv", films / "own.csv")


def test_a_film_is_found_however_its_accents_are_written(films: Path) -> None:
    write_film(films / "films" / normalize("NFC", "Th\u00e9o.png"), 40, 50)
    record = {
        "image": normalize("NFD", "films/Th\u00e9o.png"),
        "subject": "7",
        "findings": "Clear.",
    }
    (example,), remarks = read_all("jsonl", write_lines(films / "own.jsonl", record))
    assert not remarks
    assert example.sizes == ((40, 50),)


@pytest.mark.parametrize("name", ["own.csv", "own.jsonl"])
def test_a_file_in_latin_1_is_refused_with_its_line_and_the_mend(films: Path, name: str) -> None:
    record = {"image": "films/a.png", "subject": "7", "question": "Erguß?", "answer": "Ja"}
    lines = [json.dumps(record, ensure_ascii=False)]
    if name.endswith("csv"):
        lines = [",".join(record), ",".join(record.values())]
    (films / name).write_bytes("\n".join(lines).encode("latin-1"))
    with pytest.raises(DataError, match=rf"{name}, line {len(lines)}, is not in UTF-8.*iconv"):
        read_all(name.rpartition(".")[2], films / name)


def test_a_table_that_a_spreadsheet_wrote_in_utf_16_is_read(films: Path) -> None:
    table = "image,subject,question,answer\nfilms/a.png,7,Erguß?,Ja\n"
    (films / "own.csv").write_text(table, encoding="utf-16")
    (example,), _ = read_all("csv", films / "own.csv")
    assert (example.question, example.answer) == ("Erguß?", "Ja")


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


def test_a_step_on_another_image_says_so_in_words(films: Path, tmp_path: Path) -> None:
    record = {**QUESTION, "images": ["films/a.png", "films/b.png"], "answer": "Yes"}
    del record["image"]
    box = [[1, 1, 2, 10, 20]]
    named, unnamed = (
        {**record, "steps": [{"text": text, "boxes": box}]}
        for text in ("On image 2 there is an opacity", "There is an opacity")
    )
    said: list[str] = []
    own = write_lines(films / "own.jsonl", named, unnamed)
    description = prepare(Preparation("jsonl", own), tmp_path / "store", say=said.append)
    kept = list(read_examples(tmp_path / "store"))
    assert [example.mode for example in kept] == [Mode.THINK, Mode.ANSWER]
    assert description.remarks == {UNPLACED_REASONING: 1}
    assert said == [f"own.jsonl, line 2: {UNPLACED_REASONING}"]


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_what_notes_are_about_is_told_by_line(films: Path, name: str) -> None:
    sound = {**QUESTION, "answer": "Yes"}
    lost = {**sound, "image": "films/lost.png"}
    records = [sound, *[lost] * 7, {**sound, "answer": "Yes.<|im_end|>"}]
    own = films / f"own.{name}"
    write_lines(own, *records) if name == "jsonl" else write_table(own, records)
    said: list[str] = []
    prepare(Preparation(name, own, studies_per_part=4), films / "store", say=said.append)
    first = 2 + (name == "csv")
    lines = ", ".join(str(first + n) for n in range(5))
    assert said[0] == f"own.{name}, lines {lines} and 2 more: image missing"
    assert said[1].startswith(f"own.{name}, line {first + 7}: example left out: special token")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"image": "films/a.png", "image": "films/b.png"}', "image"),
        ('{"regions": [{"label": "a", "box": [1, 2, 3, 4], "label": "b"}]}', "label"),
    ],
)
def test_a_field_that_stands_twice_is_told_by_line(films: Path, text: str, field: str) -> None:
    (films / "own.jsonl").write_text("\n" + text + "\n")
    with pytest.raises(DataError, match=rf"own\.jsonl, line 2: the field {field} stands twice"):
        read_all("jsonl", films / "own.jsonl")


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
    with pytest.raises(DataError, match=r"own\.jsonl, line 1"):
        read_all("jsonl", films / "own.jsonl")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["subject", "answer", "age"])
def test_numbers_that_are_none_are_told_by_line(films: Path, constant: str, field: str) -> None:
    text = json.dumps({**QUESTION, "answer": "Yes", field: "HERE"}).replace('"HERE"', constant)
    (films / "own.jsonl").write_text("\n\n" + text)
    with pytest.raises(DataError, match=r"own\.jsonl, line 3"):
        read_all("jsonl", films / "own.jsonl")


def test_several_answers_may_be_a_list(films: Path) -> None:
    path = write_lines(films / "own.jsonl", {**QUESTION, "answer": ["mass", " nodule", ""]})
    ((example,), _) = read_all("jsonl", path)
    assert example.answer == "mass | nodule"


def test_a_subject_is_one_patient_however_its_number_is_written(films: Path) -> None:
    lines = [
        json.dumps({**QUESTION, "answer": "2", "subject": subject, "split": split})
        for subject, split in ((1, "train"), (1.0, "test"), (" 1 ", "test"))
    ]
    (films / "own.jsonl").write_text("\n".join(lines))
    examples, _ = read_all("jsonl", films / "own.jsonl")
    assert {example.subject for example in examples} == {"own:1"}
    with pytest.raises(DataError, match="train and test: 1"):
        prepare(Preparation("jsonl", films / "own.jsonl"), films / "store")


def test_numbers_as_tables_write_them_name_the_same(films: Path) -> None:
    row = {"image": "films/a.png", "question": "Is it?", "answer": "7.0", "split": "train"}
    write_table(films / "own.csv", [{**row, "subject": "7.0", "study": "4.00", "id": "12.0"}])
    path = write_lines(films / "own.jsonl", {**row, "subject": 7, "study": 4, "id": 12})
    (one,), _ = read_all("csv", films / "own.csv")
    (other,), _ = read_all("jsonl", path)
    assert (one.subject, one.study, one.id) == ("own:7", "own:7/4", "own/12/vqa")
    assert (one.subject, one.study, one.id) == (other.subject, other.study, other.id)
    assert one.answer == "7.0"
    (version,), _ = read_all("jsonl", write_lines(path, {**row, "subject": "1.2.0"}))
    assert version.subject == "own:1.2.0"


def test_an_id_that_stands_twice_is_told_with_both_lines(films: Path) -> None:
    record = {**QUESTION, "answer": "Yes", "id": "same"}
    path = write_lines(films / "own.jsonl", record, {**record, "id": "other"}, record)
    with pytest.raises(DataError, match=r"own\.jsonl, line 3: .*own/same/vqa.* line 1"):
        read_all("jsonl", path)


def test_an_id_that_is_given_is_no_other_lines_number(films: Path) -> None:
    record = {**QUESTION, "answer": "Yes"}
    given = [{**record, "id": 2}, record, {**record, "id": "line-2"}, record]
    examples, _ = read_all("jsonl", write_lines(films / "own.jsonl", *given))
    names = [example.id.split("/")[1] for example in examples]
    assert names == ["2", "line-line-2", "line-2", "4"]


HEADER = "image,subject,findings\n"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (HEADER + "films/a.png,1,Doe has no mass.\nfilms/a.png,2,Small, left\n", "line 3: more"),
        (HEADER + 'films/a.png,1,"Doe\nhas none."\nfilms/a.png,2,a,b\n', "line 4: more cells"),
        (HEADER + 'films/a.png,1,"Doe.\nfilms/a.png,2,Mass.\n', "line 2: .*quote"),
        (HEADER + 'films/a.png,1,Doe.\nfilms/a.png,2,"Mass.\na.png,3,"M."\n', "line 3: .*quote"),
        ("image,subject,findings,findings\nfilms/a.png,1,Doe.,Two.\n", "column findings twice"),
        ('image,subject,"findings\nfilms/a.png,1,Doe.\n', "cannot be read as a table"),
        ("image;subject;findings\nfilms/a.png;1;Doe.\n", "semicolons .*commas"),
        ("image\tsubject\tfindings\nfilms/a.png\t1\tDoe.\n", "tabs .*commas"),
        ("image,subject,findings,\nfilms/a.png,1,Doe.,Left.\n", "line 2: .*in no column"),
    ],
)
def test_a_broken_table_is_told_by_line(films: Path, table: str, said: str) -> None:
    (films / "own.csv").write_text(table)
    with pytest.raises(DataError, match=rf"own\.csv.*{said}") as told:
        read_all("csv", films / "own.csv")
    assert "Doe" not in str(told.value)


@pytest.mark.parametrize(
    "table",
    [
        "image,subject,findings,,\nfilms/a.png,1,One.,,\n\nfilms/b.png,1,Two.\n",
        "image , subject, findings\nfilms/a.png,1,One.\nfilms/b.png, 1,Two.\n",
    ],
)
def test_columns_as_spreadsheets_write_them_are_read(films: Path, table: str) -> None:
    (films / "own.csv").write_text(table)
    examples, _ = read_all("csv", films / "own.csv")
    assert [example.answer for example in examples] == ["One.", "Two."]


def test_the_content_hash_does_not_depend_on_how_lines_end(films: Path) -> None:
    table = 'image,subject,split,findings\nfilms/a.png,1,train,"One.\nTwo."\n'
    hashes = set()
    for ends in ("\n", "\r\n"):
        (films / "own.csv").write_bytes(table.replace("\n", ends).encode())
        wanted = Preparation("csv", films / "own.csv")
        hashes.add(prepare(wanted, films / "store", again=True).content_hash)
        (example,) = read_examples(films / "store")
        assert example.answer == "One.\nTwo."
    assert len(hashes) == 1


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
