"""The command line: ``deepmedix COMMAND``. Wiring only; each file holds one subject.

Further commands plug in through the entry point group ``deepmedix.commands``: each entry
point loads a ``typer.Typer``, which becomes ``deepmedix NAME …``.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

import typer

from service.cli import audit, doctor, documents, keys, licences, serve, studies
from service.settings import SettingsError

COMMAND_GROUP = "deepmedix.commands"


def build_cli() -> typer.Typer:
    """Return the whole command line, plugged-in commands included."""
    cli = typer.Typer(
        name="deepmedix",
        help="Grounded reading of chest radiographs.",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        rich_markup_mode="rich",
    )
    cli.command()(serve.serve)
    cli.command()(studies.report)
    cli.command()(studies.vqa)
    cli.command()(studies.render)
    cli.command()(doctor.doctor)
    cli.command()(licences.licences)
    cli.command()(documents.openapi)
    cli.command("manifest-schema")(documents.manifest_schema)
    cli.command()(documents.version)
    cli.add_typer(keys.keys, name="keys")
    cli.add_typer(audit.audit, name="audit")
    for entry in sorted(entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name):
        _plug_in(cli, entry)
    return cli


def _plug_in(cli: typer.Typer, entry: EntryPoint) -> None:
    try:
        plugged = entry.load()
    except ImportError as error:
        # Its extra is not installed: the command line goes on without it, and says so.
        missing = getattr(error, "name", None) or "a package"
        note = f"`{entry.name}` needs {missing}, which is not installed."

        @cli.command(entry.name, help=note, context_settings={"ignore_unknown_options": True})
        def unavailable(arguments: list[str] = typer.Argument(None, hidden=True)) -> None:  # noqa: B008 - typer's way to declare an argument
            typer.echo(note, err=True)
            raise typer.Exit(1)

        return
    cli.add_typer(plugged, name=entry.name)


def main() -> None:
    """Run the command line."""
    try:
        build_cli()()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
