"""``deepmedix train``: what goes wrong is told in words, with exit codes to tell them apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from training.cli import train


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


def test_a_run_that_would_teach_nothing_ends_with_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = run("grpo", "--config", "7b-8gpu/grpo")
    assert result.exit_code == 3
    assert "needs a GPU" in result.output
