"""What a run tells: a progress bar on the console and one JSON line for every log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.stages.config import LoggingSettings
from training.stages.errors import ConfigError
from training.stages.processes import is_first_process
from training.stages.resume import cut_log, last_figures, told

_SHOWN = {
    "loss": "loss",
    "reward": "reward",
    "parse_rate": "parsed",
    "kl": "kl",
    "entropy": "entropy",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "cut off",
    "clip_ratio/region_mean": "clip fraction",
    "groups_without_preference": "alike",
    "mean_token_accuracy": "accuracy",
    "grad_norm": "grad",
}
_PARTS = "rewards/"


class RunLog(TrainerCallback):
    """Writes ``log.jsonl`` and keeps a progress bar.

    A reward's part that no rollout of a line has is null there.

    Parameters
    ----------
    path
        The log; lines after the step that a run resumes from are taken out.
    title
        Of the bar.
    console
        Where the bar is drawn; the standard error by default.
    """

    def __init__(self, path: Path, title: str, console: Console | None = None) -> None:
        self._path = path
        self._started = time.monotonic()
        self._progress = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console or Console(stderr=True),
        )
        self._bar = self._progress.add_task(title, total=None, figures="")
        self.last: dict[str, Any] = last_figures(path)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the bar where the run goes on from."""
        if state.is_world_process_zero:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            cut_log(self._path, state.global_step)
            self.last = last_figures(self._path)
            self._progress.start()
            self._progress.update(self._bar, total=state.max_steps, completed=state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Advance."""
        self._progress.update(self._bar, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a line."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        # Parts of a reward that none of these rollouts has, though earlier ones did.
        parts = [name for name in self.last if name.startswith(_PARTS) and name not in logs]
        absent = dict.fromkeys(parts if "reward" in logs else ())
        line = {"step": state.global_step, **logs, **absent}
        line["seconds"] = round(time.monotonic() - self._started, 3)
        self.last = told(self.last, line)
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        figures = [
            f"{short} {logs[name]:.3g}"
            for name, short in _SHOWN.items()
            if isinstance(logs.get(name), float | int)
        ]
        self._progress.update(self._bar, figures="  ".join(figures))
        if not self._progress.console.is_terminal:
            said = f"{state.global_step}/{state.max_steps}  {'  '.join(figures)}"
            self._progress.console.print(said, highlight=False, soft_wrap=True)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the bar."""
        self.close()

    def close(self) -> None:
        """Leave the bar, also after a failure."""
        self._progress.stop()


def tensorboard(settings: LoggingSettings, output: Path, step: int) -> list[TrainerCallback]:
    """TensorBoard's callback where it is asked for, writing to ``output/tensorboard``.

    A figure that is null in the log is left out there.

    Parameters
    ----------
    step
        That the run goes on from, 0 where it begins; what was drawn after it is taken back.

    Raises
    ------
    ConfigError
        When it is not installed.
    """
    if "tensorboard" not in settings.report_to or not is_first_process():
        return []
    from transformers.integrations import TensorBoardCallback

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "logging.report_to: tensorboard is not installed: pip install 'deepmedix[train]', or "
            "take it out of the list."
        ) from error

    class WithoutNull(TensorBoardCallback):
        def on_log(self, *given: Any, logs: Mapping[str, Any] | None = None, **more: Any) -> None:
            figures = {name: value for name, value in (logs or {}).items() if value is not None}
            super().on_log(*given, logs=figures, **more)

    folder = output / "tensorboard"
    drawn = any(folder.glob("events.out.tfevents.*"))
    return [WithoutNull(SummaryWriter(str(folder), purge_step=step + 1 if drawn else None))]


def elsewhere(settings: LoggingSettings) -> list[str] | str:
    """Where else transformers reports to.

    Raises
    ------
    ConfigError
        When a place needs a package that is not installed.
    """
    places = [place for place in settings.report_to if place != "tensorboard"]
    for place in places:
        if find_spec(place) is None:
            raise ConfigError(
                f"logging.report_to: {place} is not installed: pip install {place}, or take it "
                "out of the list."
            )
    return places or "none"
