"""``deepmedix rewards``: what a text is worth, and what tricks would be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.radiograph import PixelGrid
    from service.reading import Conventions
    from training.data.example import Example

rewards = typer.Typer(help="Rewards of reinforcement learning.", no_args_is_help=True)
_STDIN = "-"
_HASH = re.compile("[0-9a-f]{12,64}")
"""Of an example, at least as much of it as is shown."""


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
    completion: Annotated[
        str, typer.Argument(help="File that holds the model's text; - reads standard input.")
    ],
    reference: Annotated[
        str,
        typer.Argument(
            help="File that holds the answer wanted (- reads standard input); with --data an "
            "example's id, such as own/12/findings, or what `deepmedix data inspect` calls it by."
        ),
    ],
    reward: Annotated[
        str, typer.Option(help="paper, grounded, or whatever a GRPO config may name.")
    ] = "paper",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Store that holds the example. All rewards but paper need it: they look at its "
            "question, films and boxes."
        ),
    ] = None,
    manifest: Annotated[
        str,
        typer.Option(
            help="With --data, whose pixels the text's boxes are in: `embedded`, a hub id, or a "
            "folder."
        ),
    ] = "Qika/DeepMedix-R1",
) -> None:
    """The reward of one text, by part. A file's last newline is not its text's."""
    if data is None and reward != "paper":
        raise typer.BadParameter(
            f"{reward} needs --data, a store, and an example's id as REFERENCE: it looks at its "
            "question, films and boxes.",
            param_hint="--reward",
        )
    if completion == reference == _STDIN and data is None:
        raise typer.BadParameter("Standard input is one text, not both.", param_hint="REFERENCE")
    said = _text(completion, "COMPLETION")
    if data is None:
        from training.rewards.paper import score as published

        parts = published(said, _text(reference, "REFERENCE"))
    else:
        from training.rewards.protocol import Rollout, load_reward

        try:
            function = load_reward(reward)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--reward") from error
        rollout = Rollout(said, _example(data, reference), *_read_as(manifest))
        (parts,) = map(dict, function([rollout]))
    for name, value in parts.items():
        typer.echo(f"{name:11s}{value:.6f}")


def _text(named: str, argument: str) -> str:
    try:
        if named == _STDIN:
            read = typer.get_text_stream("stdin", encoding="utf-8").read()
        else:
            read = Path(named).read_text(encoding="utf-8")
        return read.removesuffix("\n")
    except OSError as error:
        raise typer.BadParameter(
            f"{named}: {error.strerror}. It names a file, or - for standard input.",
            param_hint=argument,
        ) from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{named} is no UTF-8 text.", param_hint=argument) from error


def _example(store: Path, name: str) -> Example:
    from training.data.store import DataError, read_examples

    is_hash = _HASH.fullmatch(name) is not None
    try:
        found = next(
            (
                each
                for each in read_examples(store)
                if each.id == name or (is_hash and each.content_hash().startswith(name))
            ),
            None,
        )
    except DataError as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    if found is None:
        raise typer.BadParameter(f"{store} has no example {name}.", param_hint="REFERENCE")
    return found


def _read_as(manifest: str) -> tuple[Conventions, PixelGrid]:
    """How a checkpoint's text and boxes are read."""
    if manifest == "embedded":
        from training.architecture import GRID
        from training.conventions import EMBEDDED_CONVENTIONS

        return EMBEDDED_CONVENTIONS, GRID
    from service.radiograph import PixelGrid
    from training.checkpoint.errors import CheckpointError
    from training.checkpoint.identity import named_manifest

    try:
        known = named_manifest(manifest)
    except CheckpointError as error:
        raise typer.BadParameter(str(error), param_hint="--manifest") from error
    pixels = known.pixels
    grid = PixelGrid(pixels.min_pixels, pixels.max_pixels, pixels.patch_size, pixels.merge_size)
    return known.conventions, grid
