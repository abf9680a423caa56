"""A run that is killed goes on to the same result as one that never was."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from safetensors.torch import load_file, save_file
from transformers import TrainerControl, TrainerState, TrainingArguments

from training.checkpoint import record_stage
from training.checkpoint.lineage import ground_truth_hash
from training.stages.config import (
    DataSettings,
    GroupRelativeStage,
    SupervisedStage,
    read_config,
)
from training.stages.errors import ConfigError, SilentFailureError
from training.stages.grpo import run_grpo
from training.stages.record import write_stage_record
from training.stages.resume import (
    MarkWhole,
    Origin,
    begin_run,
    check_same_run,
    cut_log,
    finished,
    state_to_resume,
    train_or_restore,
)
from training.stages.supervised import run_supervised

ROOT = Path(__file__).parents[3]
KILLED_AT = 3
SAVED_EVERY = 2
RUNS = ("sft", "sft-saving", "grpo", "grpo-lora")


def config(name: str, tiny: Path, output: Path) -> dict[str, object]:
    shared: dict[str, Any] = {
        "output": str(output),
        "data": {"folder": str(tiny / "films")},
        "model": {"start": str(tiny / "model"), "manifest": "embedded", "keep_seen": True},
        "logging": {"every": 1, "save_every": SAVED_EVERY, "report_to": []},
        "seed": 5,
    }
    if name.startswith("sft"):
        ours = {"soft_coordinates": 2.0, "optimizer": {"name": "muon", "learning_rate": 2e-3}}
        return {**shared, "batch_size": 3, **(ours if name == "sft" else {})}
    rollouts: dict[str, object] = {"prompts": 2, "group": 3, "batch_size": 3, "max_tokens": 10}
    if name == "grpo-lora":  # several steps on the same rollouts, as the 7B recipes have it
        rollouts |= {"prompts": 4, "engine": "transformers", "minibatches": 2}
        shared["model"] |= {"lora": {"rank": 2}}
    return {
        **shared,
        "rollouts": rollouts,
        "rewards": [{"name": "tests.training.stages.spelling_reward:variety"}],
        "optimizer": {"learning_rate": 1e-3},
        "guards": {"cut_off": 1.0},
        "max_steps": 5,
    }


@pytest.fixture(scope="module")
def killed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of runs that were killed: one step after their first checkpoint, amid the second."""
    folder = tmp_path_factory.mktemp("killed")
    for name in RUNS:
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
    assert done.stdout.split() == [word for name in RUNS for word in (name, "killed")], done.stderr
    return folder


def run(name: str, file: Path | str, *overrides: str, resume: bool = False) -> Path:
    if name.startswith("sft"):
        return run_supervised("sft", read_config(SupervisedStage, file, overrides), resume=resume)
    return run_grpo(read_config(GroupRelativeStage, file, overrides), resume=resume)


def figures(output: Path) -> list[dict[str, float]]:
    """The log without what depends on the clock."""
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    clock = ("seconds", "step_time")
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_resumes_to_the_same_last_digit(
    killed: Path, name: str, one_thread: None
) -> None:
    file = killed / f"{name}.yaml"
    whole = run(name, file, f"output={killed / 'whole' / name}")
    assert [line["step"] for line in figures(killed / name)][-1] <= KILLED_AT + 1
    halves = {path.name for path in (killed / name / "run").glob("checkpoint-*")}
    assert halves == ({"checkpoint-2", "checkpoint-4"} if "saving" in name else {"checkpoint-2"})
    resumed = run(name, file, resume=True)
    assert figures(resumed) == figures(whole)
    assert len({line["loss"] for line in figures(whole)}) > 1
    written = "adapter_model.safetensors" if "lora" in name else "model.safetensors"
    weights, expected = (load_file(f / written) for f in (resumed, whole))
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


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_a_shortened_run_goes_on_to_its_whole_length(
    killed: Path, tmp_path: Path, name: str, one_thread: None
) -> None:
    given = yaml.safe_load((killed / f"{name}.yaml").read_text())
    given.pop("max_steps", None)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(given))
    output = f"output={tmp_path / 'out'}"
    first = run(name, file, output, "max_steps=2")
    (first / "stage.json").unlink()  # killed before it was written
    resumed = run(name, file, output, resume=True)
    unbroken = run(name, file, f"output={tmp_path / 'whole'}")
    assert figures(resumed)[-1]["step"] > 2
    assert figures(resumed)[-1]["step"] == figures(unbroken)[-1]["step"]


