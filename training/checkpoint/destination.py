"""Whether a folder can be written where the caller says."""

from __future__ import annotations

from pathlib import Path

from training.checkpoint.errors import CheckpointError


def resolve_destination(folder: Path) -> Path:
    """The folder behind links and dots, so that it can be moved into place.

    Raises
    ------
    CheckpointError
        When it, or what it would lie in, is a file.
    """
    resolved = folder.resolve()
    there = next(place for place in (resolved, *resolved.parents) if place.exists())
    if not there.is_dir():
        raise CheckpointError(f"{there} is a file, not a folder. Name another --out.")
    return resolved
