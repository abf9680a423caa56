"""What a run was begun with, which of its states is whole, and the log up to it.

A process that is killed while it saves leaves half a checkpoint. Each is marked once it is whole;
only a marked one is resumed from.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from service.engine.manifest import MANIFEST_FILE
from training.checkpoint.errors import CheckpointError
from training.checkpoint.lineage import (
    STAGE_RECORD,
    ground_truth_hash,
    is_finished,
    read_record,
)
from training.checkpoint.loading import load_complete, not_finite, some
from training.stages.begin import RUN_CONFIG
from training.stages.config import describe
from training.stages.errors import ConfigError, SilentFailureError
from training.stages.processes import is_first_process
from training.whole_file import write_whole

_WHOLE = "whole"
_DATA = "data_digest"
_DATA_ONCE = "data_hash"
"""What earlier versions noted of the data: of a store the same, of films their ground truth."""
_START = "start_hash"
_REVISION = "code_revision"
_MAY_CHANGE = ("output", "logging", "max_steps", "guards")
_SAID = {
    "start": "the checkpoint that it starts from",
    _START: "the weights that it starts from",
    _DATA: "the data in data.folder",
}
_NUMBERED = re.compile(r"^checkpoint-(\d+)$")
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What file systems say that know no locks."""


@dataclass(frozen=True)
class Origin:
    """What a run was begun with, beside its config and data.

    Attributes
    ----------
    start_hash
        SHA-256 of the weights that it started from; empty if none or unknown.
    code_revision
        Of the training code; empty if unknown.
    """

    start_hash: str = ""
    code_revision: str = ""


class MarkWhole(TrainerCallback):
    """Marks every checkpoint that all processes have saved to its end, then removes old ones.

    The trainer itself would remove old ones before the new one is marked: kept one, a run killed
    in between would have none.

    Parameters
    ----------
    keep
        Marked checkpoints that are kept.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Log and save as often as this run asks, not as often as the one that it resumes."""
        state.compute_steps(args, state.max_steps)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Leave the mark."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        if not state.is_world_process_zero:
            return
        run = Path(args.output_dir or ".")
        (run / f"checkpoint-{state.global_step}" / _WHOLE).touch()
        whole = [path for _, path in sorted(_numbered(run).items()) if (path / _WHOLE).exists()]
        for path in whole[: -self._keep]:
            (path / _WHOLE).unlink()  # first, so that no half of it is resumed from
            shutil.rmtree(path, ignore_errors=True)


class ResumesWeights:
    """Base beside a ``Trainer``: a checkpoint's weights go by the names that the model knows.

    transformers 5.19 writes Qwen2.5-VL's weights under their published names and, on resuming,
    looks for them under its own: it warns, and goes on with the weights of the start.
    """

    model: Any

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        target = self.model if model is None else model
        sharded = self.is_deepspeed_enabled or self.is_fsdp_enabled
        if sharded or not isinstance(target, PreTrainedModel):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        try:
            saved = load_complete(type(target), resume_from_checkpoint, dtype=target.dtype)
        except CheckpointError as error:
            raise SilentFailureError(
                f"{resume_from_checkpoint} cannot be resumed from ({error}): the run would go on "
                "with weights of its start, or with random ones. Delete that folder to resume from "
                "the one before it, or start the stage anew."
            ) from error
        if lost := not_finite(saved):
            raise SilentFailureError(
                f"{resume_from_checkpoint} cannot be resumed from (weights are not finite: "
                f"{some(lost)}). Delete that folder to resume from the one before it, or start the "
                "stage anew with a lower optimizer.learning_rate."
            )
        target.load_state_dict(saved.state_dict())

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        if load_result.missing_keys:
            raise SilentFailureError(
                f"The checkpoint lacks {len(load_result.missing_keys)} of the model's weights "
                f"({load_result.missing_keys[0]}, ...): the run would go on with those it started "
                "from. Start the stage anew."
            )


