"""A language model served by vLLM judges a tournament: the plumbing from evaluation to ratings.

The embedded checkpoint knows nothing of judging. That its server holds it to the rubric's JSON is
what makes its verdicts readable.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from service.reading import Mode, Task
from tests.training.small_store import Scripted, right
from training.arena.cli import arena
from training.arena.match import read_matches
from training.data.ct_radiographs.examples import report_example
from training.data.ct_radiographs.generate import simulate_patient
from training.data.store import write_examples
from training.evaluation.folder import Selection, run

pytestmark = pytest.mark.timeout(900)  # whoever is first waits for the server


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems on the films of one simulated patient."""
    folder = tmp_path_factory.mktemp("judged")
    examples = []
    for record, film in simulate_patient(11, "test", 0):
        (folder / record.path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(film.pixels).save(folder / record.path)
        examples.append(report_example(record, Task.FINDINGS, Mode.ANSWER, seed=0))
    write_examples(folder / "store", examples, images_root=folder)
    systems = [
        ("right", "in the test", Scripted(lambda e, films: right(e), "right")),
        (
            "silent",
            "in the test",
            Scripted(lambda e, films: replace(right(e), answer="Normal.", steps=()), "silent"),
        ),
    ]
    run(Selection(folder / "store"), systems, folder / "evaluation")
    return folder / "evaluation"


def test_a_model_behind_vllm_and_the_rules_judge_the_same_matches(
    chat_server: str, evaluation: Path, tmp_path: Path
) -> None:
    out = tmp_path / "arena"
    arguments = ["run", str(evaluation), "--out", str(out), "--matches", "3"]
    arguments += ["--judge", "rules", "--judge", f"small={chat_server},model=embedded"]
    done = CliRunner().invoke(arena, [*arguments, "--resamples", "20"])
    assert done.exit_code == 0, done.output
    said = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    small = [item for item in said if item["judge"] == "small"]
    assert len(small) == 6  # three matches in both orders
    assert {item["verdict"] for item in small} <= {"A", "B", "tie", "both bad"}
    assert all(item["decided_by"] and item["tokens"] > 0 for item in small)
    judges = [match.judge for match in read_matches(out / "matches.jsonl")]
    assert judges.count("rules") == judges.count("small") == 3
    assert "| small | 3 |" in done.output
    again = CliRunner().invoke(arena, [*arguments, "--resamples", "20"])
    assert again.exit_code == 0
    assert "0 verdicts asked for, 12 kept from before" in again.output
