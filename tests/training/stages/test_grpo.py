"""Stage 3 from end to end on a tiny checkpoint: what is logged, drawn, saved and left out."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig

from service.radiograph import PixelGrid
from service.reading import Mode, Task
from training.architecture import GRID
from training.checkpoint.lineage import weights_hash
from training.conventions import EMBEDDED_CONVENTIONS
from training.data.example import Example
from training.stages.begin import begin
from training.stages.config import (
    GroupRelativeStage,
    LoggingSettings,
    OverlongSettings,
    RewardSettings,
    read_config,
)
from training.stages.config.reading import build
from training.stages.grpo import run_grpo
from training.stages.grpo_arguments import grpo_arguments
from training.stages.rollout_rewards import LoggedReward, ScoredRollouts, overlong_penalty
from training.stages.run_log import RunLog, tensorboard
from training.stages.text_targets import shown_film


def stage(tiny: Path, output: Path, **more: Any) -> GroupRelativeStage:
    base = {
        "output": str(output),
        "data": {"folder": str(tiny / "films"), "mixture": {"findings": 1, "vqa": 1}},
        "model": {"start": str(tiny / "model"), "manifest": "embedded"},
        "rollouts": {"prompts": 2, "group": 3, "batch_size": 6, "max_tokens": 8},
        "rewards": [
            {"name": "tests.training.stages.spelling_reward:variety", "weight": 2.0},
            {"name": "tests.training.stages.spelling_reward:constant"},
        ],
        "objective": {"overlong": {"penalty_tokens": 4}},
        "optimizer": {"learning_rate": 1e-3, "schedule": "constant"},
        "logging": {"every": 1, "save_every": 2, "samples_every": 2, "samples": 2},
        "guards": {"cut_off": 1.0},
        "max_steps": 2,
    }
    return build(GroupRelativeStage, {**base, **more}, "test")


@pytest.fixture(scope="module")
def done(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_grpo(stage(tiny, tmp_path_factory.mktemp("grpo")))


def lines(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def test_every_figure_is_logged(done: Path) -> None:
    mine = "rewards/tests.training.stages.spelling_reward:variety"
    for line in lines(done):
        assert {
            "loss",
            "reward",
            "reward_std",
            "kl",
            "entropy",
            "completions/mean_length",
            "completions/clipped_ratio",
            "clip_ratio/region_mean",
            "frac_reward_zero_std",
            "groups_without_preference",
            "parse_rate",
            "grad_norm",
            f"{mine}/overall",
            f"{mine}/letters",
            "rewards/overlong/mean",
            "sampling/sampling_logp_difference/mean",
        } <= set(line)
        assert line["sampling/sampling_logp_difference/mean"] < 1e-5
        assert line["rewards/overlong/mean"] <= 0
    assert list((done / "tensorboard").iterdir())


def test_a_part_is_averaged_over_the_rollouts_that_have_it() -> None:
    name = "tests.training.stages.spelling_reward:part"
    report = example_of(Task.FINDINGS)
    question = example_of(Task.VQA)
    reward = LoggedReward(
        RewardSettings(name=name),
        [report, question],
        EMBEDDED_CONVENTIONS,
        GRID,
        ScoredRollouts(),
        first=True,
    )
    told = defaultdict(list)
    texts = ["a", "ab", "abc", "abcd"]
    reward([""] * 4, texts, [1, 0, 0, 0], log_metric=lambda n, v: told[n].append(v))
    means = {key: sum(values) / len(values) for key, values in told.items()}
    assert means == pytest.approx(
        {
            f"rewards/{name}/overall": 2.5 / 40,
            f"rewards/{name}/vqa": 1 / 40,
            f"rewards/{name}/findings": 3 / 40,
            "parse_rate": means["parse_rate"],
        }
    )


def test_a_part_that_no_rollout_has_is_null_in_the_log(tmp_path: Path) -> None:
    first = RunLog(tmp_path / "log.jsonl", "test")
    again = RunLog(tmp_path / "log.jsonl", "test")
    for log, step, logs in (
        (first, 1, {"reward": 1.0, "rewards/mine/a": 0.5}),
        (first, 2, {"reward": 1.0, "rewards/mine/b": 0.5}),
        (again, 3, {"reward": 1.0}),
    ):
        state = TrainerState(global_step=step, max_steps=3)
        log.on_train_begin(TrainingArguments("unused"), state, TrainerControl())
        log.on_log(TrainingArguments("unused"), state, TrainerControl(), logs=logs)
        log.close()
    parts = [[line.get(f"rewards/mine/{n}", "none") for n in "ab"] for line in lines(tmp_path)]
    assert parts == [[0.5, "none"], [None, 0.5], [None, None]]


def test_the_last_figures_of_a_log_hold_what_was_told_of_the_latest_rollouts(
    tmp_path: Path,
) -> None:
    log = RunLog(tmp_path / "log.jsonl", "test")
    for step, logs in (
        (1, {"reward": 1.0, "parse_rate": 0.5}),
        (2, {"reward": 2.0, "loss": 0.1}),
        (3, {"loss": 0.2}),  # a further step on the same rollouts
    ):
        state = TrainerState(global_step=step, max_steps=3)
        log.on_log(TrainingArguments("unused"), state, TrainerControl(), logs=logs)
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert RunLog(tmp_path / "log.jsonl", "test").last == log.last
    assert (log.last["reward"], log.last["loss"]) == (2.0, 0.2)
    assert "parse_rate" not in log.last


def test_of_groups_that_were_all_dropped_neither_kl_nor_entropy_is_told(
    tiny: Path, tmp_path: Path
) -> None:
    rewards = [{"name": "tests.training.stages.spelling_reward:constant"}]
    output = run_grpo(
        stage(tiny, tmp_path, rewards=rewards, objective={"without_spread": "drop"}, max_steps=1)
    )
    (line,) = lines(output)
    assert line["groups_without_preference"] == 1
    names = ("kl", "entropy", "clip_ratio/region_mean")
    assert [line[name] for name in names] == [None, None, None]
    drawn = scalars(output)
    assert "train/loss" in drawn
    assert not drawn.keys() & {f"train/{name}" for name in names}


def scalars(output: Path) -> dict[str, list[int]]:
    """Steps of each figure that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    drawn = EventAccumulator(str(output / "tensorboard"))
    drawn.Reload()
    return {tag: [event.step for event in drawn.Scalars(tag)] for tag in drawn.Tags()["scalars"]}


