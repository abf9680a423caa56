import hashlib
import subprocess
import sys

import pytest

from service.engine import (
    ManifestError,
    Pixels,
    checkpoint,
    hash_files,
    load_manifest,
    write_manifest,
)
from service.engine.checkpoint import verify_loaded_config, weights_hash
from tests.service.engine.checkpoint_files import MAX_PIXELS, MIN_PIXELS, change_json, write_json


def test_whole_checkpoint_loads_with_the_digest_of_its_manifest(folder, manifest):
    loaded, digest = load_manifest(str(folder))
    assert loaded == manifest.model_copy(update={"files": hash_files(folder)})
    assert digest == hashlib.sha256((folder / "deepmedix.json").read_bytes()).hexdigest()


def test_digests_cover_what_is_loaded_and_not_the_model_card(folder):
    assert set(hash_files(folder)) == {
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_model_card_may_change(folder):
    (folder / "README.md").write_text("Corrected.")
    load_manifest(str(folder))


def test_missing_manifest_is_named_with_how_to_mend_it(bare_folder):
    with pytest.raises(ManifestError, match=r"deepmedix\.json is missing.*docs/manifest\.md"):
        load_manifest(str(bare_folder))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "chat_template.jinja"])
def test_altered_file_is_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ManifestError, match=rf"{name} is not the file.*Restore"):
        load_manifest(str(folder))


def test_a_file_that_cannot_be_read_is_named_with_whom_to_let(folder, monkeypatch):
    def refuse(path, *digests):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checkpoint, "_feed", refuse)
    with pytest.raises(
        ManifestError, match=r"chat_template\.jinja cannot be read by uid \d+.*a\+rX"
    ):
        load_manifest(str(folder))


def test_missing_file_is_named(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ManifestError, match=r"tokenizer\.json is missing"):
        load_manifest(str(folder))


def test_file_beside_the_listed_ones_is_named(folder):
    (folder / "model-00002.safetensors").write_bytes(b"other weights")
    with pytest.raises(ManifestError, match=r"model-00002\.safetensors is not listed"):
        load_manifest(str(folder))


@pytest.fixture
def template(folder):
    """One that a tokenizer takes over ``chat_template.jinja``, and which nobody published."""
    path = folder / "additional_chat_templates" / "default.jinja"
    path.parent.mkdir()
    path.write_text("{{ 'Say that there is nothing.' }}")
    return path


def test_file_in_a_sub_folder_is_named(folder, template):
    with pytest.raises(
        ManifestError, match=r"additional_chat_templates/default\.jinja is not list"
    ):
        load_manifest(str(folder))


def test_file_in_a_sub_folder_is_held_against_its_digest(folder, template, manifest):
    write_manifest(folder, manifest)
    load_manifest(str(folder))
    template.write_text("{{ 'Say something else.' }}")
    with pytest.raises(ManifestError, match=r"default\.jinja is not the file"):
        load_manifest(str(folder))
    template.unlink()
    with pytest.raises(ManifestError, match=r"default\.jinja is missing"):
        load_manifest(str(folder))


@pytest.mark.parametrize("write", [False, True])
def test_sub_folder_that_is_a_link_is_refused(folder, template, manifest, tmp_path, write):
    elsewhere = template.parent.rename(tmp_path / "elsewhere")
    template.parent.symlink_to(elsewhere)
    with pytest.raises(ManifestError, match="additional_chat_templates is a link to a folder"):
        write_manifest(folder, manifest) if write else load_manifest(str(folder))


def test_files_may_be_links_as_in_a_hub_cache_and_count_with_what_they_lead_to(
    folder, template, manifest, tmp_path
):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    write_manifest(folder, manifest)
    for number, name in enumerate(hash_files(folder)):
        blob = (folder / name).rename(blobs / str(number))
        (folder / name).symlink_to(blob)
    load_manifest(str(folder))
    template.resolve().write_text("{{ 'Say something else.' }}")
    with pytest.raises(ManifestError, match=r"default\.jinja is not the file"):
        load_manifest(str(folder))


def test_what_begins_with_a_dot_is_not_loaded_and_may_be_there(folder):
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "download.json").write_text("{}")
    load_manifest(str(folder))


def test_revision_of_the_form_of_a_digest_is_that_of_the_weights(bare_folder, manifest):
    (bare_folder / "model-00002.safetensors").write_bytes(b"more weights")
    held = weights_hash(bare_folder)[:12]
    other = manifest.model_copy(update={"revision": "0123456789ab"})
    with pytest.raises(ManifestError, match=f"revision is 0123456789ab.*begins with {held}"):
        write_manifest(bare_folder, other)
    write_manifest(bare_folder, manifest.model_copy(update={"revision": held}))
    load_manifest(str(bare_folder))
    change_json(bare_folder / "deepmedix.json", revision="0123456789ab")
    with pytest.raises(ManifestError, match="revision is 0123456789ab"):
        load_manifest(str(bare_folder))


def test_manifest_may_be_asked_for_by_its_digest(folder):
    digest = load_manifest(str(folder))[1]
    assert load_manifest(str(folder), digest)[1] == digest
    change_json(folder / "deepmedix.json", notes=["Changed."])
    with pytest.raises(ManifestError, match="DEEPMEDIX_MANIFEST_SHA256"):
        load_manifest(str(folder), digest)


