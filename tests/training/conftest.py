"""What the tests of several rooms of training need."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.reading import Task
from tests.training.scripted_server import ScriptedServer, running_server
from tests.training.small_store import SIZE, example
from training.data.store import write_examples


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running_server() as scripted:
        yield scripted


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Twenty-four films of noise."""
    folder = tmp_path / "films"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        pixels = rng.integers(0, 256, (SIZE[1], SIZE[0]), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def store(films: Path, tmp_path: Path) -> Path:
    """Findings and a question of each film."""
    folder = tmp_path / "store"
    some = [example(n, task) for n in range(24) for task in (Task.FINDINGS, Task.VQA)]
    write_examples(folder, some, images_root=films)
    return folder
