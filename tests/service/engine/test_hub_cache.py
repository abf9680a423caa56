"""A hub's checkpoint where no hub may be asked."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from service.engine import ManifestError, require_weights
from service.settings import EMBEDDED_CHECKPOINT

MODEL = "Qika/DeepMedix-R1"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def snapshot(cache: Path, *files: str) -> None:
    place = cache / "models--Qika--DeepMedix-R1"
    commit = "0" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    folder = place / "snapshots" / commit
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).touch()


def test_missing_weights_are_refused_with_what_to_mount(cache: Path) -> None:
    with pytest.raises(ManifestError, match=r"mount a hub cache.*HF_HOME.*DEEPMEDIX_MODEL"):
        require_weights(MODEL)


def test_a_cache_that_holds_configs_alone_is_refused(cache: Path) -> None:
    snapshot(cache, "config.json")
    with pytest.raises(ManifestError, match="HF_HUB_OFFLINE"):
        require_weights(MODEL)


def test_a_cache_that_holds_the_weights_will_do(cache: Path) -> None:
    snapshot(cache, "config.json", "model-00001-of-00001.safetensors")
    require_weights(MODEL)


def test_a_folder_needs_no_cache(cache: Path) -> None:
    require_weights(str(EMBEDDED_CHECKPOINT))


def test_where_the_hub_may_be_asked_nothing_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    require_weights(MODEL)
