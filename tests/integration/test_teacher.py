"""Cold-start data from a real OpenAI-compatible server: vLLM with the embedded checkpoint.

The checkpoint is asked with its own prompt and finds its own boxes, so that its replies run through
the whole of the checks: parsed, grounded, compared with the films' ground truth.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from service.reading import Mode, Task
from training.architecture import GRID
from training.data.ct_radiographs.examples import question_examples, report_example
from training.data.ct_radiographs.generate import simulate_patient
from training.data.example import Example
from training.data.store import read_examples, write_examples
from training.data.teacher.cli import teach

APP = Typer()
APP.command()(teach)

pytestmark = pytest.mark.timeout(900)  # whoever is first waits for the server


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Findings and one question for each film of one simulated patient, structures given."""
    folder = tmp_path_factory.mktemp("store")
    some: list[Example] = []
    for record, film in simulate_patient(11, "train", 0):
        (folder / record.path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(film.pixels).save(folder / record.path)
        asked = [report_example(record, Task.FINDINGS, Mode.ANSWER, seed=0)]
        asked += question_examples(record, Mode.ANSWER, seed=0, count=1)
        structures = tuple((region.name, region.box) for region in record.structures)
        some += [replace(example, structures=structures) for example in asked]
    write_examples(folder, some)
    return folder


def test_a_vllm_server_teaches_and_every_reply_is_accounted_for(
    chat_server: str, store: Path, tmp_path: Path
) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("{prompt}")
    arguments = ["--data", str(store), "--teacher", chat_server, "--model", "embedded"]
    arguments += ["--out", str(tmp_path / "out"), "--manifest", "embedded"]
    arguments += ["--prompt", str(prompt), "--picture-pixels", str(GRID.max_pixels)]
    arguments += ["--fit", "0.5", "--temperature", "0", "--max-tokens", "320", "--attempts", "1"]
    done = CliRunner().invoke(APP, arguments)
    assert done.exit_code == 0, done.output
    counted = json.loads((tmp_path / "out" / "rejections.json").read_text())
    examples = list(read_examples(store))
    assert counted["examples"] == len(examples) > 4
    assert counted["kept"] + sum(counted["dropped"].values()) == len(examples)
    assert counted["tokens"]["completion"] > 0
    kept = list(read_examples(tmp_path / "out"))
    assert len(kept) == counted["kept"] > 0
    supplied = {example.id: {box for _, box in example.structures} for example in examples}
    marked = {example.id: {box for _, box in example.regions} for example in examples}
    for example in kept:
        name = example.id.removesuffix("/taught")
        cited = {box for step in example.steps for _, box in step.boxes}
        assert cited
        assert cited <= supplied[name] | marked[name]
