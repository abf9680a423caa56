"""One real engine for the integration tests: embedded checkpoint, or one with random weights."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.engine import (
    EngineSettings,
    Manifest,
    Pixels,
    SamplingDefaults,
    VllmEngine,
    load_manifest,
    write_manifest,
)
from service.engine.torchvision_schemas import register
from service.settings import EMBEDDED_CHECKPOINT
from tests.integration.chat_server import running_chat_server


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the embedded checkpoint where it exists, else of a small one that knows nothing."""
    if (EMBEDDED_CHECKPOINT / "deepmedix.json").is_file():
        return EMBEDDED_CHECKPOINT
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
async def engine(checkpoint: Path) -> AsyncIterator[VllmEngine]:
    """A started engine."""
    engine = VllmEngine(EngineSettings(str(checkpoint)))
    await engine.start()
    yield engine
    await engine.stop()


def random_checkpoint(folder: Path) -> Path:
    """Write a whole checkpoint with random weights."""
    register()
    from tests.integration.tiny_checkpoint import build_checkpoint

    pixels = Pixels(min_pixels=28 * 28 * 16, max_pixels=224 * 224)
    build_checkpoint(folder, min_pixels=pixels.min_pixels, max_pixels=pixels.max_pixels)
    manifest = Manifest(
        name="random",
        revision="0",
        stage="untrained",
        license="Apache-2.0",
        conventions=load_manifest("Qika/DeepMedix-R1")[0].conventions,
        pixels=pixels,
        sampling=SamplingDefaults(temperature=0, max_tokens=512),
        max_images=4,
    )
    write_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="session")
def chat_server() -> Iterator[str]:
    """Base URL of an OpenAI-compatible server with the embedded checkpoint."""
    with running_chat_server() as url:
        yield url
