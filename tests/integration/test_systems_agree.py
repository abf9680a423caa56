"""The shipped checkpoint under test: over HTTP and in process, the same answers, scored alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from PIL import Image

from service.app import create_app
from service.reading import Mode, Task
from service.settings import Settings
from tests.integration.running_engine import RunningEngine
from training.chat.address import address_of, settle
from training.data.ct_radiographs.examples import question_examples, report_example
from training.data.ct_radiographs.generate import simulate_patient
from training.data.example import Example
from training.evaluation.controls import Films, FilmViewer
from training.evaluation.predict import predict_all
from training.evaluation.results import Contender, Results
from training.systems.engine import EngineSystem
from training.systems.prediction import Prediction
from training.systems.protocol import NoSystemError
from training.systems.served import ServedSystem
from training.systems.service import ServiceSystem


class Announced(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        self.listening.set()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def address(engine) -> AsyncIterator[str]:
    """A service that listens."""
    app = create_app(Settings(max_concurrency=16), engine=RunningEngine(engine))
    server = Announced(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    await server.listening.wait()
    await app.state.service.started.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


def numbers_of(prediction: Prediction) -> list[float]:
    """Film and corners of every box, in order."""
    return [
        number
        for step in prediction.steps
        for film, corners in step.boxes
        for number in (film, *corners)
    ]


async def test_over_http_and_in_process_a_checkpoint_says_the_same(
    engine, address: str, tmp_path: Path
) -> None:
    examples: list[Example] = []
    for record, film in simulate_patient(12, "test", 0):
        path = tmp_path / record.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(film.pixels).save(path)
        examples.append(report_example(record, Task.FINDINGS, Mode.THINK, seed=0))
        examples += question_examples(record, Mode.THINK, seed=0, count=1)
    look = FilmViewer(tmp_path, [e.images[0] for e in examples], Films.SHOWN)
    systems = {
        "http": ServiceSystem(settle(address_of(address))),
        "process": EngineSystem(RunningEngine(engine)),
    }
    contenders = []
    for name, system in systems.items():
        async with system:
            path = tmp_path / f"{name}.jsonl"
            said = await predict_all(name, system, examples, look, path)
        assert [p.failure for p in said] == [None] * len(examples)
        contenders.append(Contender(name, Films.SHOWN, tuple(said)))
    http, process = (contender.predictions for contender in contenders)
    for one, other in zip(http, process, strict=True):
        assert (one.text, one.answer, one.complete) == (other.text, other.answer, other.complete)
        assert [step.text for step in one.steps] == [step.text for step in other.steps]
        # The service tells boxes to a hundredth of a pixel.
        assert numbers_of(one) == pytest.approx(numbers_of(other), abs=0.006)
    rows = Results(examples, contenders).rows
    found = {
        (row.contender, row.score): row.value for row in rows if row.stratum.endswith("findings")
    }
    assert found["http", "matched IoU"] == pytest.approx(found["process", "matched IoU"], abs=1e-3)
    assert found["http", "matched IoU"] > 0.2
    assert found["http", "parsed"] == 1


async def test_a_checkpoint_that_cannot_be_served_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NoSystemError, match="cannot be served"):
        async with ServedSystem(str(tmp_path)):
            pass
