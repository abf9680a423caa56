"""``deepmedix review``: blinded pairs for readers, and what their answers come to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

review = typer.Typer(
    help="Have experts compare two systems, blinded, and count what they say.",
    no_args_is_help=True,
)


@review.command()
def sample(
    evaluation: Annotated[Path, typer.Argument(help="Folder that `deepmedix evaluate` wrote.")],
    systems: Annotated[str, typer.Option(help="Two systems of it: NAME,NAME.")],
    out: Annotated[Path, typer.Option(help="Folder for the form, the cases and the key.")],
    cases: Annotated[int, typer.Option(help="Cases that count.", min=1)] = 100,
    training: Annotated[int, typer.Option(help="Cases to learn the form on.", min=0)] = 2,
    seed: Annotated[int, typer.Option(help="Draws cases, order and sides.")] = 0,
) -> None:
    """Draw cases and write the readers' form; the key stays out of it."""
    from training.evaluation.folder import read
    from training.review import cases as drawing
    from training.review.form import write_form

    try:
        if (out / drawing.KEY).exists():
            raise ValueError(f"{out} holds a review already: its answers would lose their key.")
        results, about = read(evaluation)
        one, _, other = systems.partition(",")
        drawn, key = drawing.sample(
            results, (one.strip(), other.strip()), cases, training=training, seed=seed
        )
        drawing.write_lines(out / drawing.CASES, drawn)
        drawing.write_lines(out / drawing.KEY, key)
        write_form(out / drawing.PAGE, drawn, results.examples, Path(about["films"]))
        (out / drawing.ANSWERS).mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"wrote {out / drawing.PAGE}: give it, and nothing else, to every reader.")
    typer.echo(f"Put the files that readers download into {out / drawing.ANSWERS}.")


@review.command()
def summarise(
    folder: Annotated[Path, typer.Argument(help="Folder that `deepmedix review sample` wrote.")],
    output: Annotated[Path | None, typer.Option(help="Markdown file to write, too.")] = None,
    matches: Annotated[
        Path | None,
        typer.Option(help="Write overall preferences as matches for `deepmedix arena rate`."),
    ] = None,
) -> None:
    """Ratings, win rates with intervals, and readers' agreement."""
    import json

    from training.arena.lines import lines_of
    from training.arena.match import write_matches
    from training.review import cases as drawing
    from training.review.summary import summarise as count

    try:
        shown = [json.loads(line) for _, line in lines_of(folder / drawing.CASES)]
        practice = frozenset(case["id"] for case in shown if case["training"])
        answers = drawing.read_answers(sorted((folder / drawing.ANSWERS).glob("*.jsonl")))
        key = drawing.read_key(folder / drawing.KEY)
        told = count(answers, key, practice).markdown()
        if matches is not None:
            counted = [answer for answer in answers if answer.case not in practice]
            write_matches(matches, drawing.matches_of(counted, key))
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(told)
    if output is not None:
        output.write_text(told + "\n", "utf-8")
