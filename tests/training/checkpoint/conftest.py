"""Outputs of two stages, made by hand: a whole model, and LoRA adapters trained on it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from tests.training.stages.conftest import write_tiny_model
from training.architecture import build_image_processor
from training.checkpoint.lineage import weights_hash


def write_record(folder: Path, stage: str, start: str | None, **settings: Any) -> None:
    """A stage's record of the weights that lie in the folder now, and in its start where it is one.

    Beside a start goes the name of the manifest.
    """
    model = {"start": start, "manifest": "embedded"} if start else {}
    record = {
        "stage": stage,
        "config": {"seed": 3, "model": model, **settings},
        "data_hash": "ab" * 32,
        "code_revision": "cd" * 20,
        "start_hash": weights_hash(Path(start)) if start else "",
        "weights_hash": weights_hash(folder),
        "metrics": {"loss": 1.25},
    }
    (folder / "stage.json").write_text(json.dumps(record))


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``sft`` (a whole model) and ``cold_start`` (adapters on it)."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("stages")
    sft, cold = folder / "sft", folder / "cold_start"
    write_tiny_model(sft)
    write_record(sft, "sft", "Qwen/Qwen2.5-VL-7B-Instruct", batch_size=4)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(sft, dtype=torch.float32)
    adapted = get_peft_model(
        model,
        LoraConfig(r=4, lora_alpha=8, target_modules=r".*language_model.*\.(q_proj|down_proj)"),
    )
    torch.manual_seed(1)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:  # zero at the start of training, and then it would teach nothing
            torch.nn.init.normal_(weight, std=0.2)
    adapted.save_pretrained(str(cold))
    AutoTokenizer.from_pretrained(sft).save_pretrained(cold)
    build_image_processor().save_pretrained(cold)
    write_record(cold, "cold_start", str(sft))
    return folder


@pytest.fixture
def noisy(stages: Path, tmp_path: Path) -> Path:
    """Weights of the shape of ``sft``'s that no stage started from."""
    folder = Path(shutil.copytree(stages / "sft", tmp_path / "noisy"))
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(2)
    moved = {name: weight + 0.1 * torch.randn_like(weight) for name, weight in weights.items()}
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def exported(stages: Path) -> Path:
    """The first stage's output as a checkpoint; not to be changed."""
    from training.checkpoint import embedded_identity, export_checkpoint, follow_lineage

    folder = stages.parent / f"{stages.name}-exported"
    lineage = follow_lineage(stages / "sft")
    export_checkpoint(stages / "sft", folder, lineage=lineage.records, identity=embedded_identity())
    return folder
