"""Runs stages in processes of their own and kills each, as kill -9 does: at a step, amid a save.

``python killed_runs.py FOLDER STEP``: ``FOLDER`` holds the tiny checkpoint, its films and one
config for each stage; used by ``test_resume.py``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def killer(step: int) -> Any:
    """A callback that kills the process at the end of a step."""
    from transformers import TrainerCallback

    class Kill(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == step:
                os.kill(os.getpid(), signal.SIGKILL)

    return Kill()


def die_amid_save(step: int) -> None:
    """Kill the process when weights are written and the optimizer's state half is."""
    import torch

    whole = torch.save

    def half(state: Any, file: Any, *given: Any, **more: Any) -> None:
        if Path(file).parent.name == f"checkpoint-{step}":
            Path(file).write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        whole(state, file, *given, **more)

    torch.save = half


def main(folder: Path, step: int) -> None:
    """Fork once for each stage: importing takes longer than running."""
    from training.stages.config import GroupRelativeStage, SupervisedStage, read_config
    from training.stages.grpo import run_grpo
    from training.stages.supervised import run_supervised

    for name in ("sft", "sft-saving", "grpo", "grpo-lora"):
        child = os.fork()
        if child == 0:
            file, callbacks = folder / f"{name}.yaml", [killer(step)]
            if name == "sft-saving":
                die_amid_save(step + 1)
                callbacks = []
            if name.startswith("sft"):
                run_supervised("sft", read_config(SupervisedStage, file), callbacks=callbacks)
            else:
                run_grpo(read_config(GroupRelativeStage, file), callbacks=callbacks)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(name, "killed" if os.WIFSIGNALED(status) else "ended")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
