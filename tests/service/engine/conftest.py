from pathlib import Path

import pytest

from service.engine import Manifest, Pixels, SamplingDefaults, load_manifest, write_manifest
from tests.service.engine.checkpoint_files import MAX_PIXELS, MIN_PIXELS, write_json


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    """Manifest of a small checkpoint, without the digests of any file."""
    conventions = load_manifest("Qika/DeepMedix-R1")[0].conventions
    return Manifest(
        name="small",
        revision="1",
        stage="sft",
        license="Apache-2.0",
        conventions=conventions,
        pixels=Pixels(min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS),
        sampling=SamplingDefaults(temperature=0, max_tokens=512),
        max_images=4,
    )


@pytest.fixture
def bare_folder(tmp_path: Path) -> Path:
    """Folder with all files of a checkpoint but the manifest; the weights are no weights."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    config = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "text_config": {"max_position_embeddings": 2048},
        "vision_config": {"patch_size": 14, "spatial_merge_size": 2},
    }
    processor = {
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        "patch_size": 14,
        "merge_size": 2,
    }
    write_json(folder / "config.json", config)
    write_json(folder / "preprocessor_config.json", processor)
    write_json(folder / "tokenizer.json", {})
    write_json(folder / "tokenizer_config.json", {})
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("A model card may change at any time.")
    return folder


@pytest.fixture
def folder(bare_folder: Path, manifest: Manifest) -> Path:
    """A whole checkpoint folder."""
    write_manifest(bare_folder, manifest)
    return bare_folder
