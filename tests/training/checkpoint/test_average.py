"""Weights between a stage's start and its end."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration
from typer.testing import CliRunner

from tests.training.checkpoint.conftest import write_record
from training.checkpoint import CheckpointError, follow_lineage
from training.checkpoint.average import average_with_start
from training.checkpoint.cli import checkpoint


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32
    ).state_dict()


@pytest.fixture(scope="module")
def moved(stages: Path) -> Path:
    """A stage that moved every weight of ``sft`` by one."""
    folder = stages / "moved"
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(stages / "sft", dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    shutil.copytree(stages / "sft", folder)
    model.save_pretrained(folder)
    write_record(folder, "grpo", str(stages / "sft"))
    return folder


def test_every_weight_is_as_far_from_the_start_as_the_share_says(
    stages: Path, moved: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(checkpoint, ["average", str(moved), "--out", str(out), "--share=.25"])
    assert done.exit_code == 0, done.output
    mode = (out / "model.safetensors").stat().st_mode
    assert mode == (out / "config.json").stat().st_mode
    before, after = weights(stages / "sft"), weights(out)
    assert all(torch.allclose(after[name] - before[name], torch.tensor(0.25)) for name in before)


def test_the_lineage_goes_through_the_stage_and_back_to_its_start(
    moved: Path, tmp_path: Path
) -> None:
    average_with_start(moved, tmp_path / "out", "ef" * 20)
    *_, stage, average = follow_lineage(tmp_path / "out").records
    assert (stage.stage, average.stage) == ("grpo", "average")
    assert average.config["share"] == 0.5
    assert average.code_revision == "ef" * 20


def test_other_weights_than_the_stage_started_from_are_not_mixed_in(
    moved: Path, noisy: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="grpo started from other weights than"):
        average_with_start(moved, tmp_path / "out", "", start=str(noisy))
    trained = Path(shutil.copytree(moved, tmp_path / "trained"))
    start = Path(shutil.copytree(noisy, tmp_path / "start"))
    shutil.copyfile(moved / "model.safetensors", start / "model.safetensors")
    write_record(trained, "grpo", str(start))
    shutil.copyfile(noisy / "model.safetensors", start / "model.safetensors")
    with pytest.raises(CheckpointError, match="grpo started from other weights than"):
        average_with_start(trained, tmp_path / "out", "")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_averaged_is_refused_and_nothing_written(
    stages: Path, moved: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match="between 0 and 1"):
        average_with_start(moved, out, "", share=1.0)
    with pytest.raises(CheckpointError, match="merge them first"):
        average_with_start(stages / "cold_start", out, "")
    with pytest.raises(CheckpointError, match="No model can be loaded"):
        average_with_start(moved, out, "", start=str(tmp_path / "nowhere"))
    assert not out.exists()
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(CheckpointError, match="not empty"):
        average_with_start(moved, out, "")
