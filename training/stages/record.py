"""``stage.json``: what made a stage's output, for the manifest's lineage."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from service.engine import LineageRecord
from training.checkpoint.lineage import STAGE_RECORD, weights_hash
from training.stages.config import describe
from training.stages.resume import Origin
from training.whole_file import write_whole

_LINEAGE_NAMES = {"cold-start": "cold_start"}
_TIMES = ("seconds", "step_time")
_ROOT = Path(__file__).resolve().parents[2]
"""Folder that holds the packages: the top of a checkout, or ``site-packages``."""


def write_stage_record(
    folder: Path,
    stage: str,
    config: Any,
    digest: str,
    last: Mapping[str, Any],
    origin: Origin,
) -> None:
    """Note beside a stage's output its config, data, origin and last logged figures.

    Parameters
    ----------
    config
        The stage's dataclass.
    digest
        Hash of the data.
    last
        The last line of the log.
    origin
        What the stage began with.
    """
    metrics = {
        name: float(value)
        for name, value in last.items()
        if isinstance(value, int | float) and isfinite(value) and name not in _TIMES
    }
    record = LineageRecord(
        stage=_LINEAGE_NAMES.get(stage, stage),
        config=describe(config),
        data_hash=digest,
        code_revision=origin.code_revision,
        start_hash=origin.start_hash,
        weights_hash=weights_hash(folder),
        metrics=metrics,
    )
    write_whole(folder / STAGE_RECORD, record.model_dump_json(indent=2) + "\n")


def code_revision() -> str:
    """Revision of the checkout, ``-dirty`` where files differ from it; empty outside one.

    Installed in an environment within another repository, that one's revision is not the code's.
    """
    top = _git("rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != _ROOT:
        return ""
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False, cwd=_ROOT
        )
    except OSError:
        return ""
    return done.stdout.strip()
