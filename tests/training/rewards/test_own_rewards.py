"""Rewards that a user writes: where they are found, and which weights they take."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from training.rewards.protocol import Rollout, load_reward

ROOT = Path(__file__).parents[3]


def any_weight(rollouts: Sequence[Rollout], **weights: float) -> list[Mapping[str, float]]:
    return [{"overall": sum(weights.values())}]


def one_weight(rollouts: Sequence[Rollout], *rest: object, most: float = 1.0) -> None:
    """Takes a weight by its name."""


def test_a_reward_may_take_any_weight() -> None:
    assert load_reward(f"{__name__}:any_weight", whatever=2.0, more=1.0)([]) == [{"overall": 3.0}]


@pytest.mark.parametrize("weight", ["rollouts", "rest", "least"])
def test_a_weight_that_cannot_be_given_by_name_is_refused(weight: str) -> None:
    load_reward(f"{__name__}:one_weight", most=2.0)
    with pytest.raises(ValueError, match=f"no weight '{weight}'"):
        load_reward(f"{__name__}:one_weight", **{weight: 2.0})


@pytest.mark.parametrize(
    ("source", "told"),
    [("def f(:", "SyntaxError"), ("nothing_of_the_kind", "NameError"), ("import os\nos.x", "x")],
)
def test_a_module_that_cannot_be_imported_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_reward.py").write_text(source)
    with pytest.raises(ValueError, match=rf"'broken_reward' cannot be imported .*{told}"):
        load_reward("broken_reward:f")


def test_a_reward_is_found_in_the_folder_that_the_command_is_run_from(tmp_path: Path) -> None:
    (tmp_path / "my_rewards.py").write_text(
        "def brevity(rollouts, most=60.0):\n    return [{'overall': most} for _ in rollouts]\n"
    )
    program = (
        "from training.rewards.protocol import load_reward\n"
        "print(load_reward('my_rewards:brevity', most=40)([1]))"
    )
    done = subprocess.run(
        # -P: as a console script, without the working folder among the places to import from.
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[{'overall': 40}]", done.stderr
