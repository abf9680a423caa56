"""``deepmedix arena``: systems compared in pairs, and rated."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from training.arena.tournament import Pairing, Tally

arena = typer.Typer(help="Compare systems in pairs and rate them.", no_args_is_help=True)


@arena.command()
def run(
    evaluation: Annotated[Path, typer.Argument(help="Folder that `deepmedix evaluate` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder to write; an interrupted run goes on in it.")],
    judge: Annotated[
        list[str] | None,
        typer.Option(
            help="`rules` (default), or NAME=http://host:port/v1,model=MODEL; may be repeated."
        ),
    ] = None,
    matches: Annotated[int, typer.Option(help="Matches that each judge judges.", min=1)] = 200,
    tokens: Annotated[
        int | None,
        typer.Option(
            help="Most tokens of all judges, earlier runs into --out included: nothing is asked "
            "that might go beyond.",
            min=1,
        ),
    ] = None,
    pairing: Annotated[str, typer.Option(help="`adaptive` or `uniform`.")] = "adaptive",
    images: Annotated[bool, typer.Option(help="Whether models that judge see the films.")] = False,
    reference: Annotated[bool, typer.Option(help="Whether they are told the reference.")] = True,
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="Contrast to control for: length, boxes, steps, sentences, lists, or `style` for "
            "all but the length; may be repeated."
        ),
    ] = None,
    entrant: Annotated[
        list[str] | None,
        typer.Option(help="System that takes part; may be repeated. All but controls by default."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only `findings`, `impression`, `vqa`.")] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at once.", min=1)] = 8,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="Requests a minute to a judge.", min=0.01)
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that one answer may take.", min=1)] = 300,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=2)] = 200,
    seed: int = 0,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Send films and texts to a public address. PhysioNet's terms forbid it.",
        ),
    ] = False,
) -> None:
    """Let judges compare the systems of an evaluation, and rate them.

    Verdicts are kept as they come: run the same command again after an interruption.
    """
    import asyncio

    from training.arena.digest import digest
    from training.arena.entry import Hearing, entrants_of, open_judges
    from training.arena.leaderboard import Leaderboard
    from training.arena.style import measured
    from training.arena.tournament import Rules, play
    from training.chat.errors import ChatError

    try:
        if pairing not in ("adaptive", "uniform"):
            raise ValueError("--pairing is `adaptive` or `uniform`.")
        covariates = measured(control or ())
        examples, entrants, films = entrants_of(evaluation, task, entrant or ())
        hearing = Hearing(
            films if images else None, reference, timeout, requests_per_minute, allow_remote
        )
        judges = open_judges(judge or ["rules"], hearing)
        kind: Pairing = "adaptive" if pairing == "adaptive" else "uniform"
        rules = Rules(matches, tokens, kind, concurrency=concurrency, seed=seed)
        played, tally = asyncio.run(play(examples, entrants, judges, out, rules))
        told = _told(tally)
        if not played:
            raise ValueError(f"There are no matches to rate. {told}")
        board = Leaderboard.of(played, covariates=covariates, resamples=resamples)
    except (OSError, ValueError, ChatError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        typer.echo("Interrupted. Verdicts so far are kept: run the same command again.", err=True)
        raise typer.Exit(130) from error
    board.write(out, more="\n\n".join([told, digest(played, board.order)]))
    typer.echo((out / "arena.md").read_text("utf-8"))


def _told(tally: Tally) -> str:
    uncounted = f", {tally.estimated:,} of them estimated by length" if tally.estimated else ""
    why = ", ".join(f"{reason}: {count}" for reason, count in tally.failures.most_common())
    return (
        f"{tally.asked} verdicts asked for, {tally.cached} kept from before, {tally.tokens:,} "
        f"tokens in all{uncounted}; {tally.unplayed} matches left out for the budget; "
        f"{tally.failed} because a judge could not be heard{f' ({why})' if why else ''}, which the "
        f"next run asks again; {tally.unreadable} "
        "matches dropped because a verdict could not be read; "
        f"{tally.inconsistent} ties because the two orders disagree ({tally.first} for whoever is "
        f"first, {tally.second} for whoever is second). Ended: {tally.stopped}."
    )


@arena.command()
def rate(
    matches: Annotated[
        list[Path], typer.Argument(help="JSON lines of matches (docs/arena.md); may be several.")
    ],
    control: Annotated[
        list[str] | None,
        typer.Option(help="Contrast to control for, such as length; may be repeated."),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=2)] = 200,
    output: Annotated[Path | None, typer.Option(help="Folder for the tables and plots.")] = None,
) -> None:
    """Ratings with intervals, win matrix, position bias; from verdicts that are there."""
    from training.arena.leaderboard import Leaderboard
    from training.arena.match import read_matches
    from training.arena.style import covariates_of

    try:
        played = [match for path in matches for match in read_matches(path)]
        covariates = covariates_of(control or ())
        board = Leaderboard.of(played, covariates=covariates, resamples=resamples)
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(board.markdown())
    if output is not None:
        board.write(output)


@arena.command()
def simulate(
    systems: Annotated[int, typer.Option(help="Systems.", min=2)] = 8,
    apart: Annotated[float, typer.Option(help="Rating points between neighbours.")] = 40,
    tie: Annotated[float, typer.Option(help="Davidson's nu.", min=0)] = 0.5,
    runs: Annotated[int, typer.Option(help="Simulated tournaments.", min=2)] = 40,
    budget: Annotated[int, typer.Option(help="Matches at most.", min=20)] = 3000,
    batch: Annotated[int, typer.Option(help="Matches between ratings.", min=1)] = 60,
    seed: int = 0,
) -> None:
    """Matches to a stable true ranking, adaptive beside uniform pairing, in one run.

    With the defaults about a minute of one core.
    """
    from rich.console import Console
    from rich.progress import Progress

    from training.arena.simulation import World, measure_saving

    world = World({f"system-{n}": 1000.0 + apart * n for n in range(systems)}, tie=tie)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("tournaments", total=runs)
        saving = measure_saving(
            world,
            runs=runs,
            budget=budget,
            batch=batch,
            seed=seed,
            finished=lambda: progress.advance(task),
        )
    typer.echo(json.dumps(asdict(saving), indent=2))