def check_same_run(stage: Any, digest: str | None = None, start_hash: str = "") -> None:
    """Refuse to go on with a run that was begun with something else.

    Output, logging, number of steps and guards may change. A run of which no state is saved and no
    step is told has done nothing yet: it begins anew, with whatever is asked for.

    Parameters
    ----------
    digest, start_hash
        Hashes of the data and of the start's weights. Each is not compared where it is not given,
        nor where an earlier version of the program began the run and did not note it.

    Raises
    ------
    ConfigError
        When a run was begun here with another config, on other data, or from another checkpoint.
    """
    begun = _begun(stage.output)
    if not begun or _has_done_nothing(stage.output):
        return
    for name in (_REVISION, *_MAY_CHANGE):
        begun.pop(name, None)
    once = begun.pop(_DATA_ONCE, None)
    if once and digest:
        data = stage.data
        same = once in (digest, ground_truth_hash(data.folder, data.split))
        begun[_DATA] = digest if same else once
    settings = _begun_with(stage)
    for name, value in ((_DATA, digest), (_START, start_hash)):
        if value and name in begun:
            settings[name] = value
        else:
            begun.pop(name, None)
    if "start" not in begun and _record_of_start(stage) != STAGE_RECORD:
        settings.pop("start", None)  # begun when a manifest was not noted yet
    names = sorted(n for n in {*begun, *settings} if begun.get(n) != settings.get(n))
    if names:
        said = [_SAID.get(name, name) for name in names]
        raise ConfigError(
            f"{stage.output} was begun with another config ({', '.join(said)}). Go on with that "
            "one, name another output, or remove the folder."
        )


def _has_done_nothing(output: Path) -> bool:
    """Whether a run was begun there, but stopped in its first step or before."""
    told = next(_lines(output / "log.jsonl"), None)
    return told is None and not _numbered(output / "run") and not is_finished(output)


def begin_run(stage: Any, digest: str, origin: Origin, state: Path | None) -> Origin:
    """Note what a run is begun with, for :func:`check_same_run`.

    For the first process, once settings, data and model have been found to fit.

    Parameters
    ----------
    digest
        Hash of the data.
    origin
        Of a run that begins now.
    state
        That it goes on from, where it does.

    Returns
    -------
    Origin
        Of the run: where it goes on, what was noted when it began, which an earlier version of the
        program did not.
    """
    if state is not None:
        begun = _begun(stage.output)
        origin = Origin(begun.get(_START, ""), begun.get(_REVISION, ""))
    known = {name: value for name, value in asdict(origin).items() if value}
    file = stage.output / RUN_CONFIG
    file.parent.mkdir(parents=True, exist_ok=True)
    noted = {**_begun_with(stage), _DATA: digest, **known}
    write_whole(file, json.dumps(noted, indent=1) + "\n")
    return origin


def _begun(output: Path) -> dict[str, Any]:
    """What :func:`begin_run` noted; empty where it did not."""
    try:
        begun: dict[str, Any] = json.loads((output / RUN_CONFIG).read_text())
    except (OSError, ValueError):
        return {}
    return begun


def _begun_with(stage: Any) -> dict[str, Any]:
    settings = {name: v for name, v in describe(stage).items() if name not in _MAY_CHANGE}
    if record := _record_of_start(stage):
        content = (Path(stage.model.start) / record).read_bytes()
        settings["start"] = hashlib.sha256(content).hexdigest()
    return settings


def _record_of_start(stage: Any) -> str | None:
    """File that says what the start is: a stage's record, or the manifest of an exported one."""
    start = Path(stage.model.start)
    return next((name for name in (STAGE_RECORD, MANIFEST_FILE) if (start / name).is_file()), None)