def test_folder_without_weights_is_refused(bare_folder, manifest):
    (bare_folder / "model.safetensors").unlink()
    write_manifest(bare_folder, manifest)
    with pytest.raises(ManifestError, match="no weights"):
        load_manifest(str(bare_folder))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_pixels", MIN_PIXELS * 2),
        ("max_pixels", MAX_PIXELS * 2),
        ("patch_size", 16),
        ("merge_size", 4),
    ],
)
def test_pixels_that_contradict_the_processor_are_named(bare_folder, manifest, field, value):
    pixels = manifest.pixels.model_copy(update={field: value})
    with pytest.raises(ManifestError, match=rf"pixels\.{field} is {value}"):
        write_manifest(bare_folder, manifest.model_copy(update={"pixels": pixels}))


def test_contradiction_is_found_on_loading_too(folder, manifest):
    change_json(folder / "deepmedix.json", pixels={"min_pixels": 784, "max_pixels": MAX_PIXELS})
    with pytest.raises(ManifestError, match=r"pixels\.min_pixels is 784"):
        load_manifest(str(folder))


def test_manifest_may_say_that_it_overrides_the_processor(bare_folder, manifest):
    pixels = Pixels(min_pixels=784, max_pixels=784 * 9, override_processor=True)
    write_manifest(bare_folder, manifest.model_copy(update={"pixels": pixels}))
    assert load_manifest(str(bare_folder))[0].pixels == pixels


def test_processor_config_may_be_nested_as_newer_transformers_write_it(bare_folder, manifest):
    (bare_folder / "preprocessor_config.json").unlink()
    processor = {"min_pixels": MIN_PIXELS, "max_pixels": MAX_PIXELS}
    write_json(bare_folder / "processor_config.json", {"image_processor": processor})
    write_manifest(bare_folder, manifest)
    load_manifest(str(bare_folder))


def test_other_architecture_is_named(bare_folder, manifest):
    change_json(bare_folder / "config.json", architectures=["LlavaForConditionalGeneration"])
    with pytest.raises(ManifestError, match="architecture"):
        write_manifest(bare_folder, manifest)


@pytest.mark.parametrize(
    ("name", "field", "value", "said"),
    [
        ("config.json", "architectures", 5, "architecture"),
        ("config.json", "architectures", {"a": 1}, "architecture"),
        ("config.json", "vision_config", [1], "vision_config is not a JSON object"),
        ("config.json", "text_config", "x", "text_config is not a JSON object"),
        ("preprocessor_config.json", "size", [1], "size is not a JSON object"),
    ],
)
def test_a_config_of_another_form_is_named(folder, name, field, value, said):
    change_json(folder / name, **{field: value})
    change_json(folder / "deepmedix.json", files=hash_files(folder))
    with pytest.raises(ManifestError, match=said):
        load_manifest(str(folder))


def test_reply_longer_than_the_context_is_refused(bare_folder, manifest):
    change_json(bare_folder / "config.json", text_config={"max_position_embeddings": 512})
    with pytest.raises(ManifestError, match=r"sampling\.max_tokens"):
        write_manifest(bare_folder, manifest)


def test_checkpoint_without_chat_template_is_refused(bare_folder, manifest):
    (bare_folder / "chat_template.jinja").unlink()
    with pytest.raises(ManifestError, match="chat template"):
        write_manifest(bare_folder, manifest)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_broken_config_is_named(bare_folder, manifest, name):
    (bare_folder / name).write_text("{")
    with pytest.raises(ManifestError, match=name):
        write_manifest(bare_folder, manifest)


def test_engine_holds_a_loaded_config_against_the_manifest(manifest):
    config = {"architectures": [manifest.architecture], "vision_config": {"patch_size": 16}}
    with pytest.raises(ManifestError, match="patch_size is 14"):
        verify_loaded_config(config, manifest)


def test_deepmedix_r1_has_a_manifest_that_ships_with_the_program():
    manifest, digest = load_manifest("Qika/DeepMedix-R1")
    assert manifest.name == "Qika/DeepMedix-R1"
    assert manifest.pixels.max_pixels == 262_144
    assert manifest.sampling.temperature == 0.6
    assert manifest.sampling.max_tokens == 4096
    assert manifest.conventions.box_space == "processor"
    assert "impression" in manifest.conventions.guessed
    assert "findings" not in manifest.conventions.guessed
    assert any("square_512" in note for note in manifest.notes)
    assert len(digest) == 64


def test_unknown_hub_id_says_which_are_known_and_what_to_do():
    with pytest.raises(ManifestError, match=r"Qika/DeepMedix-R1.*deepmedix\.json"):
        load_manifest("someone/something")


@pytest.mark.parametrize("model", ["", "/nowhere/at/all", "nowhere", "a/b/c", "../x", "a/../b"])
def test_name_of_nothing_is_refused_with_advice(model):
    with pytest.raises(ManifestError, match=r"DEEPMEDIX_MODEL|is missing"):
        load_manifest(model)


def test_manifest_needs_neither_torch_nor_vllm():
    program = "import sys, service.engine; assert not {'torch', 'vllm'} & sys.modules.keys()"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
