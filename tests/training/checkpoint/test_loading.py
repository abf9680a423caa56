"""A model is loaded with every weight that it was saved with, or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

from training.checkpoint import CheckpointError
from training.checkpoint.merge import load_whole

EMBEDDINGS = "model.embed_tokens.weight"
Weights = dict[str, torch.Tensor]


def changed(stages: Path, folder: Path, change: Callable[[Weights], Weights]) -> Path:
    shutil.copytree(stages / "sft", folder)
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return folder


def without(weights: Weights, name: str) -> Weights:
    return {key: weight for key, weight in weights.items() if key != name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: without(w, "model.norm.weight"), r"missing weights: \S*norm\.weight\)"),
        (lambda w: without(w, EMBEDDINGS), "missing weights: .*embed_tokens"),
        (lambda w: {f"foo.{name}": t for name, t in w.items()}, r"and \d+ more; .*no place for"),
        (lambda w: w | {"model.norm.weight": torch.ones(3)}, "another shape: .*norm"),
        (lambda w: w | {"extra.weight": torch.ones(3)}, r"no place for: extra\.weight"),
    ],
    ids=["one missing", "tied ones missing", "all misnamed", "another shape", "one too many"],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    stages: Path, tmp_path: Path, change: Callable[[Weights], Weights], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        load_whole(changed(stages, tmp_path / "model", change))


def as_the_model_names_them(weights: Weights) -> Weights:
    return {
        name.replace("visual.", "model.visual.", 1)
        if name.startswith("visual.")
        else name.replace("model.", "model.language_model.", 1): weight
        for name, weight in weights.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        as_the_model_names_them,
        lambda w: without(w, EMBEDDINGS) | {"lm_head.weight": w[EMBEDDINGS]},
        lambda w: w | {"lm_head.weight": w[EMBEDDINGS].clone()},
    ],
    ids=["another layout", "the other of tied ones", "both of tied ones"],
)
def test_other_layouts_of_the_same_weights_are_the_same_model(
    stages: Path, tmp_path: Path, change: Callable[[Weights], Weights]
) -> None:
    known = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        stages / "sft", dtype=torch.float32
    ).state_dict()
    loaded = load_whole(changed(stages, tmp_path / "model", change), dtype="float32").state_dict()
    assert known.keys() == loaded.keys()
    assert all(torch.equal(known[name], loaded[name]) for name in known)


def test_a_file_of_weights_that_was_cut_off_is_told_in_words(stages: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stages / "sft", tmp_path / "model"))
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"No model can be loaded from .* is damaged"):
        load_whole(folder)


def test_a_config_that_the_library_trips_over_is_told_in_words(
    stages: Path, tmp_path: Path
) -> None:
    file = Path(shutil.copytree(stages / "sft", tmp_path / "model")) / "config.json"
    config = json.loads(file.read_text())
    config["text_config"]["hidden_size"] = "x"
    file.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"No model can be loaded from .*hidden_size"):
        load_whole(file.parent)
