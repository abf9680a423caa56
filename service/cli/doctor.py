"""``deepmedix doctor``: what the service needs, how it stands, how to mend it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from service.cli.checks import Check, Verdict, run_checks
from service.settings import load_settings

_MARKS = {
    Verdict.OK: "[green]ok[/]     ",
    Verdict.WARNING: "[yellow]warning[/]",
    Verdict.FAILURE: "[red]failure[/]",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check settings, engine, checkpoint, codecs and GPU; say how to mend what is missing.

    Exit status 1 when a check failed; warnings do not count.
    """
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    checks = run_checks(load_settings())
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        _print(checks)
    if any(check.verdict is Verdict.FAILURE for check in checks):
        raise typer.Exit(1)


def _print(checks: list[Check]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        console.print(f"{_MARKS[check.verdict]} {check.name:<12}", end="")
        console.print(check.detail, markup=False)
        if check.mend:
            console.print(f"        {'':<12} {check.mend}", markup=False)
