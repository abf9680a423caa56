"""Whether a hub's checkpoint is on this machine where no hub may be asked."""

from __future__ import annotations

import os
from pathlib import Path

from service.engine.checkpoint import checkpoint_folder
from service.engine.manifest import ManifestError

OFFLINE = "HF_HUB_OFFLINE"
_TRUE = {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads it


class WeightsMissingError(ManifestError):
    """The checkpoint is not on this machine, and no hub may be asked for it."""


def require_weights(model: str) -> None:
    """Return when the model can be loaded as far as its place tells.

    A folder is judged by :func:`service.engine.load_manifest`; a hub id may be fetched unless
    ``HF_HUB_OFFLINE`` is set, and must then be in the hub's cache.

    Raises
    ------
    WeightsMissingError
        When a hub id is not in the cache and must not be fetched.
    ManifestError
        When the model is neither a folder nor shaped like a hub id.
    """
    if checkpoint_folder(model) is not None or os.environ.get(OFFLINE, "").upper() not in _TRUE:
        return
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot = Path(snapshot_download(model, local_files_only=True))
    except LocalEntryNotFoundError:
        snapshot = None
    if snapshot is not None and any(snapshot.glob("*.safetensors")):
        return
    raise WeightsMissingError(
        f"The weights of {model} are not in {constants.HF_HUB_CACHE}, and {OFFLINE}=1 keeps the "
        "program from fetching them. Either mount a hub cache that holds them (made elsewhere by "
        f"`hf download {model}`) and let HF_HOME name it, or mount the checkpoint's folder and "
        f"let DEEPMEDIX_MODEL name it, or set {OFFLINE}=0 where the hub may be reached."
    )