def test_the_last_state_under_deepspeed_is_refused_with_the_way_out(tmp_path: Path) -> None:
    state = tmp_path / "checkpoint-4"
    state.mkdir()
    (state / "trainer_state.json").write_text('{"global_step": 4, "max_steps": 4}')
    trainer = Mock(is_deepspeed_enabled=True)
    trainer.set_initial_training_values.return_value = (1, 4, 12, 12, 3, 4, 4)
    with pytest.raises(ConfigError, match=r"checkpoint-4 is .*Remove that folder and --resume"):
        train_or_restore(trainer, state)
    trainer.set_initial_training_values.return_value = (1, 5, 15, 15, 3, 5, 5)
    train_or_restore(trainer, state)
    trainer.train.assert_called_once_with(resume_from_checkpoint=str(state))


def test_a_run_goes_on_only_as_it_was_begun(killed: Path, tmp_path: Path) -> None:
    config = read_config(SupervisedStage, killed / "sft.yaml", (f"output={tmp_path}",))
    begin_run(config, "0a", Origin(), None)
    check_same_run(replace(config, seed=config.seed + 1), "0b")  # nothing is done yet
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    check_same_run(config)
    check_same_run(replace(config, logging=replace(config.logging, keep=7)), "0a")
    with pytest.raises(ConfigError, match="seed"):
        check_same_run(replace(config, seed=config.seed + 1))
    with pytest.raises(ConfigError, match=r"another config \(the data in data\.folder\)"):
        check_same_run(config, "0b")


