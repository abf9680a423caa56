"""Commands that print what the program knows of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.api.version import program_version
from service.cli.output import check_output, write_output

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
