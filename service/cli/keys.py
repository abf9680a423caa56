"""``deepmedix keys``: make, list and revoke API keys."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.identity import ApiKey, KeyFile, KeyFileError, Scope
from service.settings import load_settings

_DURATION = re.compile(r"([1-9][0-9]{0,5})([dhm])", re.ASCII)
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
_TAKE_UP = "A running service takes the change up on SIGHUP or POST /admin/keys/reload."

keys = typer.Typer(help="API keys: make, list, revoke.", no_args_is_help=True)

File = Annotated[Path | None, typer.Option(help="Key file. Default: DEEPMEDIX_KEYS_FILE.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="Who will use the key: ward-3-viewer.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="read, admin; may be repeated. Default: read.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="90d, 12h, 30m, or a date (2027-01-31). Default: never.")
    ] = None,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once: the file keeps a hash of it alone."""
    try:
        record, key = _file(file).add(name, scope or [Scope.READ], expires=_moment(expires))
    except KeyFileError as error:
        raise _failure(error) from error
    if as_json:
        typer.echo(json.dumps({**_public(record), "key": key}, indent=2))
        return
    typer.echo(key)
    typer.echo(f"This is the key of {name}; it is not shown again. {_TAKE_UP}", err=True)


@keys.command("list")
def list_(file: File = None, as_json: AsJson = False) -> None:
    """List the keys, those expired and revoked too."""
    try:
        records = _file(file).read()
    except KeyFileError as error:
        raise _failure(error) from error
    if as_json:
        typer.echo(json.dumps([_public(record) for record in records], indent=2))
        return
    columns = ("name", "id", "scopes", "status", "created", "expires")
    table = Table(*columns, box=None, pad_edge=False)
    for record in records:
        shown = _public(record)
        scopes = ", ".join(shown["scopes"])
        table.add_row(
            shown["name"],
            shown["id"],
            scopes,
            shown["status"],
            shown["created"][:10],
            (shown["expires"] or "never")[:16],
        )
    Console(highlight=False, soft_wrap=True).print(table)


@keys.command()
def revoke(
    name_or_id: Annotated[str, typer.Argument(metavar="NAME|ID", help="Which key.")],
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key for good."""
    try:
        record = _file(file).revoke(name_or_id)
    except KeyFileError as error:
        raise _failure(error) from error
    if as_json:
        typer.echo(json.dumps(_public(record), indent=2))
    else:
        typer.echo(f"Revoked {record.name} ({record.id}). {_TAKE_UP}")


def _file(named: Path | None) -> KeyFile:
    path = named or load_settings().keys_file
    if path is None:
        raise KeyFileError("Name the key file: set DEEPMEDIX_KEYS_FILE, or give --file.")
    return KeyFile(path)


def _failure(error: KeyFileError) -> typer.Exit:
    typer.echo(str(error), err=True)
    return typer.Exit(1)


def _public(record: ApiKey) -> dict[str, Any]:
    shown = record.model_dump(mode="json", exclude={"sha256"})
    return {**shown, "status": record.status(datetime.now(UTC))}


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    now = datetime.now(UTC)
    duration = _DURATION.fullmatch(text)
    try:
        if duration is not None:
            moment = now + int(duration[1]) * _UNITS[duration[2]]
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter("--expires takes 90d, 12h, 30m or a date (2027-01-31)") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if moment <= now:
        raise typer.BadParameter("--expires lies in the past")
    return moment
