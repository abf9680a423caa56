"""``deepmedix evaluate``: judge systems, and what judges them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

evaluate = typer.Typer(
    help="Judge systems by metrics, and measure what judges them.", invoke_without_command=True
)


@evaluate.callback()
def _evaluate(
    context: typer.Context,
    system: Annotated[
        list[str] | None,
        typer.Option(help="NAME=kind:location,option=value; may be repeated (docs/evaluation.md)."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Store of examples (deepmedix data prepare).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; an interrupted run goes on in it.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to ask about.")] = "test",
    limit: Annotated[int | None, typer.Option(help="Examples, drawn at random.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Draws the examples.")] = 0,
    controls: Annotated[
        bool, typer.Option(help="Ask each system on blank and on shuffled films, too.")
    ] = True,
    concurrency: Annotated[int, typer.Option(help="Requests at once.", min=1)] = 8,
    timeout: Annotated[float, typer.Option(help="Seconds that one answer may take.", min=1)] = 600,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="Requests a minute to an endpoint.", min=0.01)
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV of sub-groups: a column `subject` or `example`, others' names."),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Send films and text to a public address. PhysioNet's terms forbid it.",
        ),
    ] = False,
) -> None:
    """Ask systems about examples and write a report: figures, controls, tests, worst cases.

    Answers are kept as they come: run the same command again after an interruption.
    """
    if context.invoked_subcommand is not None:
        return
    if not system or data is None or out is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    from training.evaluation.controls import Films
    from training.evaluation.folder import Selection, run
    from training.systems.specification import Asking, open_system

    with _in_words():
        asking = Asking(timeout, requests_per_minute, allow_remote)
        opened = [(*open_system(line, asking), line) for line in system]
        left_out = run(
            Selection(data, split, limit, seed),
            [(name, line, found) for name, found, line in opened],
            out,
            conditions=tuple(Films) if controls else (Films.SHOWN,),
            concurrency=concurrency,
            timeout=timeout,
        )
        _report(out, groups, 6)
        for name, why in left_out.items():
            typer.echo(f"error: {name} is left out: {why}", err=True)
        if left_out:
            raise typer.Exit(1)


@evaluate.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder that `deepmedix evaluate` wrote.")],
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV of sub-groups: a column `subject` or `example`, others' names."),
    ] = None,
    worst: Annotated[int, typer.Option(help="Worst cases shown of each system.", min=0)] = 6,
) -> None:
    """Write the report again from the predictions: HTML, Markdown, CSV, LaTeX. Needs no model."""
    with _in_words():
        _report(folder, groups, worst)


@evaluate.command()
def learned(
    folder: Annotated[Path, typer.Argument(help="Folder that `deepmedix evaluate` wrote.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="One of them; may be repeated. Default: all.")
    ] = None,
) -> None:
    """Measure what needs weights: CheXbert, F1-RadGraph, BERTScore, RaTEScore, GREEN, RadCliQ-v1.

    Runs where the extra `metrics` and the weights are, on the predictions that are there; then
    write the report again.
    """
    with _in_words():
        from training.evaluation.folder import measure_learned
        from training.evaluation.learned import LEARNED

        names = metric or list(LEARNED)
        missing = measure_learned(folder, names)
        for name in names:
            typer.echo(f"{name}: {missing.get(name, 'measured')}")
        if len(missing) == len(names):
            raise typer.Exit(1)
        _report(folder, None, 6)


def _report(folder: Path, groups: Path | None, worst: int) -> None:
    from training.evaluation.folder import write_report
    from training.evaluation.tables import grids_of, markdown

    results = write_report(folder, groups, worst=worst)
    headlines = [grid for grid in grids_of(results) if grid.title in results.strata]
    typer.echo(markdown(headlines))
    typer.echo(f"wrote {folder / 'report.html'}, report.md, report.csv, report.tex")


@contextmanager
def _in_words() -> Iterator[None]:
    """What the caller can mend, in words."""
    from training.data.store import DataError
    from training.systems.protocol import NoSystemError

    try:
        yield
    except (DataError, NoSystemError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        typer.echo(f"error: {error.filename}: {error.strerror or error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        typer.echo("Interrupted. Answers so far are kept: run the same command again.", err=True)
        raise typer.Exit(130) from error


@evaluate.command()
def labeler(
    reports: Annotated[
        Path, typer.Argument(help="Folder of Open-I's XML reports (NLMCXR_reports.tgz, unpacked).")
    ],
    output: Annotated[Path | None, typer.Option(help="Markdown file to write, too.")] = None,
) -> None:
    """Agreement of the rule-based CheXpert labeler with the MeSH codes of the Open-I reports."""
    from training.evaluation.mesh_agreement import agreement_table, mesh_agreement, read_reports

    coded = read_reports(reports)
    if not coded:
        typer.echo(f"error: {reports} holds no coded reports (1.xml, 2.xml, ...).", err=True)
        raise typer.Exit(2)
    table = agreement_table(mesh_agreement(coded), len(coded))
    typer.echo(table)
    if output is not None:
        output.write_text(table + "\n")
