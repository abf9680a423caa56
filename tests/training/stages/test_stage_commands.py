"""``deepmedix train``: what goes wrong is told in words, with exit codes to tell them apart."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from service.engine import ManifestError
from service.settings import EMBEDDED_CHECKPOINT
from training.checkpoint import CheckpointError
from training.cli import train
from training.data.store import DataError
from training.embedded import EmbeddedConfig
from training.stages import record
from training.stages.errors import ConfigError, SilentFailureError
from training.systems.protocol import NoSystemError


def run(*arguments: str):  # type: ignore[no-untyped-def]  # typer's result
    return CliRunner().invoke(train, list(arguments))


@pytest.mark.parametrize("stage", ["sft", "cold-start", "grpo"])
def test_help_names_the_config(stage: str) -> None:
    result = run(stage, "--help")
    assert result.exit_code == 0
    assert "--config" in result.output


def test_a_config_that_does_not_fit_ends_with_two(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"output": "x", "datta": {}}))
    result = run("sft", "--config", str(file))
    assert result.exit_code == 2
    assert "did you mean data?" in result.output
    assert "Traceback" not in result.output


def test_overrides_are_read(tiny: Path, tmp_path: Path) -> None:
    places = [f"data.folder={tiny / 'films'}", f"output={tmp_path}", "model.start=not/at/all"]
    result = run("sft", "--config", "embedded-cpu/sft", *places)
    assert result.exit_code == 2
    assert "model.start" in result.output


def test_rollouts_that_this_machine_cannot_run_end_with_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = run("grpo", "--config", "7b-8gpu/grpo")
    assert result.exit_code == 2
    assert "needs a GPU" in result.output


@pytest.mark.parametrize("output", ["/proc/deepmedix", "file", "file/below"])
def test_an_output_that_cannot_be_written_ends_with_two(
    tiny: Path, tmp_path: Path, output: str
) -> None:
    (tmp_path / "file").write_text("mine")
    config = {
        "output": str(tmp_path / output),
        "data": {"folder": str(tiny / "films")},
        "model": {"start": str(tiny / "model"), "manifest": "embedded"},
        "logging": {"every": 1, "save_every": 8, "report_to": []},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    result = run("sft", "--config", str(tmp_path / "config.yaml"))
    assert result.exit_code == 2, result.exception
    assert output in result.output
    assert (tmp_path / "file").read_text() == "mine"


def test_a_trainers_own_refusals_end_with_two(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: dict[str, Any] = {
        "output": str(tmp_path / "out"),
        "data": {"folder": str(tiny / "films")},
        "model": {"start": str(tiny / "model"), "manifest": "embedded"},
    }
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(config))
    config["rollouts"] = {"prompts": 2, "group": 2, "batch_size": 4}
    (tmp_path / "grpo.yaml").write_text(yaml.safe_dump(config))
    for stage, setting in (
        ("sft", "trl.eval_strategy=steps"),
        ("sft", "trl.packing=true"),
        ("sft", "trl.loss_type=nope"),
        ("grpo", "trl.eval_strategy=steps"),
    ):
        result = run(stage, "--config", str(tmp_path / f"{stage}.yaml"), setting)
        assert result.exit_code == 2, (setting, result.exception)
        assert "Correct what stands under trl" in result.output
        assert not (tmp_path / "out" / "run" / "config.json").exists()

    monkeypatch.setattr("transformers.TrainingArguments.n_gpu", property(lambda self: 2))
    result = run("sft", "--config", str(tmp_path / "sft.yaml"))
    assert result.exit_code == 2, result.exception
    assert "CUDA_VISIBLE_DEVICES=0" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate", "--model", "{}/nowhere"), "nowhere"),
        (("ablation", "--settled", "{}/nowhere"), "nowhere"),
        (("ablation", "--settled", str(EMBEDDED_CHECKPOINT)), "not of stage 2"),
    ],
)
def test_a_checkpoint_that_will_not_do_is_refused_before_films_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("training.data.ct_radiographs.generate.generate", None)  # takes minutes
    monkeypatch.setattr("training.embedded.generate", None)
    named = [argument.format(tmp_path) for argument in arguments]
    result = run(*named, "--work", str(tmp_path))
    assert result.exit_code == 2, result.exception
    assert said in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("so"), 2),
        (CheckpointError("so"), 2),
        (ManifestError("so"), 2),
        (DataError("so"), 2),
        (NoSystemError("so"), 2),
        (SilentFailureError("so"), 3),
    ],
)
@pytest.mark.parametrize("command", ["embedded", "ablation", "evaluate", "evaluation"])
def test_every_command_tells_in_words_what_went_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    error: Exception,
    code: int,
) -> None:
    def fail(*given: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr("training.data.ct_radiographs.generate.generate", fail)
    monkeypatch.setattr("training.embedded.generate", fail)
    result = run(command, "--work", str(tmp_path))
    assert (result.exit_code, result.output.strip()) == (code, "so"), result.exception


def test_the_ablation_runs_at_the_size_of_a_toy_and_says_what_that_is_not_good_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[EmbeddedConfig] = []

    def stop(config: EmbeddedConfig) -> None:
        seen.append(config)
        raise DataError("so")

    monkeypatch.setattr("training.embedded.make_films", stop)
    small = ("--films", "8", "--scattered-films", "41", "--more-scattered-films", "42")
    result = run("ablation", "--work", str(tmp_path), *small, "--validate-films", "4")
    assert "Of 8 films intervals are wide: --films 500 or more" in result.output
    assert "intervals" not in run("ablation", "--work", str(tmp_path)).output
    assert [one.test_films for one in seen] == [40, 520]  # whole shards
    assert (seen[0].validate_films, seen[0].scattered_films) == (4, 41)
    assert seen[0].more_scattered_films == 42


def test_films_of_another_seed_do_not_lie_among_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Path, int]] = []

    def stop(folder: Path, split: str, films: int, *, seed: int, workers: int) -> None:
        made.append((folder, seed))
        raise DataError("so")

    monkeypatch.setattr("training.data.ct_radiographs.generate.generate", stop)
    for more in ((), ("--seed", "7")):
        run("evaluate", "--work", str(tmp_path), *more)
    assert made == [(tmp_path / "ct", EmbeddedConfig.seed), (tmp_path / "7" / "ct", 7)]


def test_the_revision_is_that_of_the_code_and_of_no_repository_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "-m", "first")
    installed = tmp_path / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    for folder, known in ((tmp_path, True), (installed, False)):
        monkeypatch.setattr(record, "_ROOT", folder)
        assert bool(record.code_revision()) is known
