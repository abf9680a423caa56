"""What a stage begins with: the checkpoint's tokenizer, and how it is asked and shown films."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from service.engine import Manifest, ManifestError, load_manifest
from service.engine.checkpoint import shipped_manifest
from service.engine.manifest import MANIFEST_FILE, parse_manifest
from service.radiograph import PixelGrid
from service.reading import Conventions
from training.checkpoint.errors import CheckpointError
from training.checkpoint.lineage import (
    STAGE_RECORD,
    check_weights,
    names_a_path,
    read_record,
    weights_hash,
)
from training.checkpoint.loading import first_line
from training.stages.config import ModelSettings
from training.stages.errors import ConfigError
from training.stages.processes import is_first_process

PROCESSOR = "preprocessor_config.json"
_OF_PIXELS = (
    *("size", "patch_size", "merge_size", "temporal_patch_size", "image_mean", "image_std"),
    *("rescale_factor", "do_rescale", "do_normalize"),
)
"""Its fields that decide what the model sees of a film."""
RUN_CONFIG = Path("run", "config.json")
"""In a stage's output, what it was begun with."""


@dataclass(frozen=True)
class Beginning:
    """The checkpoint that a stage starts from.

    Attributes
    ----------
    conventions, grid
        Those that the service will read the result with.
    start_hash
        SHA-256 of the start's weights, in the first process; empty for a hub id.
    """

    start: str
    tokenizer: PreTrainedTokenizerBase
    conventions: Conventions
    grid: PixelGrid
    start_hash: str = ""


def begin(settings: ModelSettings, output: Path) -> Beginning:
    """Load tokenizer and conventions of what a stage with that output starts from.

    Raises
    ------
    ConfigError
        When the checkpoint or its manifest is missing, it does not verify, it is not that of a
        finished stage, it holds adapters alone, or it is the output itself.
    """
    start = Path(settings.start)
    if output.resolve() == start.resolve():
        raise ConfigError(f"output: {output} is what the stage starts from. Name another folder.")
    _refuse_missing_folder(settings.start, output)
    if settings.manifest is not None:  # else it is read for its conventions, and verified
        _refuse_unsound(start)
    if (start / "adapter_config.json").is_file():
        raise ConfigError(
            f"model.start: {settings.start} holds adapters, not a whole model. Merge them first: "
            f"deepmedix checkpoint merge {settings.start} --out FOLDER."
        )
    _refuse_unfinished(start)
    conventions, grid = conventions_of(settings)
    _refuse_other_pixels(start, grid)
    try:
        tokenizer = AutoTokenizer.from_pretrained(settings.start)
    except Exception as error:  # whatever the libraries raise over a damaged file
        raise ConfigError(
            f"model.start: no tokenizer could be loaded from {settings.start} "
            f"({first_line(error)}). Run the stage before first, or name the folder of a "
            "checkpoint."
        ) from error
    start_hash = weights_hash(start) if is_first_process() else ""
    return Beginning(settings.start, tokenizer, conventions, grid, start_hash)


def _refuse_unsound(start: Path) -> None:
    """What was exported is what its manifest says, or nothing is trained from it."""
    if not (start / MANIFEST_FILE).is_file():
        return
    try:
        load_manifest(str(start))
    except ManifestError as error:
        raise ConfigError(f"model.start: {error}") from error


def _refuse_unfinished(start: Path) -> None:
    """A stage's output is what the stage left at its end, or nothing is trained from it."""
    if not (start / STAGE_RECORD).is_file():
        if (start / RUN_CONFIG).is_file():
            raise ConfigError(
                f"model.start: the stage that writes to {start} has not finished ({STAGE_RECORD} "
                "is not there). Run it to its end (--resume), or name another."
            )
        return
    try:
        record = read_record(start)
        if is_first_process():
            check_weights(start, left=record)
    except CheckpointError as error:
        raise ConfigError(f"model.start: {error}") from error


def _refuse_other_pixels(start: Path, grid: PixelGrid) -> None:
    """What a stage wrote for those who load its output, who would see other films than it did."""
    path = start / PROCESSOR
    if not ((start / STAGE_RECORD).is_file() and path.is_file()):
        return
    from training.stages.model import image_processor

    wrote = image_processor(grid).to_dict()
    try:
        found = json.loads(path.read_text())
        changed = sorted(name for name in _OF_PIXELS if found.get(name) != _plain(wrote.get(name)))
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"model.start: {path} is not a JSON object.") from error
    if changed:
        raise ConfigError(
            f"model.start: {path} is not what the stage wrote, or model.manifest names other "
            f"pixels than it was trained with: {', '.join(changed)}. Put the file back, or name "
            "the manifest that the stage before was given."
        )


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda other: dict(other)))


def _refuse_missing_folder(start: str, output: Path) -> None:
    """A path that is not there is not looked for on a hub, which takes a minute to say no.

    ``runs/sft`` beside an output ``runs/cold_start`` is a path, too.
    """
    beside = not output.is_absolute() and Path(start).parts[:1] == output.parts[:1]
    if (beside or names_a_path(start)) and not Path(start).is_dir():
        raise ConfigError(
            f"model.start: there is no checkpoint folder {start}. Run the stage before first, or "
            "name another."
        )


def conventions_of(settings: ModelSettings) -> tuple[Conventions, PixelGrid]:
    """Prompts, box space and pixels that the settings name.

    Raises
    ------
    ConfigError
        When there is no such manifest.
    """
    named = settings.manifest or settings.start
    if settings.manifest == "embedded":
        from training.architecture import GRID
        from training.conventions import EMBEDDED_CONVENTIONS

        return EMBEDDED_CONVENTIONS, GRID
    try:
        manifest = _manifest(named)
    except ManifestError as error:
        raise ConfigError(
            f"model.manifest: {error} A stage's output holds no manifest: name the one to train "
            "with (`embedded`, Qika/DeepMedix-R1, or a folder)."
        ) from error
    pixels = manifest.pixels
    grid = PixelGrid(pixels.min_pixels, pixels.max_pixels, pixels.patch_size, pixels.merge_size)
    return manifest.conventions, grid


def _manifest(named: str) -> Manifest:
    folder = Path(named)
    if not folder.is_dir():
        path = shipped_manifest(named)
        return parse_manifest(path.read_bytes(), str(path))
    if not (folder / MANIFEST_FILE).exists():
        raise ManifestError(f"{folder} holds no {MANIFEST_FILE}.")
    return load_manifest(named)[0]
