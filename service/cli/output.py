"""Files that commands write."""

from __future__ import annotations

import os
from pathlib import Path

import typer


def check_output(output: Path | None) -> None:
    """Refuse a file that cannot be written before anything is done for it.

    Raises
    ------
    typer.BadParameter
        When its folder does not exist or may not be written to, or it is a folder itself.
    """
    if output is None:
        return
    if not output.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {output.parent}")
    if output.is_dir() or not os.access(output if output.exists() else output.parent, os.W_OK):
        raise typer.BadParameter(f"{output} cannot be written")


def write_output(output: Path, data: bytes) -> None:
    """Write a file, or say why not and end with status 1."""
    try:
        output.write_bytes(data)
    except OSError as error:
        typer.echo(f"{output} cannot be written: {error.strerror}.", err=True)
        raise typer.Exit(1) from error