def test_a_run_of_an_earlier_version_goes_on_with_the_data_that_it_noted(
    killed: Path, tmp_path: Path
) -> None:
    config = read_config(SupervisedStage, killed / "sft.yaml", (f"output={tmp_path}",))
    truth = ground_truth_hash(config.data.folder, config.data.split)
    for once in ("0a", truth):  # of a store, which is what is compared today; of films
        begin_run(config, once, Origin(), None)
        (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
        noted = tmp_path / "run" / "config.json"
        noted.write_text(noted.read_text().replace("data_digest", "data_hash"))
        check_same_run(config, "0a")
    noted.write_text(noted.read_text().replace(truth, "0b"))
    with pytest.raises(ConfigError, match="data"):
        check_same_run(config, "0a")


def test_guards_may_change_and_those_of_an_earlier_version_lack_some(
    killed: Path, tmp_path: Path
) -> None:
    config = read_config(GroupRelativeStage, killed / "grpo.yaml", (f"output={tmp_path}",))
    begin_run(config, "0a", Origin(), None)
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    noted = tmp_path / "run" / "config.json"
    noted.write_text(json.dumps({**json.loads(noted.read_text()), "guards": {"patience": 3}}))
    check_same_run(config, "0a")


def test_a_run_goes_on_only_from_the_exported_checkpoint_that_it_began_with(
    killed: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    start.mkdir()
    overrides = (f"output={tmp_path / 'out'}", f"model.start={start}")
    config = read_config(SupervisedStage, killed / "sft.yaml", overrides)
    begin_run(config, "0a", Origin(), None)
    (tmp_path / "out" / "log.jsonl").write_text('{"step": 1}\n')
    (start / "deepmedix.json").write_text('{"revision": "one"}')
    check_same_run(config, "0a")  # begun when no manifest was noted
    begin_run(config, "0a", Origin(), None)
    check_same_run(config, "0a")
    (start / "deepmedix.json").write_text('{"revision": "two"}')
    with pytest.raises(ConfigError, match="the checkpoint that it starts from"):
        check_same_run(config, "0a")


def doubled(weights: Path) -> None:
    """Other weights of the same form."""
    save_file({n: 2 * w for n, w in load_file(weights).items()}, weights, {"format": "pt"})


def test_the_record_tells_what_the_run_began_with_not_what_it_went_on_with(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(revision: str, *, resume: bool) -> tuple[str, str]:
        monkeypatch.setattr("training.stages.supervised.code_revision", lambda: revision)
        overrides = (f"output={tmp_path}", "max_steps=2")
        told = json.loads(
            (run("sft", killed / "sft.yaml", *overrides, resume=resume) / "stage.json").read_text()
        )
        (tmp_path / "stage.json").unlink()
        return told["code_revision"], told["start_hash"]

    began = record("r1", resume=False)
    assert began[0] == "r1"
    assert began[1]
    assert record("r2", resume=True) == began
    noted = tmp_path / "run" / "config.json"
    begun = json.loads(noted.read_text())
    older = {n: v for n, v in begun.items() if n not in ("start_hash", "code_revision")}
    noted.write_text(json.dumps(older))  # as an earlier version of the program left it
    assert record("r3", resume=True) == ("", "")


def test_a_run_begun_anew_before_its_first_state_is_of_the_code_that_begins_it(
    killed: Path, tmp_path: Path
) -> None:
    config = read_config(SupervisedStage, killed / "sft.yaml", (f"output={tmp_path}",))
    begin_run(config, "0a", Origin("ab", "r1"), None)
    assert begin_run(config, "0a", Origin("ab", "r2"), None) == Origin("ab", "r2")
    assert begin_run(config, "0a", Origin("cd", "r3"), tmp_path) == Origin("ab", "r2")


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_two_runs_do_not_write_to_one_output(killed: Path, tmp_path: Path, name: str) -> None:
    half = tmp_path / "run" / "checkpoint-2"  # which the other is saving
    half.mkdir(parents=True)
    with (tmp_path / "run" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="is being written by another process"):
            run(name, killed / f"{name}.yaml", f"output={tmp_path}", resume=True)
    assert half.exists()


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_a_run_that_was_refused_was_not_begun(killed: Path, tmp_path: Path, name: str) -> None:
    wrong = ["optimizer.name=muon", "model.lora.rank=2", "soft_coordinates=null"]
    if name == "grpo":
        wrong = ["rollouts.batch_size=4"]
    with pytest.raises(ConfigError):
        run(name, killed / f"{name}.yaml", f"output={tmp_path}", *wrong)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_a_run_does_not_go_on_with_other_data_nor_from_other_weights(
    killed: Path, tiny: Path, tmp_path: Path, name: str
) -> None:
    films = Path(shutil.copytree(tiny / "films", tmp_path / "films"))
    start = Path(shutil.copytree(tiny / "model", tmp_path / "start"))
    places = (f"output={tmp_path / 'out'}", f"data.folder={films}", f"model.start={start}")
    overrides = (*places, "max_steps=2")
    (run(name, killed / f"{name}.yaml", *overrides) / "stage.json").unlink()
    shard = films / "train-0000.jsonl"
    whole = shard.read_text()
    shard.write_text(whole.replace("patient-0", "patient-9"))
    with pytest.raises(ConfigError, match=r"another config \(the data in data\.folder\)"):
        run(name, killed / f"{name}.yaml", *overrides, resume=True)
    shard.write_text(whole)
    film = films / "films" / "0.png"
    pixels = film.read_bytes()
    shutil.copyfile(films / "films" / "1.png", film)
    with pytest.raises(ConfigError, match=r"another config \(the data in data\.folder\)"):
        run(name, killed / f"{name}.yaml", *overrides, resume=True)
    film.write_bytes(pixels)
    doubled(start / "model.safetensors")
    with pytest.raises(ConfigError, match=r"another config \(the weights that it starts from\)"):
        run(name, killed / f"{name}.yaml", *overrides, resume=True)


@pytest.mark.parametrize("spoil", ["cut", "lacking", "lost"])
def test_a_run_does_not_go_on_with_weights_that_its_state_lacks_or_that_are_lost(
    killed: Path, tmp_path: Path, spoil: str
) -> None:
    file = killed / "sft.yaml"
    overrides = (f"output={tmp_path}", "logging.keep=9")
    (run("sft", file, *overrides) / "stage.json").unlink()
    weights = max((tmp_path / "run").glob("checkpoint-*")) / "model.safetensors"
    if spoil == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        kept = load_file(weights)
        norm = kept.pop("model.norm.weight")
        if spoil == "lost":
            kept["model.norm.weight"] = norm * math.nan
        save_file(kept, weights, {"format": "pt"})
    with pytest.raises(SilentFailureError, match=r"cannot be resumed from.*weights"):
        run("sft", file, *overrides, resume=True)


@pytest.mark.parametrize("file", ["optimizer.pt", "rng_state.pth", "trainer_state.json"])
def test_a_state_that_lost_its_end_is_told_with_the_way_out(
    killed: Path, tmp_path: Path, file: str
) -> None:
    shutil.copytree(killed / "sft", tmp_path / "sft")
    state = max((tmp_path / "sft" / "run").glob("checkpoint-*"))
    damaged = state / file
    damaged.write_bytes(damaged.read_bytes()[:100])
    told = rf"{state.name} is damaged \({file}.*Delete that folder"
    with pytest.raises(ConfigError, match=told):
        train_or_restore(Mock(), damaged.parent)


def mark(run: Path, step: int, keep: int, *, first: bool = True) -> None:
    state = TrainerState(global_step=step, is_world_process_zero=first)
    MarkWhole(keep).on_save(TrainingArguments(str(run)), state, TrainerControl())


def test_the_last_whole_state_stays_until_the_next_is_marked(tmp_path: Path) -> None:
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        mark(tmp_path, step, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
    (tmp_path / "checkpoint-12").mkdir()  # saved, and killed before it was marked
    assert state_to_resume(tmp_path, resume=True) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_the_trainer_itself_removes_no_state(
    killed: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MarkWhole, "on_save", lambda *given, **more: None)
    overrides = (f"output={tmp_path}", "logging.keep=1", "logging.save_every=1", "max_steps=2")
    output = run(name, killed / f"{name}.yaml", *overrides)
    states = {path.name for path in (output / "run").glob("checkpoint-*")}
    assert states == {"checkpoint-1", "checkpoint-2"}


@pytest.mark.parametrize("first", [True, False])
def test_a_state_is_marked_once_every_process_has_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    folder = tmp_path / "checkpoint-2"
    folder.mkdir()
    waited: list[bool] = []
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr(
        "torch.distributed.barrier", lambda: waited.append((folder / "whole").exists())
    )
    mark(tmp_path, 2, 1, first=first)
    assert waited == [False]
    assert (folder / "whole").exists() == first


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
    (tmp_path / "stage.json").write_text('{"stage": "sft"}')
    file = killed / "sft.yaml"
    with pytest.raises(ConfigError, match="finished"):
        run("sft", file, f"output={tmp_path}")
    assert run("sft", file, f"output={tmp_path}", resume=True) == tmp_path


@pytest.mark.parametrize("wanted", [4, None])
def test_a_finished_stage_that_more_steps_are_asked_of_is_not_passed_over(
    tmp_path: Path, wanted: int | None
) -> None:
    (tmp_path / "stage.json").write_text('{"stage": "sft", "config": {"max_steps": 3}}')
    with pytest.raises(ConfigError, match=r"finished with max_steps 3.*stage\.json to go on"):
        finished(tmp_path, resume=True, max_steps=wanted)
    assert finished(tmp_path, resume=True, max_steps=3)


def test_half_a_record_does_not_say_that_a_stage_has_finished(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text('{"stage": "gr')
    assert not finished(tmp_path, resume=True)
    assert not finished(tmp_path, resume=False)


def test_a_file_that_could_not_be_written_to_its_end_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n')

    def full(path: Path, text: str, **more: object) -> None:
        with path.open("w") as file:
            file.write(text[:3])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        cut_log(log, 1)
    with pytest.raises(OSError, match="no space"):
        record_stage(tmp_path, "sft", tmp_path, "r1")
    with pytest.raises(OSError, match="no space"):
        write_stage_record(tmp_path, "sft", DataSettings(folder=tmp_path), "0a", {}, Origin())
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert not (tmp_path / "stage.json").exists()
