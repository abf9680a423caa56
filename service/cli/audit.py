"""``deepmedix audit``: is the trail as it was written, and which lines tell of a study?"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from service.settings import load_settings

_HASH = re.compile("[0-9a-fA-F]{64}")

audit = typer.Typer(help="The audit trail: verify it, find a study in it.", no_args_is_help=True)


@audit.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="Files of one trail, oldest first.")],
    expect_last: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="Of a line that must be there; kept elsewhere."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that no line was changed, removed, added or moved.

    Exit status: 0 intact; 1 not intact; 2 a file cannot be read; 3 all is intact but for a piece
    of a line at the end: the service notes one that a crash left when it starts again. That the
    last lines were cut off shows by the head file beside the last file, unless that was changed
    too: keep the last hash elsewhere as well and give it with --expect-last.
    """
    from service.audit import verify as verify_trail

    if expect_last is not None and not _HASH.fullmatch(expect_last):
        typer.echo("--expect-last takes a line's whole hash, 64 hexadecimal digits.", err=True)
        raise typer.Exit(2)
    try:
        for file in files:  # what cannot be read is told by its own name
            file.open("rb").close()
        found = verify_trail(files, expected_head=expect_last)
    except OSError as error:
        typer.echo(f"{error.filename} cannot be read: {error.strerror}.", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps({"intact": found.intact, **asdict(found)}, indent=2))
    else:
        if found.continues is not None:
            typer.echo(f"The first file continues one whose last line has {found.continues}.")
        for torn_file, line in found.torn:
            typer.echo(f"{torn_file}:{line}: torn: this line was cut off while it was written")
        if found.fault is not None:
            fault = found.fault
            typer.echo(f"{fault.file}:{fault.line}: {fault.kind}: {fault.detail}")
        else:
            typer.echo(f"Intact: {found.lines} lines, {found.events} events.")
            typer.echo(f"Last line: {found.head_sequence} {found.head}")
        if found.head_file is None:
            typer.echo(f"There is no {files[-1]}.head: lines cut off at the end would not show.")
    if found.torn_end:
        raise typer.Exit(3)
    if not found.intact:
        raise typer.Exit(1)


@audit.command()
def study(
    uid: Annotated[
        str, typer.Argument(help="Study Instance UID; `-` reads it from standard input.")
    ],
) -> None:
    """Print what stands for a study in the trail (needs DEEPMEDIX_AUDIT_SITE_KEY)."""
    from service.audit import StudyHasher

    site_key = load_settings().audit_site_key
    if site_key is None:
        typer.echo("Set DEEPMEDIX_AUDIT_SITE_KEY to the key that the service runs with.", err=True)
        raise typer.Exit(1)
    named = (sys.stdin.readline() if uid == "-" else uid).strip()
    if not named or not named.isascii():
        typer.echo("A Study Instance UID is made of digits and dots.", err=True)
        raise typer.Exit(2)
    hasher = StudyHasher(site_key.get_secret_value().encode())
    typer.echo(hasher.of_uid(named).value)