@pytest.mark.parametrize(("state", "kept"), [(0, []), (1, [1])])
def test_tensorboard_takes_back_what_was_drawn_after_the_state_gone_on_from(
    tmp_path: Path, state: int, kept: list[int]
) -> None:
    for began, last in ((0, 3), (state, 2)):
        (board,) = tensorboard(LoggingSettings(), tmp_path, began)
        arguments, control = TrainingArguments(str(tmp_path / "run")), TrainerControl()
        for step in range(began + 1, last + 1):
            board.on_log(arguments, TrainerState(global_step=step), control, logs={"loss": 1.0})
        board.on_train_end(arguments, TrainerState(), control)
    assert scalars(tmp_path)["train/loss"] == [*kept, *range(state + 1, 3)]


def example_of(task: Task) -> Example:
    return Example(
        id=str(task),
        images=("film.png",),
        sizes=((32, 36),),
        task=task,
        mode=Mode.THINK,
        answer="Clear.",
        steps=(),
        split="train",
        subject="s",
        view="PA",
    )


def test_samples_are_drawn_with_their_text(done: Path) -> None:
    pictures = sorted((done / "samples").glob("*.png"))
    assert [p.name for p in pictures] == ["step-000002-0.png", "step-000002-1.png"]
    assert Image.open(pictures[0]).width >= 640
    assert "variety/letters" in pictures[0].with_suffix(".txt").read_text()


