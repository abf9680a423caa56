"""``deepmedix rewards``: what a text is worth, and what tricks would be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

rewards = typer.Typer(help="Rewards of reinforcement learning.", no_args_is_help=True)


@rewards.command()
def gallery(
    page: Annotated[
        Path | None, typer.Option(help="Markdown page whose table is to be renewed.")
    ] = None,
) -> None:
    """Reward hacks, and what the published reward and ours pay for each."""
    from training.rewards.gallery import gallery_table

    table = gallery_table()
    if page is None:
        typer.echo(table)
        return
    begin, end = "<!-- gallery -->\n", "<!-- end of gallery -->\n"
    text = page.read_text()
    if begin not in text or end not in text:
        raise typer.BadParameter("The page has no gallery.", param_hint="--page")
    before, rest = text.split(begin, 1)
    page.write_text(before + begin + table + end + rest.split(end, 1)[1])
    typer.echo(f"wrote {page}")


@rewards.command()
def score(
    completion: Annotated[Path, typer.Argument(help="File with the model's text.", exists=True)],
    reference: Annotated[Path, typer.Argument(help="File with the reference.", exists=True)],
) -> None:
    """The published reward of one text, by part; a file's last newline is not its text's."""
    from training.rewards.paper import score as published

    said, wanted = (
        path.read_text(encoding="utf-8").removesuffix("\n") for path in (completion, reference)
    )
    for name, value in published(said, wanted).items():
        typer.echo(f"{name:11s}{value:.6f}")
