"""A hub's checkpoint where no hub may be asked."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, snapshot_download  # noqa: F401 - before nobody may read it

from service.engine import ManifestError, require_weights
from service.settings import EMBEDDED_CHECKPOINT

MODEL = "Qika/DeepMedix-R1"


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # Not pytest's own folder: that one only its owner can look into.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", folder)
        yield Path(folder)


@pytest.fixture
def as_somebody() -> Iterator[None]:
    """Without the rights of root, whom no mode keeps out."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


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


def test_shards_that_the_index_names_must_be_there(cache: Path) -> None:
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    snapshot(cache, "model.safetensors.index.json", names[0], names[2])
    (index,) = cache.rglob("*.index.json")
    index.write_text(json.dumps({"weight_map": {str(n): name for n, name in enumerate(names)}}))
    with pytest.raises(ManifestError, match=rf"\({names[1]} is missing\).*mount a hub cache"):
        require_weights(MODEL)
    index.with_name(names[1]).symlink_to("../../blobs/that-is-not-there")
    with pytest.raises(ManifestError, match=f"{names[1]} is missing"):
        require_weights(MODEL)
    index.with_name(names[1]).unlink()
    index.with_name(names[1]).touch()
    require_weights(MODEL)


def test_an_index_that_is_none_is_refused(cache: Path) -> None:
    snapshot(cache, "model.safetensors.index.json", "model-00001-of-00001.safetensors")
    with pytest.raises(ManifestError, match="no index"):
        require_weights(MODEL)


@pytest.mark.parametrize(
    "place", ["", "refs", "refs/main", "snapshots", "snapshots/*", "snapshots/*/*.safetensors"]
)
def test_what_the_user_may_not_read_is_named(cache: Path, place: str, request) -> None:
    snapshot(cache, "config.json", "model-00001-of-00001.safetensors")
    (repository,) = cache.iterdir()
    closed = next(repository.glob(place)) if place else repository
    closed.chmod(0)
    request.addfinalizer(lambda: closed.chmod(0o700))
    request.getfixturevalue("as_somebody")
    told = rf"{closed.name} is not readable by uid {os.geteuid()}"
    with pytest.raises(ManifestError, match=told):
        require_weights(MODEL)


def test_a_folder_needs_no_cache(cache: Path) -> None:
    require_weights(str(EMBEDDED_CHECKPOINT))


def test_where_the_hub_may_be_asked_nothing_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    require_weights(MODEL)
