"""Who may read what a stage leaves."""

from __future__ import annotations

from pathlib import Path


def share_weights(folder: Path) -> None:
    """Give the weights in a folder the permissions of the config beside them.

    safetensors saves them for their owner alone; the config follows the caller's umask.
    """
    config = next(folder.glob("*config.json"), None)
    if config is None:
        return
    for weights in folder.glob("*.safetensors"):
        weights.chmod(config.stat().st_mode & 0o777)
