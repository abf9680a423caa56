"""A few examples on small films, and an HTTP server that answers by a script."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.engine import load_manifest
from service.reading import Conventions, Mode, Task
from tests.training.scripted_server import ScriptedServer, completion
from training.data.example import Example
from training.data.store import write_examples
from training.data.teacher.request import Asking

SIZE = (56, 112)
HEART, RIGHT, LEFT = (10, 60, 46, 104), (4, 10, 26, 90), (30, 10, 52, 90)


def example(number: int = 0, **changes: Any) -> Example:
    fields: dict[str, Any] = {
        "id": f"e{number}",
        "images": (f"{number}.png",),
        "sizes": (SIZE,),
        "task": Task.VQA,
        "mode": Mode.ANSWER,
        "answer": "Yes",
        "steps": (),
        "split": "train",
        "subject": f"s{number}",
        "view": "PA",
        "question": "Is there a pleural effusion?",
        "question_type": "presence",
        "labels": ("left pleural effusion",),
        "regions": (("left pleural effusion", LEFT),),
        "structures": (("heart", HEART), ("right lung", RIGHT), ("left lung", LEFT)),
        "source": "made",
        "licence": "MIT",
    }
    return Example(**(fields | changes))


def good_reply(answer: str = "Yes", more: str = "") -> str:
    return (
        f"<think> The heart is normal in size {list(HEART)}; the right lung is clear "
        f"{list(RIGHT)}; there is a left pleural effusion {list(LEFT)}{more} </think>. "
        f"The answer is: \\boxed{{{answer}}}"
    )


def asked_text(request: dict[str, Any]) -> str:
    return str(request["messages"][0]["content"][-1]["text"])


@pytest.fixture
def server(server: ScriptedServer) -> ScriptedServer:
    """Answers every question alike, and well."""
    server.script = lambda request: (200, {}, completion(good_reply()))
    return server


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(0, 256, (SIZE[1], SIZE[0]), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def store(films: Path, tmp_path: Path) -> Path:
    """Twelve examples of one question each, on films of their own."""
    folder = tmp_path / "store"
    some = [example(n, question=f"Is there a pleural effusion on film {n}?") for n in range(12)]
    write_examples(folder, some, images_root=films)
    return folder


@pytest.fixture(scope="session")
def conventions() -> Conventions:
    return load_manifest("Qika/DeepMedix-R1")[0].conventions


@pytest.fixture(scope="session")
def asking(conventions: Conventions) -> Asking:
    # A picture of this area is as large as the films: boxes are the same numbers.
    return Asking("teacher", conventions, picture_pixels=SIZE[0] * SIZE[1])


def film_number(request: dict[str, Any]) -> int:
    found = re.search(r"on film (\d+)", asked_text(request))
    assert found is not None
    return int(found[1])
