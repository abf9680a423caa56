"""The chain of stages is followed from the last output back to what the first started from."""

import shutil
from pathlib import Path

import pytest

from service.engine import LineageRecord
from tests.training.checkpoint.conftest import write_record
from training.checkpoint import CheckpointError, follow_lineage
from training.checkpoint.lineage import told_lineage, weights_hash


def test_stages_are_followed_back_through_their_configs(stages: Path) -> None:
    lineage = follow_lineage(stages / "cold_start")
    assert [record.stage for record in lineage.records] == ["sft", "cold_start"]
    assert lineage.base == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert lineage.manifest == "embedded"


def test_an_exported_checkpoint_passes_its_lineage_on(exported: Path, tmp_path: Path) -> None:
    write_record(tmp_path, "grpo", str(exported))
    lineage = follow_lineage(tmp_path)
    assert [record.stage for record in lineage.records] == ["sft", "grpo"]
    assert lineage.parent is not None
    assert lineage.parent.name == "deepmedix-r1-embedded"


def test_a_checkpoint_that_does_not_verify_passes_nothing_on(
    exported: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(exported, changed)
    with (changed / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    write_record(tmp_path, "grpo", str(changed))
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        follow_lineage(tmp_path)


def a_stage_with_weights(folder: Path, stage: str, start: Path | None, weights: bytes) -> Path:
    """A stage's output with weights, and a record that tells of both ends of it."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights)
    record = LineageRecord(
        stage=stage,
        config={"model": {"start": str(start) if start else ""}},
        start_hash=weights_hash(start) if start else "",
        weights_hash=weights_hash(folder),
    )
    (folder / "stage.json").write_text(record.model_dump_json())
    return folder


def test_weights_that_are_not_those_a_stage_left_are_refused(tmp_path: Path) -> None:
    sft = a_stage_with_weights(tmp_path / "sft", "sft", None, b"one")
    grpo = a_stage_with_weights(tmp_path / "grpo", "grpo", sft, b"two")
    assert len(follow_lineage(grpo).records) == 2
    (grpo / "model.safetensors").write_bytes(b"three")
    for lineage in (lambda: follow_lineage(grpo), lambda: told_lineage([sft, grpo])):
        with pytest.raises(CheckpointError, match="other weights than the stage grpo left"):
            lineage()


def test_a_start_that_was_trained_anew_since_is_refused(tmp_path: Path) -> None:
    sft = a_stage_with_weights(tmp_path / "sft", "sft", None, b"one")
    grpo = a_stage_with_weights(tmp_path / "grpo", "grpo", sft, b"two")
    shutil.rmtree(sft)
    a_stage_with_weights(sft, "sft", None, b"another seed")
    with pytest.raises(CheckpointError, match="grpo started from other weights than"):
        follow_lineage(grpo)


def test_a_stages_record_in_an_exported_checkpoint_is_named(exported: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(exported, both)
    write_record(both, "sft", None)
    with pytest.raises(CheckpointError, match=r"stage\.json"):
        follow_lineage(both)


def test_a_start_from_nothing_has_no_base(stages: Path, tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    (tmp_path / "sft").mkdir()
    write_record(tmp_path / "sft", "sft", str(tmp_path / "start"))
    assert follow_lineage(tmp_path / "sft").base is None


def test_a_stage_that_has_not_finished_has_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not the output of a finished stage"):
        follow_lineage(tmp_path)


def test_a_broken_chain_is_named_with_the_way_out(stages: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(stages / "cold_start", tmp_path / "moved"))
    write_record(moved, "cold_start", str(tmp_path / "gone"))
    with pytest.raises(CheckpointError, match=r"cold_start started from .*gone.*--after"):
        follow_lineage(moved)


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"stage\.json is not the record"):
        follow_lineage(tmp_path)


def test_a_stage_that_names_itself_is_refused(tmp_path: Path) -> None:
    write_record(tmp_path, "sft", str(tmp_path))
    with pytest.raises(CheckpointError, match="own output"):
        follow_lineage(tmp_path)


@pytest.mark.parametrize("start", ["runs/7b/cold_start", "runs/sft", "~/runs/sft", "./sft", "sft"])
def test_a_relative_start_that_is_not_here_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path, "grpo", start, output="runs/grpo")
    with pytest.raises(CheckpointError, match=r"grpo started from .*(sft|cold_start).*--after"):
        follow_lineage(tmp_path)


def test_earlier_stages_that_are_named_need_not_lie_where_the_configs_say(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    starts = ("Qwen/Qwen2.5-VL-7B-Instruct", str(gone / "sft"), "runs/7b/cold_start")
    folders = [tmp_path / name for name in ("sft", "cold_start", "grpo")]
    for folder, start in zip(folders, starts, strict=True):
        folder.mkdir()
        write_record(folder, folder.name, start)
    lineage = told_lineage(folders)
    assert [record.stage for record in lineage.records] == ["sft", "cold_start", "grpo"]
    assert (lineage.base, lineage.manifest) == ("Qwen/Qwen2.5-VL-7B-Instruct", "embedded")
    write_record(folders[0], "sft", str(gone / "base"))
    assert told_lineage(folders).base is None
    with pytest.raises(CheckpointError, match="not the output of a finished stage"):
        told_lineage([gone, *folders])


def test_an_exported_checkpoint_may_be_the_first_that_is_named(
    exported: Path, tmp_path: Path
) -> None:
    write_record(tmp_path, "grpo", "/gone/away")
    lineage = told_lineage([exported, tmp_path])
    assert [record.stage for record in lineage.records] == ["sft", "grpo"]
    assert lineage.parent is not None
    write_record(tmp_path, "grpo", str(exported))
    started = told_lineage([tmp_path])
    assert [record.stage for record in started.records] == ["sft", "grpo"]
    assert started.parent == lineage.parent


def test_a_manifest_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "deepmedix.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"deepmedix\.json is not a usable JSON file"):
        follow_lineage(tmp_path)
