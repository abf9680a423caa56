"""``deepmedix data``: prepare data sets, and look at what was prepared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from training.data.teacher.cli import teach
from training.system_error import described

data = typer.Typer(
    help="Prepare data sets for training, and look at what was prepared.", no_args_is_help=True
)
data.command()(teach)

Store = Annotated[Path, typer.Argument(help="Folder of a prepared store.")]


class Overlap(StrEnum):
    """What to do with subjects in several splits."""

    REFUSE = "refuse"
    DROP = "drop"


class SplitName(StrEnum):
    """A split."""

    TRAIN = "train"
    VALIDATE = "validate"
    TEST = "test"


@data.command("list")
def list_data_sets(
    name: Annotated[
        str | None, typer.Argument(help="One data set, with all there is to know.")
    ] = None,
) -> None:
    """Data sets that there are adapters for: access, licence, files, options."""
    from rich.console import Console
    from rich.table import Table

    from training.data.adapters import adapter_names, card_of

    console = Console()
    if name is None:
        table = Table("name", "data set", "access", "licence", box=None, pad_edge=False)
        table.columns[0].no_wrap = True
        for each in adapter_names():
            card = card_of(each)
            table.add_row(card.name, card.title, card.access, card.licence)
        console.print(table)
        return
    with _told():
        card = card_of(name)
        console.print(f"[bold]{card.title}[/bold]\n{card.access}\n{card.licence}\n\nFiles:")
        for line in card.files:
            console.print(f"  {line}", markup=False, highlight=False)
        for option, meaning in card.options.items():
            console.print(f"  --option {option}=…  {meaning}", markup=False, highlight=False)


@data.command()
def prepare(
    name: Annotated[str, typer.Argument(help="Data set; `deepmedix data list` names them.")],
    root: Annotated[Path, typer.Argument(help="Its folder, as published.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the store to write.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the films, if another.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE; `deepmedix data list NAME` tells.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="First studies alone.", min=1)] = None,
    split: Annotated[
        SplitName | None, typer.Option(help="Put every example into this split.")
    ] = None,
    overlap: Annotated[
        Overlap, typer.Option(help="Subjects in several splits: refuse, or drop from training.")
    ] = Overlap.REFUSE,
    hash_images: Annotated[
        bool, typer.Option("--hash-images", help="Keep each image's SHA-256; reads all of them.")
    ] = False,
    open_images: Annotated[
        bool,
        typer.Option(
            "--open-images",
            help="Open each image as training does, and leave out what cannot be; decodes all.",
        ),
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Begin anew.")] = False,
) -> None:
    """Read a data set into a store of examples. Interrupted, the same command goes on."""
    from training.data.preparation import Preparation
    from training.data.preparation import prepare as run

    with _told():
        wanted = Preparation(
            name,
            root,
            images=images,
            options=_options(option or []),
            limit=limit,
            split=split,
            overlap=overlap.value,
            hash_images=hash_images,
            open_images=open_images,
        )
        run(wanted, out, again=again, say=typer.echo)
    _describe(out)


@data.command()
def inspect(
    store: Store,
    split: Annotated[SplitName | None, typer.Option(help="Examples of this split alone.")] = None,
    examples: Annotated[int, typer.Option(help="How many to show.", min=0)] = 3,
    page: Annotated[
        Path | None, typer.Option(help="Write an HTML page with the films and their boxes.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Other seed, other examples.")] = 0,
    verify: Annotated[
        bool, typer.Option("--verify", help="Open every image, check sizes and kept hashes.")
    ] = False,
) -> None:
    """Show what a store holds and some examples, patients unnamed."""
    from training.data.inspection import console_text, draw_examples, verify_images
    from training.data.page import write_page
    from training.data.store import read_examples

    _describe(store)
    with _told():
        chosen = draw_examples(read_examples(store, split), examples, seed=seed)
        for example in () if page else chosen:
            typer.echo("\n" + console_text(example))
        if page:
            write_page(page, store, chosen)
            typer.echo(f"\n{page}: {len(chosen)} examples")
        if verify:
            count, hashed = verify_images(store, split)
            hashes = (
                f"the hashes that were kept of {hashed} are theirs"
                if hashed
                else "no hashes were kept (prepare --hash-images) to tell whether they were changed"
            )
            typer.echo(f"\n{count} images are there, open, and have their sizes; {hashes}.")


@data.command()
def stats(
    store: Store,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count what a store holds: splits, tasks, question types, views, labels, boxes, lengths."""
    from training.data.statistics import count_examples, print_statistics
    from training.data.store import read_examples

    with _told():
        counted = count_examples(read_examples(store))
    if as_json:
        typer.echo(json.dumps(counted, indent=2))
    else:
        print_statistics(counted)


@data.command()
def combine(
    stores: Annotated[list[Path], typer.Argument(help="Prepared stores.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the store to write.")],
    overlap: Annotated[
        Overlap, typer.Option(help="Subjects in several splits: refuse, or drop from training.")
    ] = Overlap.REFUSE,
) -> None:
    """Make one store of several; patients whom two of them share get one split."""
    from training.data.combination import combine_stores

    with _told():
        combine_stores(stores, out, overlap=overlap.value)
    _describe(out)


def _options(pairs: list[str]) -> dict[str, str]:
    from training.data.store import DataError

    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise DataError(f"--option {pair!r} is not NAME=VALUE.")
        options[name] = value
    return options


def _describe(store: Path) -> None:
    from training.data.store import read_description

    with _told():
        told = read_description(store)
    for split, count in told.splits.items():
        typer.echo(f"{split}: {count} examples of {told.subjects[split]} subjects")
    for source in told.sources:
        typer.echo(f"from {source.name}: {source.examples} examples ({source.licence})")
    typer.echo(f"images in {told.images_root}")
    typer.echo(f"content hash {told.content_hash}")
    for reason, count in sorted(told.remarks.items(), key=lambda item: -item[1]):
        typer.echo(f"note: {reason}: {count}")


@contextmanager
def _told() -> Iterator[None]:
    """Say in words what is wrong with data, and leave with the code for it."""
    from training.data.store import DataError

    try:
        yield
    except DataError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        typer.echo(described(error), err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as interrupt:
        typer.echo("Interrupted. What is finished is kept: the same command goes on.", err=True)
        raise typer.Exit(130) from interrupt
