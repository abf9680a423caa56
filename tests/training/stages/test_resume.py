"""A run that is killed goes on to the same result as one that never was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from training.stages.config import GroupRelativeStage, SupervisedStage, read_config
from training.stages.errors import ConfigError
from training.stages.grpo import run_grpo
from training.stages.resume import check_same_run, cut_log, state_to_resume
from training.stages.supervised import run_supervised

ROOT = Path(__file__).parents[3]
KILLED_AT = 3
SAVED_EVERY = 2


def config(name: str, tiny: Path, output: Path) -> dict[str, object]:
    shared = {
        "output": str(output),
        "data": {"folder": str(tiny / "films")},
        "model": {"start": str(tiny / "model"), "manifest": "embedded", "keep_seen": True},
        "logging": {"every": 1, "save_every": SAVED_EVERY, "report_to": []},
        "seed": 5,
    }
    if name == "sft":
        return {
            **shared,
            "batch_size": 3,
            "soft_coordinates": 2.0,
            "optimizer": {"name": "muon", "learning_rate": 2e-3},
        }
    return {
        **shared,
        "rollouts": {"prompts": 2, "group": 3, "batch_size": 3, "max_tokens": 10},
        "rewards": [{"name": "tests.training.stages.spelling_reward:variety"}],
        "optimizer": {"learning_rate": 1e-3},
        "guards": {"cut_off": 1.0},
        "max_steps": 5,
    }


@pytest.fixture(scope="module")
def killed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two runs that were killed, one after their first checkpoint."""
    folder = tmp_path_factory.mktemp("killed")
    for name in ("sft", "grpo"):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config(name, tiny, folder / name)))
    script = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(KILLED_AT)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["sft", "killed", "grpo", "killed"], done.stderr
    return folder


def run(name: str, file: Path | str, *overrides: str, resume: bool = False) -> Path:
    if name == "sft":
        return run_supervised("sft", read_config(SupervisedStage, file, overrides), resume=resume)
    return run_grpo(read_config(GroupRelativeStage, file, overrides), resume=resume)


def figures(output: Path) -> list[dict[str, float]]:
    """The log without what depends on the clock."""
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    clock = ("seconds", "step_time")
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_a_killed_run_resumes_to_the_same_last_digit(
    killed: Path, name: str, one_thread: None
) -> None:
    file = killed / f"{name}.yaml"
    whole = run(name, file, f"output={killed / 'whole' / name}")
    assert [line["step"] for line in figures(killed / name)][-1] <= KILLED_AT
    resumed = run(name, file, resume=True)
    assert figures(resumed) == figures(whole)
    assert len({line["loss"] for line in figures(whole)}) > 1
    weights, expected = (load_file(f / "model.safetensors") for f in (resumed, whole))
    assert all((weights[key] == expected[key]).all() for key in expected)
    records = [json.loads((f / "stage.json").read_text()) for f in (resumed, whole)]
    assert records[0]["metrics"] == records[1]["metrics"]


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_a_run_killed_after_its_last_step_is_only_finished(
    killed: Path, tmp_path: Path, name: str, one_thread: None
) -> None:
    file = killed / f"{name}.yaml"
    output = run(name, file, f"output={tmp_path}")
    log, weights = (output / "log.jsonl").read_text(), load_file(output / "model.safetensors")
    record = json.loads((output / "stage.json").read_text())
    (output / "stage.json").unlink()
    (output / "model.safetensors").unlink()
    run(name, file, f"output={tmp_path}", resume=True)
    again = load_file(output / "model.safetensors")
    assert all((weights[key] == again[key]).all() for key in weights)
    assert (output / "log.jsonl").read_text() == log
    assert json.loads((output / "stage.json").read_text())["metrics"] == record["metrics"]


def test_a_run_goes_on_only_as_it_was_begun(killed: Path, tmp_path: Path) -> None:
    config = read_config(SupervisedStage, killed / "sft.yaml", (f"output={tmp_path}",))
    check_same_run(config)
    check_same_run(replace(config, logging=replace(config.logging, keep=7)))
    with pytest.raises(ConfigError, match="seed"):
        check_same_run(replace(config, seed=config.seed + 1))


def test_an_interrupted_run_is_not_begun_anew_by_mistake(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "whole").touch()
    with pytest.raises(ConfigError, match="--resume"):
        state_to_resume(tmp_path, resume=False)
    assert state_to_resume(tmp_path, resume=True) == tmp_path / "checkpoint-2"


def test_half_a_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-2" / "whole").touch()
    assert state_to_resume(tmp_path, resume=True) == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-10").exists()


def test_without_a_run_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert state_to_resume(tmp_path / "run", resume=True) is None
    assert state_to_resume(tmp_path / "run", resume=False) is None


def test_a_log_is_cut_back_to_the_step_resumed_from(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    cut_log(log, 2)
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_finished_stage_is_not_overwritten(killed: Path, tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "stage.json").write_text("{}")
    file = killed / "sft.yaml"
    with pytest.raises(ConfigError, match="finished"):
        run("sft", file, f"output={tmp_path}")
    assert run("sft", file, f"output={tmp_path}", resume=True) == tmp_path
