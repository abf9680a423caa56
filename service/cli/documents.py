"""Commands that print what the program knows of itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from service.api.version import program_version

Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write; default: standard output.")
]


def openapi(output: Output = None) -> None:
    """Write the OpenAPI document of the service as YAML."""
    from service.app import openapi_yaml

    check_output(output)
    _write(openapi_yaml(), output)


def manifest_schema(output: Output = None) -> None:
    """Write the JSON Schema of the checkpoint manifest."""
    from service.engine import manifest_schema_json

    _write(manifest_schema_json(), output)


def version() -> None:
    """Print the version of the program."""
    typer.echo(program_version())


def _write(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_output(output, text.encode())


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
