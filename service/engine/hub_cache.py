"""Whether a hub's checkpoint is on this machine, whole and readable, where no hub may be asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

from service.engine.checkpoint import checkpoint_folder
from service.engine.manifest import ManifestError

OFFLINE = "HF_HUB_OFFLINE"
_TRUE = {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads it

_INDEX = "model.safetensors.index.json"


class WeightsMissingError(ManifestError):
    """The checkpoint is not on this machine, or not to be read, and no hub may be asked for it."""


def require_weights(model: str) -> None:
    """Return when the model can be loaded as far as its place tells.

    A folder is judged by :func:`service.engine.load_manifest`; a hub id may be fetched unless
    ``HF_HUB_OFFLINE`` is set, and must then be in the hub's cache.

    Raises
    ------
    WeightsMissingError
        When a hub id must not be fetched and is not in the cache, not whole there or not readable.
    ManifestError
        When the model is neither a folder nor shaped like a hub id.
    """
    if checkpoint_folder(model) is not None or os.environ.get(OFFLINE, "").upper() not in _TRUE:
        return
    from huggingface_hub import constants

    try:
        missing = _missing(model, Path(constants.HF_HUB_CACHE))
    except PermissionError as error:
        raise WeightsMissingError(
            f"The weights of {model} cannot be read: {Path(error.filename)} is not readable by uid "
            f"{os.geteuid()}, whom the program runs as. Let that user read all of "
            f"{constants.HF_HUB_CACHE} (`chmod -R a+rX`, or `chown`)."
        ) from error
    if missing:
        raise WeightsMissingError(
            f"The weights of {model} are not all in {constants.HF_HUB_CACHE} ({missing}), and "
            f"{OFFLINE}=1 keeps the program from fetching them. Either mount a hub cache that "
            f"holds them (made elsewhere by `hf download {model}`) and let HF_HOME name it, or "
            "mount the checkpoint's folder and let DEEPMEDIX_MODEL name it, or set "
            f"{OFFLINE}=0 where the hub may be reached."
        )


def _missing(model: str, cache: Path) -> str:
    """Say what of the weights is not in the cache; nothing where they are whole.

    Raises
    ------
    PermissionError
        When that cannot be looked up, or a file of the checkpoint not be read.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.file_download import repo_folder_name

    repository = cache / repo_folder_name(repo_id=model, repo_type="model")
    try:
        # The hub's library takes what may not be looked into for what is not there.
        for folder in (cache, repository, repository / "refs", repository / "snapshots"):
            os.stat(os.path.join(folder, "."))
        snapshot = Path(snapshot_download(model, local_files_only=True))
        present = _readable_files(snapshot)
    except (FileNotFoundError, LocalEntryNotFoundError):
        return "there is no snapshot of them"
    weights = {name for name in present if name.endswith(".safetensors")}
    needed = _indexed(snapshot / _INDEX) if _INDEX in present else weights or {"*.safetensors"}
    return ", ".join(f"{name} is missing" for name in sorted(needed - present))


def _readable_files(folder: Path) -> set[str]:
    """Names of the folder's files; a link to what is not there is none of them."""
    names = set()
    for path in folder.iterdir():
        if path.is_file():
            path.open("rb").close()
            names.add(path.name)
    return names


def _indexed(index: Path) -> set[str]:
    """Names of the files that the weights are spread over.

    Raises
    ------
    WeightsMissingError
        When the index cannot be understood.
    """
    try:
        return set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsMissingError(f"{index} is no index of weights. Fetch it again.") from error
