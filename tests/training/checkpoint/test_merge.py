"""Merged adapters answer as adapters on their base do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

from tests.training.checkpoint.conftest import write_record
from training.checkpoint import CheckpointError, export_checkpoint, follow_lineage, is_finished
from training.checkpoint.lineage import read_record, weights_hash
from training.checkpoint.merge import merge_adapter
from training.checkpoint.verify import verify_checkpoint

TOKENS = torch.tensor([[5, 17, 300, 42, 911, 7]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS).logits


@pytest.fixture(scope="module")
def merged(stages: Path) -> Path:
    folder = stages / "merged"
    merge_adapter(stages / "cold_start", folder, dtype="float32")
    return folder


def test_merged_adapters_give_the_logits_of_base_and_adapters(stages: Path, merged: Path) -> None:
    base = Qwen2_5_VLForConditionalGeneration.from_pretrained(stages / "sft", dtype=torch.float32)
    bare = logits(base)
    adapted = logits(PeftModel.from_pretrained(base, str(stages / "cold_start")))
    whole = Qwen2_5_VLForConditionalGeneration.from_pretrained(merged, dtype=torch.float32)
    assert not torch.allclose(bare, adapted, atol=1e-2)
    assert torch.allclose(logits(whole), adapted, atol=1e-4)


def test_a_merged_model_is_the_stages_output_for_the_next_to_start_from(
    stages: Path, merged: Path
) -> None:
    assert is_finished(merged)
    assert not (merged / "adapter_config.json").exists()
    assert [r.stage for r in follow_lineage(merged).records] == ["sft", "cold_start"]


def test_a_merged_models_record_is_of_its_own_weights_and_names_the_adapters(
    stages: Path, merged: Path
) -> None:
    adapters, whole = (read_record(folder) for folder in (stages / "cold_start", merged))
    assert whole.weights_hash == weights_hash(merged) != adapters.weights_hash
    assert whole.config["merged"] == {
        "adapters_hash": adapters.weights_hash,
        "dtype": "float32",
    }
    kept = whole.model_copy(
        update={"config": adapters.config, "weights_hash": adapters.weights_hash}
    )
    assert kept == adapters


@pytest.mark.parametrize("named", [True, False])
def test_adapters_are_not_laid_over_other_weights_than_they_were_trained_on(
    stages: Path, noisy: Path, tmp_path: Path, named: bool
) -> None:
    adapters = Path(shutil.copytree(stages / "cold_start", tmp_path / "adapters"))
    if not named:
        config = json.loads((adapters / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = str(noisy)
        (adapters / "adapter_config.json").write_text(json.dumps(config))
    base = str(noisy) if named else None
    for write in (
        lambda out: merge_adapter(adapters, out, base=base),
        lambda out: export_checkpoint(adapters, out, base=base, lineage=[read_record(adapters)]),
    ):
        with pytest.raises(CheckpointError, match=r"cold_start started from other weights than"):
            write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_adapters_that_are_not_those_the_stage_left_are_not_merged(
    stages: Path, tmp_path: Path
) -> None:
    adapters = adapters_with(
        stages, tmp_path / "adapters", lambda w: {name: 2 * t for name, t in w.items()}
    )
    with pytest.raises(CheckpointError, match="other weights than the stage cold_start left"):
        merge_adapter(adapters, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_base_of_adapters_is_not_replaced_by_what_is_made_of_them(
    stages: Path, exported: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(exported, tmp_path / "base"))
    before = weights_hash(base)
    lineage = follow_lineage(stages / "cold_start").records
    for out in (base, tmp_path):
        with pytest.raises(CheckpointError, match="would remove the base of the adapters"):
            export_checkpoint(stages / "cold_start", out, base=str(base), lineage=lineage)
    with pytest.raises(CheckpointError, match="not empty"):
        merge_adapter(stages / "cold_start", base, base=str(base))
    assert weights_hash(base) == before


def test_adapters_are_merged_on_export(stages: Path, merged: Path, tmp_path: Path) -> None:
    lineage = follow_lineage(stages / "cold_start").records
    export_checkpoint(stages / "cold_start", tmp_path / "out", lineage=lineage, dtype="float32")
    verify_checkpoint(str(tmp_path / "out"), load=True)
    one, other = (
        Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).state_dict()
        for folder in (tmp_path / "out", merged)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_adapters_on_adapters_are_merged_one_after_another(
    stages: Path, merged: Path, tmp_path: Path
) -> None:
    # The same adapters trained on top of themselves move the base twice.
    second = Path(shutil.copytree(stages / "cold_start", tmp_path / "second"))
    config = json.loads((second / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(stages / "cold_start")
    (second / "adapter_config.json").write_text(json.dumps(config))
    write_record(second, "grpo", str(stages / "cold_start"))
    merge_adapter(second, tmp_path / "twice", dtype="float32")
    states = [
        Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).state_dict()
        for folder in (stages / "sft", merged, tmp_path / "twice")
    ]
    name = next(
        name for name in states[0] if name.endswith("language_model.layers.0.mlp.down_proj.weight")
    )
    base, once, twice = (state[name] for state in states)
    assert torch.allclose(twice - base, 2 * (once - base), atol=1e-5)


def test_a_base_that_does_not_fit_is_named_with_advice(stages: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"No model can be loaded from .*nowhere"):
        merge_adapter(stages / "cold_start", tmp_path / "out", base=str(tmp_path / "nowhere"))


def test_a_whole_model_has_nothing_to_merge(stages: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to merge"):
        merge_adapter(stages / "sft", tmp_path / "out")


def test_adapters_trained_over_adapters_that_they_do_not_name_are_refused(
    stages: Path, tmp_path: Path
) -> None:
    second = Path(shutil.copytree(stages / "cold_start", tmp_path / "second"))
    write_record(second, "grpo", str(stages / "cold_start"))  # its base is the first stage's still
    with pytest.raises(CheckpointError, match=r"would be lost.*checkpoint merge"):
        merge_adapter(second, tmp_path / "out")


def adapters_with(
    stages: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> Path:
    """The cold start's adapters, their tensors changed."""
    shutil.copytree(stages / "cold_start", folder)
    file = folder / "adapter_model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda w: {name.replace("language_model", "text"): t for name, t in w.items()},
        lambda w: dict(sorted(w.items())[2:]),
        lambda w: w | {"base_model.model.model.extra.lora_A.weight": torch.zeros(4, 32)},
    ],
    ids=["misnamed", "in part", "one too many"],
)
def test_adapters_that_do_not_fit_weight_by_weight_are_refused(
    stages: Path, tmp_path: Path, change: Callable[..., dict[str, torch.Tensor]]
) -> None:
    adapters = adapters_with(stages, tmp_path / "adapters", change)
    with pytest.raises(CheckpointError, match=r"do not fit at .*lora_A.*--base"):
        merge_adapter(adapters, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_adapters_are_told_in_words(stages: Path, tmp_path: Path) -> None:
    adapters = Path(shutil.copytree(stages / "cold_start", tmp_path / "adapters"))
    file = adapters / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"adapters in .* are damaged"):
        merge_adapter(adapters, tmp_path / "out")


@pytest.mark.parametrize("content", ["[]", "5"])
@pytest.mark.parametrize("named", [True, False])
def test_an_adapter_config_of_another_form_is_told_in_words(
    stages: Path, tmp_path: Path, content: str, named: bool
) -> None:
    adapters = Path(shutil.copytree(stages / "cold_start", tmp_path / "adapters"))
    (adapters / "adapter_config.json").write_text(content)
    said = "cannot be merged into" if named else "is not a JSON object"
    with pytest.raises(CheckpointError, match=said):
        merge_adapter(adapters, tmp_path / "out", base=str(stages / "sft") if named else None)
