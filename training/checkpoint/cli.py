"""``deepmedix checkpoint``: export, merge, average, verify, show and compare checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.system_error import described

if TYPE_CHECKING:
    from service.engine import LineageRecord, MeasuredResult
    from training.checkpoint.identity import Identity

checkpoint = typer.Typer(
    help="Export, merge, average, verify, show and compare checkpoints.", no_args_is_help=True
)

Trained = Annotated[Path, typer.Argument(help="Output folder of a stage.")]
Out = Annotated[Path, typer.Option(help="Folder to write.")]
Base = Annotated[
    str | None, typer.Option(help="What adapters were trained on, where it lies elsewhere now.")
]
Dtype = Annotated[str, typer.Option(help="bfloat16, float16 or float32.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@checkpoint.command()
def export(
    trained: Trained,
    out: Out,
    name: Annotated[
        str | None, typer.Option(help="Name of the checkpoint; the folder's where not given.")
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            help="Whose conventions it was trained with: `embedded`, a hub id whose manifest "
            "ships with the service, or a checkpoint folder. The stage's own where not given."
        ),
    ] = None,
    after: Annotated[
        list[Path] | None,
        typer.Option(
            help="Output folders of all earlier stages, first to last, once for each; what "
            "their configs say of where they started is not followed."
        ),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="JSON list of held-out results (docs/manifest.md).")
    ] = None,
    base: Base = None,
    dtype: Dtype = "bfloat16",
    overwrite: Annotated[
        bool, typer.Option(help="Replace the checkpoint that is in --out.")
    ] = False,
) -> None:
    """Write a stage's output as a checkpoint that the service, vLLM and transformers load.

    LoRA adapters are merged into their base. The manifest holds the lineage of every stage, the
    conventions, and the digests of all files; the model card says the same in words.
    """
    with _in_words():
        from training.checkpoint.errors import CheckpointError
        from training.checkpoint.export import export_checkpoint

        if out.is_dir() and any(out.iterdir()) and not overwrite:
            raise CheckpointError(
                f"{out} is there already. Give --overwrite to replace a checkpoint."
            )
        lineage, identity = _history(trained, name or out.resolve().name, manifest, after or [])
        export_checkpoint(
            trained,
            out,
            lineage=lineage,
            results=_results(results),
            identity=identity,
            base=base,
            dtype=dtype,
        )
        typer.echo(f"wrote {out}; deepmedix checkpoint show {out}")


@checkpoint.command()
def merge(adapters: Trained, out: Out, base: Base = None, dtype: Dtype = "bfloat16") -> None:
    """Merge LoRA adapters into their base: a whole model for the next stage to start from."""
    with _in_words():
        from training.checkpoint.merge import merge_adapter

        merge_adapter(adapters, out, base=base, dtype=dtype)
        typer.echo(f"wrote {out}")


@checkpoint.command()
def average(
    trained: Trained,
    out: Out,
    share: Annotated[float, typer.Option(help="Of the end; the rest is the start's.")] = 0.5,
    start: Annotated[
        str | None, typer.Option(help="What the stage started from, where it lies elsewhere now.")
    ] = None,
) -> None:
    """Go back a part of a stage's way: weights between those before it and those after it.

    What a stage teaches often costs some of what was known before; in between, both may be there.
    The result is a stage's output like any other.
    """
    with _in_words():
        from training.checkpoint.average import average_with_start
        from training.stages.record import code_revision

        average_with_start(trained, out, code_revision(), share=share, start=start)
        typer.echo(f"wrote {out}")


@checkpoint.command()
def verify(
    model: Annotated[str, typer.Argument(help="Folder of a checkpoint, a hub id, or `embedded`.")],
    load: Annotated[
        bool, typer.Option("--load", help="Load the model with transformers, too.")
    ] = False,
) -> None:
    """Hold a checkpoint against its manifest, by the code that the service starts with.

    Exit status 2 where the service would refuse it.
    """
    with _in_words():
        from training.checkpoint.verify import verify_checkpoint

        verified = verify_checkpoint(_located(model), load=load)
        manifest = verified.manifest
        size = f", {verified.parameters:,} parameters load" if verified.parameters else ""
        typer.echo(
            f"ok: {manifest.name} {manifest.revision} ({manifest.stage}), {len(manifest.files)} "
            f"files{size}, manifest {verified.digest[:12]}"
        )


@checkpoint.command()
def show(
    model: Annotated[str, typer.Argument(help="Folder of a checkpoint, a hub id, or `embedded`.")],
    as_json: AsJson = False,
) -> None:
    """Show what a checkpoint is, the stages behind it, and its results."""
    with _in_words():
        from training.checkpoint.tables import manifest_tables, print_tables
        from training.checkpoint.verify import verify_checkpoint

        verified = verify_checkpoint(_located(model))
        if as_json:
            typer.echo(verified.manifest.model_dump_json(indent=2))
        else:
            print_tables(manifest_tables(verified.manifest, verified.digest))


@checkpoint.command()
def diff(
    first: Annotated[Path, typer.Argument(help="Folder of a checkpoint, or `embedded`.")],
    second: Annotated[Path, typer.Argument(help="Folder of the other.")],
    weights: Annotated[bool, typer.Option(help="Whether to compare the tensors.")] = True,
    most: Annotated[int, typer.Option(help="Changed tensors to name.", min=0)] = 20,
    as_json: AsJson = False,
) -> None:
    """Compare two checkpoints: conventions, pixels, lineage, results, tensors."""
    with _in_words():
        from training.checkpoint.compare import compare_checkpoints
        from training.checkpoint.tables import comparison_tables, print_tables

        one, other = Path(_located(str(first))), Path(_located(str(second)))
        comparison = compare_checkpoints(one, other, weights=weights)
        if as_json:
            typer.echo(json.dumps(_plain(asdict(comparison)), indent=2, allow_nan=False))
        else:
            print_tables(comparison_tables(comparison, most=most))


def _located(model: str) -> str:
    """Folder of the shipped checkpoint for its name, unless a folder bears that."""
    from service.settings import EMBEDDED_CHECKPOINT

    return str(EMBEDDED_CHECKPOINT) if model == "embedded" and not Path(model).exists() else model


def _history(
    trained: Path, name: str, manifest: str | None, after: list[Path]
) -> tuple[list[LineageRecord], Identity]:
    from training.checkpoint.errors import CheckpointError
    from training.checkpoint.identity import embedded_identity, identity_like, named_manifest
    from training.checkpoint.lineage import follow_lineage, told_lineage

    lineage = told_lineage([*after, trained]) if after else follow_lineage(trained)
    records = list(lineage.records)
    named = manifest or lineage.manifest
    if named == "embedded":
        return records, identity_like(embedded_identity(), name=name, base=lineage.base)
    if named is None and lineage.parent is None:
        raise CheckpointError(
            "No stage says whose conventions it was trained with. Name them with --manifest: "
            "`embedded`, a hub id whose manifest ships with the service, or a checkpoint folder."
        )
    source = named_manifest(named) if named else lineage.parent
    assert source is not None
    return records, identity_like(source, name=name, base=lineage.base)


def _results(file: Path | None) -> list[MeasuredResult]:
    from pydantic import TypeAdapter

    from service.engine import MeasuredResult
    from training.checkpoint.errors import CheckpointError

    if file is None:
        return []
    try:
        return TypeAdapter(list[MeasuredResult]).validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"--results: {file} is not a JSON list of results (name, value, interval, n, data, "
            f"command): {str(error).splitlines()[0]}"
        ) from error


def _plain(value: object) -> object:
    """As JSON holds it: there, a number that is not finite is null (RFC 8259, section 6)."""
    from service.engine import MeasuredResult

    if isinstance(value, MeasuredResult):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def _in_words() -> Iterator[None]:
    """What the caller can mend, in words and with exit status 2."""
    from training.checkpoint.errors import CheckpointError

    try:
        yield
    except CheckpointError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        typer.echo(described(error), err=True)
        raise typer.Exit(2) from error