def test_the_tower_stays_and_the_language_model_moves(done: Path, tiny: Path) -> None:
    before, after = (load_file(f / "model.safetensors") for f in (tiny / "model", done))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any("visual" in name for name in moved)
    record = json.loads((done / "stage.json").read_text())
    assert record["stage"] == "grpo"
    assert record["config"]["objective"]["kl"] == 0.01
    assert record["metrics"]["reward"] == lines(done)[-1]["reward"]
    assert record["start_hash"] == weights_hash(tiny / "model")
    assert record["weights_hash"] == weights_hash(done)


@pytest.mark.parametrize(
    ("engine", "lora"),
    [("shared-prefix", None), ("transformers", None), ("transformers", {"rank": 2, "alpha": 4})],
)
def test_the_tower_or_adapters_learn(
    tiny: Path, tmp_path: Path, engine: str, lora: dict[str, int] | None
) -> None:
    model = {
        "start": str(tiny / "model"),
        "manifest": "embedded",
        "train_vision": lora is None,
        "lora": lora,
    }
    rollouts = {
        "engine": engine,
        "prompts": 1,
        "group": 2,
        "batch_size": 2,
        "max_tokens": 4,
    }
    output = run_grpo(stage(tiny, tmp_path, model=model, rollouts=rollouts, max_steps=1))
    (line,) = lines(output)
    assert line["grad_norm"] > 0
    if lora:
        saved = load_file(output / "adapter_model.safetensors")
        assert saved
        assert not any("visual" in name for name in saved)
    else:
        before, after = (load_file(f / "model.safetensors") for f in (tiny / "model", output))
        tower = [name for name in before if "visual" in name]
        assert any(not torch.equal(before[name], after[name]) for name in tower)


def test_a_film_is_opened_once_for_all_rollouts_of_a_generation(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def counted(folder: Path, film: str, grid: PixelGrid, size: tuple[int, int]) -> Any:
        opened.append(film)
        return shown_film(folder, film, grid, size)

    monkeypatch.setattr("training.stages.grpo.shown_film", counted)
    rollouts = {
        "engine": "transformers",
        "prompts": 4,
        "group": 2,
        "batch_size": 2,
        "minibatches": 2,
        "max_tokens": 4,
    }
    logging = {"every": 1, "save_every": 4, "report_to": []}
    output = run_grpo(stage(tiny, tmp_path, rollouts=rollouts, logging=logging, max_steps=4))
    assert len(lines(output)) == 4  # of two generations of four films, two steps and parts each
    assert len(opened) <= 2 * 4
    assert len(opened) == len(set(opened))


@pytest.mark.parametrize(("recipe", "devices"), [("7b-8gpu", 7), ("7b-1gpu-lora", 1)])
def test_the_large_recipes_are_what_trl_takes(
    tiny: Path, recipe: str, devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(devices))
    config = read_config(GroupRelativeStage, f"{recipe}/grpo", [f"model.start={tiny / 'model'}"])
    arguments = grpo_arguments(config, begin(config.model, config.output), [1.0])
    assert set(arguments) <= {field.name for field in dataclasses.fields(GRPOConfig)}
    generated = arguments["per_device_train_batch_size"] * arguments["steps_per_generation"]
    assert generated * devices == config.rollouts.prompts * config.rollouts.group
    assert set(arguments["generation_kwargs"]["logit_bias"].values()) == {-100.0}


@pytest.mark.parametrize(
    ("length", "reward"), [(5, 0.0), (6, 0.0), (7, -0.25), (8, -0.5), (9, -0.75), (10, -1.0)]
)
def test_long_completions_lose_linearly(length: int, reward: float) -> None:
    penalty = overlong_penalty(OverlongSettings(penalty_tokens=4), 10)
    assert penalty(completion_ids=[[0] * length]) == [reward]
