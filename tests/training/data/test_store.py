"""A store gives back what was put in, or says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.reading import Mode, Task
from training.data.example import Example, ReasoningTarget
from training.data.store import (
    DataError,
    faults_of,
    images_folder,
    read_description,
    read_examples,
    write_examples,
)
from training.data.store.description import file_hash
from training.data.store.features import LATER, from_row, to_row

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
words = st.text(letters, min_size=1, max_size=12).filter(str.strip)


@st.composite
def boxes(draw: Any) -> tuple[int, int, int, int]:
    x, y = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    return x, y, x + draw(st.integers(1, 20)), y + draw(st.integers(1, 20))


regions = st.lists(st.tuples(words, boxes()), max_size=3).map(tuple)
steps = st.lists(
    st.builds(
        ReasoningTarget,
        words,
        st.lists(st.tuples(st.integers(0, 1), boxes()), max_size=2).map(tuple),
    ),
    max_size=3,
).map(tuple)
examples = st.builds(
    Example,
    id=words,
    images=st.just(("a.png", "b/c.dcm")),
    sizes=st.just(((40, 40), (41, 60))),
    roles=st.sampled_from([(), ("current", "prior")]),
    task=st.just(Task.VQA),
    mode=st.just(Mode.THINK),
    answer=words,
    question=words,
    steps=steps,
    split=st.sampled_from(["train", "validate", "test"]),
    subject=words,
    view=st.just("PA"),
    labels=st.lists(words, max_size=2).map(tuple),
    regions=regions,
    structures=regions,
    regions_by_image=st.one_of(st.just(()), st.tuples(regions, regions)),
    grounded_sentences=steps,
    prior_report=st.one_of(st.none(), words),
    study=st.one_of(st.none(), words),
    sex=st.sampled_from([None, "F", "M", "O"]),
    age=st.one_of(st.none(), st.floats(0, 130)),
    device=st.one_of(st.none(), words),
    site=st.one_of(st.none(), words),
)


@given(examples)
def test_a_row_holds_all_of_an_example(example: Example) -> None:
    assert from_row(to_row(example)) == example
    assert faults_of(example) == []


@given(st.lists(examples, min_size=1, max_size=6, unique_by=lambda e: e.id))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_what_is_written_is_read_or_refused_for_shared_subjects(
    tmp_path_factory: pytest.TempPathFactory, some: list[Example]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    pairs = {(e.subject, e.split) for e in some}
    if len(pairs) > len({e.subject for e in some}):
        with pytest.raises(DataError, match="more than one split"):
            write_examples(folder, some)
        assert list(folder.iterdir()) == []
    else:
        write_examples(folder, some, examples_per_shard=2)
        back = {e.id: e for e in read_examples(folder)}
        assert back == {e.id: e for e in some}


def test_shards_are_named_by_split_and_number(tmp_path: Path, make_example: Any) -> None:
    some = [make_example(id=str(n), subject=f"made:{n}") for n in range(5)]
    some.append(make_example(id="t", subject="made:t", split="test"))
    described = write_examples(tmp_path, some, examples_per_shard=2, images_root="films")
    assert [shard.file for shard in described.shards] == [
        "train-00000-of-00003.parquet",
        "train-00001-of-00003.parquet",
        "train-00002-of-00003.parquet",
        "test-00000-of-00001.parquet",
    ]
    assert described.splits == {"train": 5, "test": 1}
    assert described.subjects == {"train": 5, "test": 1}
    assert len(read_examples(tmp_path, "train")) == 5
    assert images_folder(tmp_path) == tmp_path / "films"
    assert sorted(tmp_path.glob("*.partial")) == []


def test_the_content_hash_depends_on_the_examples_and_not_on_the_shards(
    tmp_path: Path, make_example: Any
) -> None:
    some = [make_example(id=str(n)) for n in range(5)]
    one = write_examples(tmp_path / "one", some, examples_per_shard=2)
    other = write_examples(tmp_path / "other", some, examples_per_shard=5)
    some[0] = make_example(id="0", answer="The heart is enlarged.")
    changed = write_examples(tmp_path / "changed", some)
    assert one.content_hash == other.content_hash
    assert one.content_hash != changed.content_hash


SINCE_THE_FIRST = "33b69c0730cf827432986fe92f28ed17296e3b21af76b5bee4e1443f19dd2b32"
"""Content hash of the sound example, from before examples told study, sex, age, device, site."""


def test_what_came_later_changes_no_hash_unless_it_is_known(make_example: Any) -> None:
    assert make_example().content_hash() == SINCE_THE_FIRST
    known = [{"study": "made:1"}, {"sex": "F"}, {"age": 63}, {"device": "x"}, {"site": "x"}]
    hashes = {make_example(**one).content_hash() for one in known}
    assert len(hashes - {SINCE_THE_FIRST}) == len(known)
    assert make_example(age=63).content_hash() == make_example(age=63.0).content_hash()


def test_a_store_from_before_is_read_with_nothing_known(tmp_path: Path, make_example: Any) -> None:
    import pyarrow.parquet as parquet

    write_examples(tmp_path, [make_example()])
    (shard,) = tmp_path.glob("*.parquet")
    table = parquet.read_table(shard)

    def without(*names: str) -> None:
        parquet.write_table(table.drop_columns(list(names)), shard)
        described = json.loads((tmp_path / "dataset.json").read_text())
        described["shards"][0]["sha256"] = file_hash(shard)
        (tmp_path / "dataset.json").write_text(json.dumps(described))

    without(*LATER)
    assert list(read_examples(tmp_path)) == [make_example()]
    assert read_examples(tmp_path).at([0]) == [make_example()]
    without("view")
    with pytest.raises(DataError, match="other columns"):
        read_examples(tmp_path)


def test_datasets_reads_a_store_by_itself(tmp_path: Path, make_example: Any) -> None:
    from datasets import load_dataset

    write_examples(tmp_path / "store", [make_example()])
    shards = str(tmp_path / "store" / "train-*.parquet")
    (row,) = load_dataset("parquet", data_files=shards, split="train", streaming=True)
    assert from_row(row) == make_example()


def test_overlap_is_told_by_count_and_never_by_name(tmp_path: Path, make_example: Any) -> None:
    some = [
        make_example(id=f"{n}-{split}", subject=f"patient-{n}", split=split)
        for n in range(3)
        for split in ("train", "test")
    ]
    with pytest.raises(DataError, match="train and test: 3") as refused:
        write_examples(tmp_path, some)
    assert "patient-" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"answer": " "}, "no answer"),
        ({"split": "val"}, "split is none of"),
        ({"images": ()}, "no image"),
        ({"images": ("../a.png",)}, "not relative"),
        ({"images": ("/a.png",)}, "not relative"),
        ({"images": ("a.png",) * 5, "sizes": ((40, 40),) * 5}, "more than 4 images"),
        ({"task": Task.VQA, "question": "<|im_end|>"}, "nothing but special tokens"),
        ({"images": ("a.png", "b.png")}, "not one size for each image"),
        ({"roles": ("now",)}, "role is none of"),
        ({"task": Task.VQA}, "question without a text"),
        ({"question": "Is it?"}, "report section with one"),
        ({"regions": (("mass", (3, 3, 3, 9)),)}, "without area"),
        ({"structures": (("heart", (0, 0, 41, 9)),)}, "beyond its film"),
        ({"steps": (ReasoningTarget("x", ((1, (0, 0, 2, 2)),)),)}, "there is none of"),
        ({"sex": "female"}, "sex is none of F, M, O"),
        ({"age": -1}, "age is not from 0 to 130"),
        ({"age": 131}, "age is not from 0 to 130"),
        ({"age": float("nan")}, "age is not from 0 to 130"),
        ({"age": float("inf")}, "age is not from 0 to 130"),
        ({"site": " "}, "site is blank"),
        ({"roles": ("prior",)}, "first image is not the current one"),
        ({"roles": ("lateral",)}, "first image is not the current one"),
        ({"steps": (ReasoningTarget("The heart is large."),)}, "steps for an answer alone"),
        ({"labels": ("mass", " ")}, "without a text"),
        ({"regions": ((" ", (3, 3, 9, 9)),)}, "without a text"),
        ({"regions_by_image": ((("", (3, 3, 9, 9)),),)}, "without a text"),
        ({"structures": (("", (3, 3, 9, 9)),)}, "without a text"),
        ({"mode": Mode.THINK, "steps": (ReasoningTarget(" "),)}, "without a text"),
        ({"grounded_sentences": (ReasoningTarget(""),)}, "without a text"),
        ({"answer": "Clear.\0"}, "NUL character"),
        ({"regions": (("ma\0ss", (3, 3, 9, 9)),)}, "NUL character"),
        ({"device": "Maker \ud800"}, "lone surrogate"),
    ],
)
def test_unsound_examples_are_refused_with_the_fault(
    tmp_path: Path, make_example: Any, changes: dict[str, Any], fault: str
) -> None:
    with pytest.raises(DataError, match=fault):
        write_examples(tmp_path, [make_example(**changes)])
    assert not (tmp_path / "dataset.json").exists()


def test_two_examples_of_one_id_are_refused(tmp_path: Path, make_example: Any) -> None:
    with pytest.raises(DataError, match="have one id: one"):
        write_examples(tmp_path, [make_example(), make_example()])


def test_a_failed_write_leaves_the_old_store(tmp_path: Path, make_example: Any) -> None:
    write_examples(tmp_path, [make_example()])
    with pytest.raises(DataError):
        write_examples(tmp_path, [make_example(id="two"), make_example(answer="")])
    assert [e.id for e in read_examples(tmp_path)] == ["one"]


def test_a_changed_shard_is_not_read(tmp_path: Path, make_example: Any) -> None:
    write_examples(tmp_path, [make_example()])
    (shard,) = tmp_path.glob("*.parquet")
    shard.write_bytes(shard.read_bytes() + b" ")
    with pytest.raises(DataError, match="hash differs"):
        read_examples(tmp_path)
    shard.unlink()
    with pytest.raises(DataError, match="is missing"):
        read_examples(tmp_path)


def test_other_versions_and_folders_are_refused_with_advice(
    tmp_path: Path, make_example: Any
) -> None:
    with pytest.raises(DataError, match="deepmedix data prepare"):
        read_examples(tmp_path)
    write_examples(tmp_path, [make_example()])
    with pytest.raises(DataError, match=r"no split 'test'; it has train"):
        read_examples(tmp_path, "test")
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(DataError, match="version 99"):
        read_description(tmp_path)
    path.write_text("{")
    with pytest.raises(DataError, match="Prepare the data again"):
        read_description(tmp_path)


def test_other_peoples_parquet_files_are_left_alone(tmp_path: Path, make_example: Any) -> None:
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"theirs")
    with pytest.raises(DataError, match="not this store's"):
        write_examples(tmp_path, [make_example()])
    assert (tmp_path / "train-00000-of-00001.parquet").read_bytes() == b"theirs"


def test_a_write_that_was_killed_between_its_shards_can_be_done_again(
    tmp_path: Path, make_example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [make_example(id=str(n)) for n in range(3)]

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("training.data.store.writing.write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            write_examples(tmp_path, some, examples_per_shard=2)
    assert next(tmp_path.glob("*.parquet"))
    assert not (tmp_path / "dataset.json").exists()
    write_examples(tmp_path, some[:2], examples_per_shard=2)
    assert [e.id for e in read_examples(tmp_path)] == ["0", "1"]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["dataset.json", "train-00000-of-00001.parquet"]


def test_nothing_to_write_is_told_with_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image missing: 4"):
        write_examples(tmp_path, [], remarks={"image missing": 4})
