"""Weights between a stage's start and its end (WiSE-FT, Wortsman et al. 2022; WARP, Ramé 2024).

What a stage teaches on few examples it pays for with some of what was known before. On the straight
line between both sets of weights there is often a point that keeps most of either.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from service.engine import LineageRecord
from training.checkpoint.destination import resolve_destination
from training.checkpoint.errors import CheckpointError
from training.checkpoint.lineage import STAGE_RECORD, check_weights, read_record, weights_hash
from training.checkpoint.merge import copy_companions, is_adapter, load_whole
from training.checkpoint.permissions import share_weights

AVERAGE = "average"
"""Name of the stage in a lineage."""


def average_with_start(
    trained: Path, folder: Path, revision: str, *, share: float = 0.5, start: str | None = None
) -> None:
    """Write a stage's output anew, each weight between what it was before the stage and after it.

    The result is the output of a stage of its own, which started from ``trained``.

    Parameters
    ----------
    trained
        Output folder of the stage; a whole model.
    folder
        Receives the result: whole, or nothing.
    revision
        The code's, for the lineage.
    share
        Of the stage's end, above 0 and below 1.
    start
        What the stage started from, where it lies elsewhere now than its record says.

    Raises
    ------
    CheckpointError
        When a model cannot be loaded, the two are not alike, the stage started from other weights
        than those, or ``folder`` is a file or not empty.
    """
    import torch

    if not 0 < share < 1:
        raise CheckpointError(f"The share must lie between 0 and 1, and {share:g} does not.")
    if is_adapter(trained):
        raise CheckpointError(
            f"{trained} holds adapters: merge them first (deepmedix checkpoint merge)."
        )
    folder = resolve_destination(folder)
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty. Name another --out, or remove it.")
    record = read_record(trained)
    before = start or _start_of(record.config.get("model"), trained)
    first = load_whole(Path(before), dtype="float32")
    check_weights(Path(before), began=record)
    last = load_whole(trained, dtype="float32").state_dict()
    weights = first.state_dict()
    if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in last.items()}:
        raise CheckpointError(f"{before} and {trained} are not the same model.")
    mean = {
        name: torch.lerp(weight, last[name], share) if weight.is_floating_point() else last[name]
        for name, weight in weights.items()
    }
    first.load_state_dict(mean)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    first.save_pretrained(partial)
    share_weights(partial)
    copy_companions(trained, partial)
    settings: dict[str, object] = {
        "model": {"start": str(trained)},
        "share": share,
        "output": str(folder),
    }
    if start is not None:
        settings["before"] = start
    made = LineageRecord(
        stage=AVERAGE,
        config=settings,
        data_hash=record.data_hash,
        code_revision=revision,
        start_hash=weights_hash(trained),
        weights_hash=weights_hash(partial),
    )
    (partial / STAGE_RECORD).write_text(made.model_dump_json(indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _start_of(model: object, trained: Path) -> str:
    named = model.get("start") if isinstance(model, dict) else None
    if not named:
        raise CheckpointError(
            f"{trained / STAGE_RECORD} does not say what the stage started from: name it by "
            "--start."
        )
    return str(named)
