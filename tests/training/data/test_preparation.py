"""``deepmedix data``: prepare with resume, inspect, stats, combine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from published import write_film, write_mimic_jpg
from typer.testing import CliRunner

from training.data import preparation
from training.data.adapters.mimic_cxr_jpg import MimicCxrJpg
from training.data.adapters.protocol import MALFORMED, Remark
from training.data.cli import data
from training.data.example import Example
from training.data.preparation import Preparation, prepare
from training.data.store import (
    DataError,
    images_folder,
    read_description,
    read_examples,
    write_examples,
)

runner = CliRunner()


@pytest.fixture(scope="module")
def mimic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mimic")
    write_mimic_jpg(root)
    return root


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, mimic: Path) -> Path:
    folder = tmp_path_factory.mktemp("store")
    prepare(Preparation("mimic-cxr-jpg", mimic, hash_images=True), folder)
    return folder


def run(*arguments: object) -> str:
    result = runner.invoke(data, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_an_interrupted_preparation_goes_on_to_the_same_store(
    tmp_path: Path, mimic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Preparation("mimic-cxr-jpg", mimic, studies_per_part=1)
    whole = prepare(wanted, tmp_path / "whole")
    read: list[str] = []
    original = MimicCxrJpg.read

    def interrupted(self: MimicCxrJpg, study: str, remark: Remark) -> Iterator[Example]:
        read.append(study)
        if len(read) == 3:
            raise KeyboardInterrupt
        yield from original(self, study, remark)

    monkeypatch.setattr(MimicCxrJpg, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(wanted, tmp_path / "cut")
    with pytest.raises(DataError, match="the same command"):
        read_description(tmp_path / "cut")
    resumed = prepare(wanted, tmp_path / "cut")
    assert resumed == whole
    assert read[2:4] == ["50000003", "50000003"]  # finished parts are not read again
    assert len(read) == 5
    assert not (tmp_path / "cut" / ".parts").exists()


def test_a_prepared_store_is_kept_and_another_preparation_refused(
    tmp_path: Path, mimic: Path
) -> None:
    first = prepare(Preparation("mimic-cxr-jpg", mimic, limit=2), tmp_path)
    assert prepare(Preparation("mimic-cxr-jpg", mimic, limit=2), tmp_path) == first
    with pytest.raises(DataError, match="--again"):
        prepare(Preparation("mimic-cxr-jpg", mimic), tmp_path)
    anew = prepare(Preparation("mimic-cxr-jpg", mimic), tmp_path, again=True)
    assert sum(anew.splits.values()) == 8


@pytest.mark.parametrize("fault", ["torn", "missing", "description"])
def test_a_store_that_cannot_be_read_is_prepared_again_as_its_reader_is_told(
    tmp_path: Path, mimic: Path, fault: str
) -> None:
    arguments = ("prepare", "mimic-cxr-jpg", mimic, "-o", tmp_path, "--limit", 2)
    run(*arguments)
    whole = read_description(tmp_path)
    shard = tmp_path / whole.shards[0].file
    if fault == "torn":
        shard.write_bytes(shard.read_bytes()[:-9])
    elif fault == "missing":
        shard.unlink()
    else:
        (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match="Prepare the data again"):
        read_examples(tmp_path)
    run(*arguments)
    assert read_description(tmp_path) == whole
    assert len(list(read_examples(tmp_path))) == sum(whole.splits.values())


def test_examples_can_be_put_into_one_split(tmp_path: Path, mimic: Path) -> None:
    told = prepare(Preparation("mimic-cxr-jpg", mimic, split="test"), tmp_path)
    assert told.splits == {"test": 8}


def test_subjects_in_several_splits_are_refused_or_dropped_from_training(
    tmp_path: Path, mimic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MimicCxrJpg.read

    def mixed(self: MimicCxrJpg, study: str, remark: Remark) -> Iterator[Example]:
        for example in original(self, study, remark):
            yield preparation.replace(example, subject="mimic-cxr:1")

    monkeypatch.setattr(MimicCxrJpg, "read", mixed)
    with pytest.raises(DataError, match="train and validate and test: 1"):
        prepare(Preparation("mimic-cxr-jpg", mimic), tmp_path)
    monkeypatch.setattr(MimicCxrJpg, "read", None)  # all is read already
    told = prepare(Preparation("mimic-cxr-jpg", mimic, overlap="drop"), tmp_path)
    assert told.splits == {"test": 2}
    assert told.remarks == {preparation.OVERLAPPING: 6}


def test_prepare_by_command_tells_what_there_is(tmp_path: Path, mimic: Path) -> None:
    output = run("prepare", "mimic-cxr-jpg", mimic, "-o", tmp_path, "--option", "gaps=drop")
    assert "train: 4 examples of 1 subjects" in output
    assert "10000001" not in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prepare", "nothing", ".", "-o", "x"], "No adapter is named 'nothing'"),
        (["prepare", "open-i", "/not/there", "-o", "x"], "/not/there is not there"),
        (["prepare", "open-i", ".", "-o", "x", "--option", "a=b"], "no option 'a'"),
        (["prepare", "open-i", ".", "-o", "x", "--option", "a"], "not NAME=VALUE"),
        (["prepare", "mimic-cxr-jpg", ".", "-o", "x", "--option", "gaps=no"], "keep or drop"),
        (["inspect", "/not/there"], "is no store of examples"),
        (["stats", "/not/there"], "is no store of examples"),
        (["list", "nothing"], "No adapter is named"),
    ],
)
def test_bad_input_is_told_in_words_with_exit_code_2(arguments: list[str], said: str) -> None:
    result = runner.invoke(data, arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_list_names_every_data_set_and_what_it_needs() -> None:
    assert "chest-imagenome" in run("list")
    assert "mimic-cxr-2.0.0-split.csv.gz" in run("list", "mimic-cxr-jpg")


def test_inspect_names_no_patient(store: Path) -> None:
    output = run("inspect", store, "--examples", 8, "--verify")
    assert "The heart is enlarged." in output
    assert "6 images are there" in output
    assert "of 6 are theirs" in output
    for secret in ("10000001", "50000001", "a1.jpg"):
        assert secret not in output


def test_the_page_needs_no_network_and_names_no_patient(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run("inspect", store, "--examples", 8, "--page", page)
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 12
    assert "http" not in text.replace("http-equiv", "")
    assert "10000001" not in text
    assert "50000001" not in text


def test_stats_count_by_split(store: Path) -> None:
    counted = json.loads(run("stats", store, "--json"))
    assert counted["train"]["examples"] == 4
    assert counted["train"]["subjects"] == 1
    assert counted["train"]["images"] == 4
    assert counted["train"]["tasks"] == {"findings, answer": 2, "impression, answer": 2}
    assert counted["test"]["labels"] == {"Cardiomegaly": 2}
    assert "Cardiomegaly" in run("stats", store)


def test_changed_and_missing_images_are_counted(tmp_path: Path) -> None:
    write_mimic_jpg(tmp_path / "mimic")
    prepare(Preparation("mimic-cxr-jpg", tmp_path / "mimic", hash_images=True), tmp_path / "store")
    next((tmp_path / "mimic").rglob("a1.jpg")).unlink()
    next((tmp_path / "mimic").rglob("c1.jpg")).write_bytes(b"changed")
    result = runner.invoke(data, ["inspect", str(tmp_path / "store"), "--verify"])
    assert result.exit_code == 2
    assert "1 are missing and 1 were changed" in result.output


@pytest.mark.parametrize(
    ("hashed", "said"), [(True, "hashes that were kept of 1 are theirs"), (False, "no hashes")]
)
def test_a_film_of_another_size_than_its_boxes_is_found_with_hashes_or_without(
    tmp_path: Path, hashed: bool, said: str
) -> None:
    write_film(tmp_path / "a.png", 200, 100)
    record = {"image": "a.png", "subject": "7", "findings": "Mass.", "split": "train"}
    record |= {"regions": [{"label": "mass", "box": [10, 10, 150, 60]}]}
    (tmp_path / "own.jsonl").write_text(json.dumps(record))
    store = tmp_path / "store"
    prepare(Preparation("jsonl", tmp_path / "own.jsonl", hash_images=hashed), store)
    assert said in run("inspect", store, "--verify")
    if not hashed:
        write_film(tmp_path / "a.png", 100, 50)
        refused = runner.invoke(data, ["inspect", str(store), "--verify"])
        assert refused.exit_code == 2
        assert "1 are of another size" in refused.output


def test_a_record_of_another_form_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('[{"subject": 1}]')
    result = runner.invoke(
        data, ["prepare", "mimic-ext-mimic-cxr-vqa", str(tmp_path), "-o", str(tmp_path / "out")]
    )
    assert result.exit_code == 2
    assert "a record has no field 'subject_id'" in result.output


def stumbles(error: type[Exception]) -> None:
    raise error("subject_id")


@pytest.mark.parametrize("error", [KeyError, AttributeError, IndexError, TypeError, ValueError])
def test_one_record_of_another_form_leaves_the_others(
    tmp_path: Path, mimic: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    whole = prepare(Preparation("mimic-cxr-jpg", mimic), tmp_path / "whole")
    original, read = MimicCxrJpg.read, []

    def broken(self: MimicCxrJpg, study: str, remark: Remark) -> Iterator[Example]:
        read.append(study)
        if len(read) == 1:
            stumbles(error)
        yield from original(self, study, remark)

    monkeypatch.setattr(MimicCxrJpg, "read", broken)
    rest = prepare(Preparation("mimic-cxr-jpg", mimic), tmp_path / "rest")
    assert rest.remarks["record not of the published form: left out"] == 1
    assert 0 < sum(rest.splits.values()) < sum(whole.splits.values())


def test_a_set_without_a_record_of_the_published_form_is_refused_each_time(
    tmp_path: Path, mimic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MimicCxrJpg, "read", lambda self, study, remark: [stumbles(KeyError)])
    wanted = Preparation("mimic-cxr-jpg", mimic, studies_per_part=1)
    for _ in range(2):
        with pytest.raises(DataError, match="a record has no field 'subject_id'"):
            prepare(wanted, tmp_path / "store")
    monkeypatch.undo()
    assert sum(prepare(wanted, tmp_path / "store").splits.values()) == 8


def test_changed_tables_beside_the_images_are_another_preparation(tmp_path: Path) -> None:
    films, tables = tmp_path / "films", tmp_path / "tables"
    write_mimic_jpg(films)
    tables.mkdir()
    for table in films.glob("*.csv.gz"):
        table.rename(tables / table.name)
    listed = films / "views.csv"
    listed.write_text("dicom_id,view\n")
    wanted = Preparation("mimic-cxr-jpg", tables, images=films)
    store = tmp_path / "store"
    for report in films.rglob("*.txt"):
        there = tables / report.relative_to(films)
        there.parent.mkdir(parents=True, exist_ok=True)
        report.rename(there)
    first = prepare(wanted, store)
    assert prepare(wanted, store) == first
    listed.write_text("dicom_id,view\na1,PA\n")
    with pytest.raises(DataError, match="tables"):
        prepare(wanted, store)
    path = store / "preparation.json"
    before = json.loads(path.read_text())
    del before["image_tables"]  # as stores from before they were looked at
    path.write_text(json.dumps(before))
    assert prepare(wanted, store) == first


def test_a_store_within_the_data_sets_folder_is_no_table_of_it(tmp_path: Path) -> None:
    write_mimic_jpg(tmp_path)
    wanted = Preparation("mimic-cxr-jpg", tmp_path, studies_per_part=1)
    first = prepare(wanted, tmp_path / "store")
    assert prepare(wanted, tmp_path / "store") == first


def write_own(folder: Path, subject: str, split: str) -> Path:
    write_film(folder / "films" / "a.png", 20, 20)
    record = {"image": "films/a.png", "subject": subject, "split": split, "findings": "Clear."}
    (folder / f"{folder.name}.jsonl").write_text(json.dumps(record))
    options = {"name": "own"}
    lines = folder / f"{folder.name}.jsonl"
    prepare(Preparation("jsonl", lines, options=options), folder / "store")
    return folder / "store"


def test_stores_combine_with_paths_that_lead_to_the_images(tmp_path: Path, store: Path) -> None:
    own = write_own(tmp_path / "one", "7", "train")
    run("combine", store, own, "-o", tmp_path / "both")
    root = images_folder(tmp_path / "both")
    examples = list(read_examples(tmp_path / "both"))
    assert len(examples) == 9
    assert all((root / path).is_file() for e in examples for path in e.images)
    assert {s.name for s in read_description(tmp_path / "both").sources} == {"own", "mimic-cxr-jpg"}


def test_stores_that_share_a_patient_across_splits_are_refused_or_thinned(tmp_path: Path) -> None:
    one = write_own(tmp_path / "one", "7", "train")
    lines = tmp_path / "one" / "more.jsonl"
    record = {"id": "x", "image": "films/a.png", "subject": "7", "split": "test"}
    lines.write_text(json.dumps({**record, "findings": "Clear."}))
    other = tmp_path / "other"
    prepare(Preparation("jsonl", lines, options={"name": "own"}), other)
    arguments = ["combine", str(one), str(other), "-o", str(tmp_path / "both")]
    refused = runner.invoke(data, arguments)
    assert refused.exit_code == 2
    assert "train and test: 1" in refused.output
    assert "test: 1 examples" in run(*arguments, "--overlap", "drop")


def test_changed_tables_are_another_preparation(tmp_path: Path) -> None:
    write_own(tmp_path, "7", "train")
    with pytest.raises(DataError, match="tables"):
        write_own(tmp_path, "7", "test")


def test_one_data_set_twice_is_refused(tmp_path: Path, store: Path) -> None:
    refused = runner.invoke(data, ["combine", str(store), str(store), "-o", str(tmp_path)])
    assert refused.exit_code == 2
    assert "have one id" in refused.output


def write_lines(path: Path, *records: dict[str, str]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def test_combining_leaves_a_store_that_was_not_combined_there(tmp_path: Path) -> None:
    one, other = write_own(tmp_path / "one", "7", "train"), write_own(tmp_path / "two", "8", "test")
    before = read_description(other)
    refused = runner.invoke(data, ["combine", str(one), "-o", str(other)])
    assert refused.exit_code == 2
    assert "not combined here" in refused.output
    assert read_description(other) == before
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "preparation.json").write_text("{}")
    begun = runner.invoke(data, ["combine", str(one), "-o", str(tmp_path / "begun")])
    assert "not combined here" in begun.output


def test_combining_again_replaces_what_was_combined_there_and_nothing_else(tmp_path: Path) -> None:
    one, both = write_own(tmp_path / "one", "7", "train"), tmp_path / "both"
    run("combine", one, "-o", both)
    line = {"image": "films/a.png", "subject": "8", "split": "test", "findings": "Clear."}
    own = write_lines(tmp_path / "one" / "more.jsonl", line)
    run("prepare", "jsonl", own, "-o", tmp_path / "more")
    assert "test: 1 examples" in run("combine", one, tmp_path / "more", "-o", both)
    run("prepare", "jsonl", own, "-o", both, "--again")
    refused = runner.invoke(data, ["combine", str(one), "-o", str(both)])
    assert "not combined here" in refused.output


def test_remarks_stay_counted_in_a_combined_store(tmp_path: Path) -> None:
    write_film(tmp_path / "a.png", 20, 20)
    for name, subject in (("one", "7"), ("two", "8")):
        line = {"image": "a.png", "subject": subject, "split": "train", "findings": "Clear."}
        own = write_lines(tmp_path / f"{name}.jsonl", line, {**line, "image": "gone.png"})
        prepare(Preparation("jsonl", own), tmp_path / name)
    told = run("combine", tmp_path / "one", tmp_path / "two", "-o", tmp_path / "both")
    assert "image missing: 2" in told


def test_a_store_that_was_written_over_is_not_passed_off_as_prepared(tmp_path: Path) -> None:
    store = write_own(tmp_path / "one", "7", "train")
    other = list(read_examples(write_own(tmp_path / "two", "8", "test")))
    write_examples(store, other)
    with pytest.raises(DataError, match="holds another store than was prepared"):
        write_own(tmp_path / "one", "7", "train")
    path = store / "preparation.json"
    before = json.loads(path.read_text())
    del before["content_hash"]  # as programs wrote it that did not look
    path.write_text(json.dumps(before))
    write_own(tmp_path / "one", "7", "train")


def test_images_that_came_later_are_read_when_asked_for_and_that_is_told(tmp_path: Path) -> None:
    write_film(tmp_path / "a.png", 20, 20)
    line = {"image": "a.png", "subject": "7", "split": "train", "findings": "Clear."}
    own = write_lines(tmp_path / "own.jsonl", line, {**line, "image": "b.png"})
    arguments = ("prepare", "jsonl", own, "-o", tmp_path / "store")
    assert "--again" not in run(*arguments)
    write_film(tmp_path / "b.png", 20, 20)
    told = run(*arguments)
    assert "prepared already: nothing was read" in told
    assert "1 images were missing then" in told
    assert "train: 2 examples" in run(*arguments, "--again")
    assert "missing" not in run(*arguments)


def test_a_refused_file_is_read_anew_once_it_is_mended(tmp_path: Path) -> None:
    write_film(tmp_path / "a.png", 20, 20)
    line = {"image": "a.png", "subject": "7", "split": "train", "findings": "Clear."}
    own = write_lines(tmp_path / "own.jsonl", line, {**line, "split": "dev2"})
    arguments = ["prepare", "jsonl", str(own), "-o", str(tmp_path / "store")]
    assert "line 2" in runner.invoke(data, arguments).output
    write_lines(own, line, {**line, "findings": "Mass."})
    told = run(*arguments)
    assert "Tables were changed" in told
    assert "train: 2 examples" in told
    answers = [example.answer for example in read_examples(tmp_path / "store")]
    assert answers == ["Clear.", "Mass."]


def test_options_that_changed_since_an_interrupted_run_are_another_preparation(
    tmp_path: Path,
) -> None:
    write_film(tmp_path / "a.png", 20, 20)
    line = {"image": "a.png", "subject": "7", "split": "dev2", "findings": "Clear."}
    own = write_lines(tmp_path / "own.jsonl", line)
    with pytest.raises(DataError, match="line 1"):
        prepare(Preparation("jsonl", own), tmp_path / "store")
    with pytest.raises(DataError, match="another preparation"):
        prepare(Preparation("jsonl", own, options={"name": "x"}), tmp_path / "store")


def test_what_came_before_a_fault_in_a_study_is_kept(
    tmp_path: Path, mimic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MimicCxrJpg.read

    def broken(self: MimicCxrJpg, study: str, remark: Remark) -> Iterator[Example]:
        yield next(iter(original(self, study, remark)))
        stumbles(KeyError)

    monkeypatch.setattr(MimicCxrJpg, "read", broken)
    told = prepare(Preparation("mimic-cxr-jpg", mimic), tmp_path)
    assert sum(told.splits.values()) == told.remarks[MALFORMED] == 4