@contextmanager
def only_run(output: Path) -> Iterator[None]:
    """Hold a stage's output for this run alone, in the first of its processes.

    Raises
    ------
    ConfigError
        When another run writes there.
    """
    if not is_first_process():
        yield
        return
    file = (output / RUN_CONFIG).with_name("lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{output} is being written by another process (it holds {file}). Wait for it, "
                "stop it, or name another output."
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield


def train_or_restore(trainer: Any, state: Path | None) -> None:
    """Train from a state, or from the start; a state that is the run's last is only loaded.

    Raises
    ------
    ConfigError
        When the state is damaged, or the run's last, under DeepSpeed.
    """
    if state is not None:
        _refuse_damaged(state)
        told = json.loads((state / "trainer_state.json").read_text())
        if told["global_step"] >= _steps_of(trainer):
            _refuse_deepspeed(trainer, state)
            trainer._load_from_checkpoint(str(state))
            return
    trainer.train(resume_from_checkpoint=str(state) if state else None)


def _refuse_damaged(state: Path) -> None:
    """A state that was marked whole may have lost its end since, as where the power failed."""
    try:
        json.loads((state / "trainer_state.json").read_text())
        broken = [path.name for path in sorted(state.glob("*.pt*")) if not zipfile.is_zipfile(path)]
    except (OSError, ValueError):
        broken = ["trainer_state.json"]
    if broken:
        raise ConfigError(
            f"{state} is damaged ({', '.join(broken)} cannot be read). Delete that folder to "
            "resume from the one before it, or, where there is none, start the stage anew."
        )


def _refuse_deepspeed(trainer: Any, state: Path) -> None:
    """DeepSpeed's engine, which a state is loaded into and saved by, is there once one trains."""
    if trainer.is_deepspeed_enabled:
        raise ConfigError(
            f"{state} is the run's last state, which under DeepSpeed cannot be made the stage's "
            "output without training. Remove that folder and --resume again: the steps since the "
            "state before it are repeated (all of them, where there is none)."
        )


def _steps_of(trainer: Any) -> int:
    """Steps of this run: the state's ``max_steps`` are those of the run that saved it."""
    *_, steps = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    return int(steps)


def tokens_learnt(state: Path) -> int:
    """Tokens that a supervised run had gone through at a state: TRL saves their number in its log
    alone."""
    history = json.loads((state / "trainer_state.json").read_text())["log_history"]
    return int(next((line["num_tokens"] for line in reversed(history) if "num_tokens" in line), 0))


def last_figures(log: Path) -> dict[str, Any]:
    """What a log told last, as :func:`told` puts its lines together; empty where there is none."""
    last: dict[str, Any] = {}
    for line in _lines(log):
        last = told(last, line)
    return last


def told(before: Mapping[str, Any], line: Mapping[str, Any]) -> dict[str, Any]:
    """The figures after a further line.

    One between two generations says nothing of rewards: those of the latest stay.
    """
    return dict(line) if "reward" in line else {**before, **line}


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a log."""
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            found = json.loads(line)
        except ValueError:
            continue  # the line that was being written
        if isinstance(found, dict) and "step" in found:
            yield found


def finished(output: Path, *, resume: bool, max_steps: int | None = None) -> bool:
    """Whether a stage has run to its end here, so that there is nothing to resume.

    Parameters
    ----------
    max_steps
        Steps that are asked for; all where not given.

    Raises
    ------
    ConfigError
        When it has, and the caller did not ask to resume, or asks for more steps: nothing is
        overwritten.
    """
    if (output / MANIFEST_FILE).is_file():
        raise ConfigError(
            f"output: {output} is an exported checkpoint, which a stage would write over. Name "
            "another folder."
        )
    if not is_finished(output):
        return False
    if not resume:
        raise ConfigError(
            f"{output} holds the output of a finished stage. Name another output, or remove it."
        )
    done = read_record(output).config.get("max_steps")
    if isinstance(done, int) and (max_steps is None or max_steps > done):
        raise ConfigError(
            f"{output} holds the output of a stage that has finished with max_steps {done}, which "
            "later ones may have begun with. For more steps name another output, or remove "
            f"{output / STAGE_RECORD} to go on from its last state."
        )
    return True


def state_to_resume(run: Path, *, resume: bool) -> Path | None:
    """The last whole checkpoint of a run; half ones are removed.

    Parameters
    ----------
    run
        Folder that holds the run's checkpoints.
    resume
        Whether the caller asked to go on with an interrupted run.

    Raises
    ------
    ConfigError
        When a run was interrupted here and ``resume`` was not asked for.
    """
    numbered = _numbered(run)
    if numbered and not resume:
        raise ConfigError(
            f"{run} holds an interrupted run. Go on with it by --resume, or name another output."
        )
    whole = None
    for _, path in sorted(numbered.items()):
        if (path / _WHOLE).exists():
            whole = path
        elif is_first_process():
            shutil.rmtree(path, ignore_errors=True)
    return whole


def _numbered(run: Path) -> dict[int, Path]:
    """A run's checkpoints, whole or not, by their step."""
    return {
        int(found[1]): path
        for path in (run.iterdir() if run.exists() else ())
        if (found := _NUMBERED.match(path.name))
    }


def step_of(state: Path | None) -> int:
    """Number of steps that a checkpoint has behind it."""
    found = _NUMBERED.match(state.name) if state else None
    return int(found[1]) if found else 0


def cut_log(log: Path, step: int) -> None:
    """Take the lines after a step out of a log, where a run goes on from that step."""
    if not log.exists():
        return
    kept = [json.dumps(line) + "\n" for line in _lines(log) if line["step"] <= step]
    write_whole(log, "".join(kept))
