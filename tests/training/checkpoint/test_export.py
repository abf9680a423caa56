"""What is exported verifies, loads, and is refused once it is no longer what was exported."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    GenerationConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from service.engine import (
    EngineSettings,
    ManifestError,
    MeasuredResult,
    VllmEngine,
    hash_files,
    load_manifest,
)
from service.settings import EMBEDDED_CHECKPOINT
from training.checkpoint import (
    CheckpointError,
    describe_checkpoint,
    embedded_identity,
    export_checkpoint,
    follow_lineage,
)
from training.checkpoint.identity import identity_like
from training.checkpoint.verify import verify_checkpoint


def change_one_number(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(iter(sorted(weights)))
    weights[name] = weights[name].clone()
    weights[name].view(-1)[0] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def test_an_exported_checkpoint_verifies_and_every_weight_finds_its_place(exported: Path) -> None:
    verified = verify_checkpoint(str(exported), load=True)
    assert verified.manifest.stage == "sft"
    assert verified.manifest.files.keys() >= {"model.safetensors", "chat_template.jinja"}
    assert verified.parameters is not None
    assert verified.parameters > 10_000


def test_transformers_loads_the_model_that_was_trained(exported: Path, stages: Path) -> None:
    trained = Qwen2_5_VLForConditionalGeneration.from_pretrained(stages / "sft").state_dict()
    loaded = Qwen2_5_VLForConditionalGeneration.from_pretrained(exported).state_dict()
    assert trained.keys() == loaded.keys()
    assert all(torch.equal(trained[n].bfloat16(), loaded[n].bfloat16()) for n in trained)
    assert (
        AutoTokenizer.from_pretrained(exported).chat_template == embedded_identity().chat_template
    )
    processor = AutoImageProcessor.from_pretrained(exported, backend="pil")
    assert processor.patch_size == embedded_identity().pixels.patch_size


def test_the_manifest_holds_every_stage_with_config_data_code_and_metrics(exported: Path) -> None:
    manifest, _ = load_manifest(str(exported))
    assert manifest.base is None
    (record,) = manifest.lineage
    assert record.config["batch_size"] == 4
    assert record.data_hash == "ab" * 32
    assert record.code_revision == "cd" * 20
    assert record.metrics == {"loss": 1.25}


def test_the_service_refuses_a_tampered_weight_and_names_the_file(copy: Path) -> None:
    change_one_number(copy)
    with pytest.raises(ManifestError, match=r"model\.safetensors is not the file") as refused:
        VllmEngine(EngineSettings(str(copy)))
    with pytest.raises(CheckpointError) as verdict:
        verify_checkpoint(str(copy))
    assert str(verdict.value) == str(refused.value)


def test_the_service_refuses_another_manifest_than_the_one_that_is_pinned(exported: Path) -> None:
    digest = load_manifest(str(exported))[1]
    engine = VllmEngine(EngineSettings(str(exported), manifest_sha256=digest))
    assert engine.manifest_sha256 == digest
    with pytest.raises(ManifestError, match="DEEPMEDIX_MANIFEST_SHA256"):
        VllmEngine(EngineSettings(str(exported), manifest_sha256="0" * 64))


def test_a_template_without_image_places_is_refused(copy: Path) -> None:
    lineage = follow_lineage(copy).records
    (copy / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    describe_checkpoint(copy, lineage=lineage, results=[])
    with pytest.raises(CheckpointError, match="chat template"):
        verify_checkpoint(str(copy))


def test_a_weight_that_is_not_finite_is_named_when_the_model_is_loaded(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.endswith("norm.weight"))
    weights[name] = weights[name] * float("nan")
    lineage = follow_lineage(copy).records
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    describe_checkpoint(copy, lineage=lineage, results=[])
    verify_checkpoint(str(copy))
    with pytest.raises(CheckpointError, match=r"not finite: .*norm\.weight"):
        verify_checkpoint(str(copy), load=True)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer.json", {}, "No tokenizer can be loaded"),
        ("config.json", {"text_config": {"hidden_size": "x"}}, "field 'hidden_size'"),
    ],
)
def test_a_file_that_a_library_trips_over_is_told_in_words(
    copy: Path, name: str, content: dict[str, Any], said: str
) -> None:
    file, manifest = copy / name, copy / "deepmedix.json"
    if content:
        content = json.loads(file.read_text()) | content
    file.write_text(json.dumps(content))
    told = json.loads(manifest.read_text()) | {"files": hash_files(copy)}
    manifest.write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=said):
        verify_checkpoint(str(copy), load=True)


def test_a_failed_export_leaves_what_was_there(copy: Path, stages: Path) -> None:
    before = load_manifest(str(copy))
    pixels = embedded_identity().pixels.model_copy(update={"patch_size": 16})
    with pytest.raises(CheckpointError, match="patch_size"):
        export_checkpoint(
            stages / "sft",
            copy,
            lineage=follow_lineage(copy).records,
            identity=replace(embedded_identity(), pixels=pixels),
        )
    assert load_manifest(str(copy)) == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_results_stand_in_manifest_and_card(copy: Path) -> None:
    result = MeasuredResult(
        name="VQA accuracy", value=0.5, interval=(0.4, 0.6), n=8, data="noise", command="again"
    )
    describe_checkpoint(
        copy,
        lineage=follow_lineage(copy).records,
        results=[result],
        showcase="## One film\n\nSeen.",
    )
    assert load_manifest(str(copy))[0].results == (result,)
    card = (copy / "README.md").read_text()
    assert "| VQA accuracy | 0.500 | 0.400 to 0.600 | 8 |" in card
    assert "## One film\n\nSeen.\n" in card


def test_another_manifests_conventions_are_baked_into_the_processor(
    stages: Path, tmp_path: Path
) -> None:
    known, _ = load_manifest("Qika/DeepMedix-R1")
    short = known.model_copy(
        update={"sampling": known.sampling.model_copy(update={"max_tokens": 256})}
    )
    identity = identity_like(short, name="mine", base="Qwen/Qwen2.5-VL-7B-Instruct")
    out = tmp_path / "mine"
    export_checkpoint(
        stages / "sft", out, lineage=follow_lineage(stages / "sft").records, identity=identity
    )
    manifest = verify_checkpoint(str(out)).manifest
    assert manifest.conventions == known.conventions
    assert manifest.base == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert not manifest.pixels.override_processor
    sampling = GenerationConfig.from_pretrained(out)
    assert (sampling.do_sample, sampling.temperature) == (True, 0.6)
    assert "base_model: Qwen/Qwen2.5-VL-7B-Instruct" in (out / "README.md").read_text()


def test_the_shipped_checkpoint_exports_to_itself(tmp_path: Path) -> None:
    # So what the engine's tests say of the shipped one holds of whatever is exported.
    lineage = follow_lineage(EMBEDDED_CHECKPOINT).records
    export_checkpoint(EMBEDDED_CHECKPOINT, tmp_path / "again", lineage=lineage)
    assert hash_files(tmp_path / "again") == hash_files(EMBEDDED_CHECKPOINT)
