"""Load a stage's output as one whole model, LoRA adapters merged into their base (peft)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from training.checkpoint.destination import resolve_destination
from training.checkpoint.errors import CheckpointError
from training.checkpoint.lineage import STAGE_RECORD, check_weights, read_record, weights_hash
from training.checkpoint.loading import first_line, load_complete, not_finite, some
from training.checkpoint.permissions import share_weights
from training.whole_file import write_whole

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from service.engine import LineageRecord

ADAPTER_CONFIG = "adapter_config.json"
"""peft's file that tells adapters from a whole model."""

DTYPES = ("bfloat16", "float16", "float32")
"""Precisions that weights are written in."""

_COMPANIONS = (".json", ".jinja", ".txt", ".model", ".tiktoken")
_NOT_KEPT = ("adapter_config.json", "config.json", "generation_config.json")

_SHARD_INDEX = ".index.json"
"""Ends the name of what says which weights lie in which file."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds LoRA adapters instead of a whole model."""
    return (folder / ADAPTER_CONFIG).is_file()


def load_whole(
    trained: Path, *, base: str | None = None, dtype: str = "bfloat16"
) -> PreTrainedModel:
    """Load a model on the CPU; adapters are merged in float32, then brought to ``dtype``.

    Parameters
    ----------
    trained
        Folder of a whole model or of adapters; adapters on adapters are merged one after another.
    base
        For adapters: the checkpoint that they belong to, in place of the one that they name.
    dtype
        One of :data:`DTYPES`.

    Raises
    ------
    CheckpointError
        When the folder holds no model, one that lacks weights or has some that are not finite, or
        adapters that do not fit their base or were trained on other weights.
    """
    import torch

    if dtype not in DTYPES:
        raise CheckpointError(f"There is no dtype {dtype}: choose {', '.join(DTYPES)}.")
    wanted: torch.dtype = getattr(torch, dtype)
    if is_adapter(trained):
        model = _merged(trained, base).to(dtype=wanted)
    else:
        model = _load(str(trained), wanted)
    if faults := not_finite(model):
        raise CheckpointError(
            f"{trained} has weights that are not finite in {dtype} ({some(faults)}). Take an "
            "output from before training went wrong, or a --dtype that reaches further."
        )
    return model


def merge_adapter(
    trained: Path, folder: Path, *, base: str | None = None, dtype: str = "bfloat16"
) -> None:
    """Write the merged model as the output of the same stage, for the next stage to start from.

    Its record is the stage's, but of the weights that it holds; the adapters' hash is among the
    settings, at ``merged``.

    Raises
    ------
    CheckpointError
        When ``trained`` holds no adapters, or other ones than the stage left, they do not fit or
        were trained on other weights, or ``folder`` is a file or not empty.
    """
    if not is_adapter(trained):
        raise CheckpointError(
            f"{trained} holds no adapters ({ADAPTER_CONFIG}): there is nothing to merge."
        )
    folder = resolve_destination(folder)
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty. Name another --out, or remove it.")
    record = _record(trained)
    whole = load_whole(trained, base=base, dtype=dtype)
    if record is not None:
        check_weights(trained, left=record)
    whole.save_pretrained(folder)
    share_weights(folder)
    copy_companions(trained, folder)
    if record is None:
        return
    merged = {"adapters_hash": weights_hash(trained), "dtype": dtype}
    own = record.model_copy(
        update={
            "config": {**record.config, "merged": merged},
            "weights_hash": weights_hash(folder),
        }
    )
    # Last: it says that the output is whole.
    write_whole(folder / STAGE_RECORD, own.model_dump_json(indent=2) + "\n")


def folders_behind(trained: Path, base: str | None = None) -> list[Path]:
    """The folders that a model is loaded from: its own, and of adapters those beneath, too.

    Raises
    ------
    CheckpointError
        When adapters do not say what they were trained on, and ``base`` does not, either.
    """
    if not is_adapter(trained):
        return [trained]
    under = Path(base or _base_of(trained)).expanduser()
    return [trained, *folders_behind(under)]


def copy_companions(trained: Path, folder: Path) -> None:
    """Copy the tokenizer, the processor and what else stands beside a stage's weights."""
    for file in trained.iterdir():
        own = file.name in (*_NOT_KEPT, STAGE_RECORD) or file.name.endswith(_SHARD_INDEX)
        if file.suffix in _COMPANIONS and not own:
            shutil.copyfile(file, folder / file.name)


def _merged(trained: Path, base: str | None) -> PreTrainedModel:
    import torch
    from peft import PeftModel
    from safetensors import SafetensorError

    named = base or _base_of(trained)
    record = _record(trained)
    _check_start(trained, record, named)
    under = Path(named).expanduser()
    whole = _merged(under, None) if is_adapter(under) else _load(named, torch.float32)
    check_weights(under, began=record)
    try:
        adapted = PeftModel.from_pretrained(whole, str(trained))
        # Again, for only this says which weights found no place, or were not there.
        found = adapted.load_adapter(str(trained), adapted.active_adapter)
        if astray := {*found.missing_keys, *found.unexpected_keys}:
            raise ValueError(f"they do not fit at {some(astray)}")
        return adapted.merge_and_unload(safe_merge=True)
    except SafetensorError as error:
        raise CheckpointError(
            f"The adapters in {trained} are damaged ({first_line(error)}). Restore the file, or "
            "run the stage again."
        ) from error
    except Exception as error:  # whatever peft raises over a config it cannot use
        raise CheckpointError(
            f"The adapters in {trained} cannot be merged into {named} "
            f"({first_line(error)}). Name the checkpoint that they were trained on with --base."
        ) from error


def _base_of(trained: Path) -> str:
    try:
        config = json.loads((trained / ADAPTER_CONFIG).read_text())
    except ValueError as error:
        raise CheckpointError(f"{trained / ADAPTER_CONFIG} is not valid JSON.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{trained / ADAPTER_CONFIG} is not a JSON object.")
    named = config.get("base_model_name_or_path")
    if not named:
        raise CheckpointError(f"{trained} does not say what it was trained on: name it by --base.")
    return str(named)


def _record(trained: Path) -> LineageRecord | None:
    return read_record(trained) if (trained / STAGE_RECORD).is_file() else None


def _check_start(trained: Path, record: LineageRecord | None, named: str) -> None:
    """Refuse adapters that were trained over other adapters, but name only what lies beneath."""
    model = record.config.get("model") if record else None
    start = model.get("start") if isinstance(model, dict) else None
    if start and is_adapter(Path(start)) and Path(start).resolve() != Path(named).resolve():
        raise CheckpointError(
            f"{trained} was trained over the adapters in {start}, but its own fit {named}: what "
            "the first ones taught would be lost. Merge them (deepmedix checkpoint merge "
            f"{start} --out FOLDER) and run the stage again with model.start: FOLDER."
        )


def _load(named: str, dtype: torch.dtype) -> PreTrainedModel:
    from transformers import AutoModelForImageTextToText
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model: PreTrainedModel = load_complete(AutoModelForImageTextToText, named, dtype=dtype)
    except CheckpointError as error:
        raise CheckpointError(
            f"No model can be loaded from {named} ({error}). Name the output folder of a finished "
            "stage, or an exported checkpoint."
        ) from error
    return model
