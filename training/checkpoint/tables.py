"""Checkpoints on the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from service.engine import Manifest, MeasuredResult
from training.checkpoint.card import metrics_in_words, settings_in_words
from training.checkpoint.compare import Comparison, Difference
from training.checkpoint.weights import TensorChange, WeightsComparison


def manifest_tables(manifest: Manifest, digest: str | None = None) -> Group:
    """What a checkpoint is, the stages behind it and its results."""
    parts: list[RenderableType] = [_facts(manifest, digest)]
    if manifest.lineage:
        parts.append(_lineage(manifest))
    if manifest.results:
        parts.append(_results(manifest))
    return Group(*parts)


def comparison_tables(comparison: Comparison, *, most: int) -> Group:
    """Everything that differs; the ``most`` changed tensors by name."""
    parts: list[RenderableType] = [Text(f"warning: {w}", "yellow") for w in comparison.warnings]
    # As many digits of a digest as tell files apart.
    files = [
        Difference(d.field, d.first and d.first[:12], d.second and d.second[:12])
        for d in comparison.files
    ]
    sections = (("Facts", comparison.facts), ("Lineage", comparison.lineage), ("Files", files))
    for title, differences in sections:
        parts.append(_differences(title, differences, comparison.names))
    if comparison.results:
        parts.append(_results_beside(comparison))
    if comparison.weights is not None:
        parts += _weights(comparison.weights, comparison.names, most)
    return Group(*parts)


def print_tables(tables: RenderableType) -> None:
    """Print to standard output, as wide as the terminal is, or 120 columns into a pipe."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(tables)


def _facts(manifest: Manifest, digest: str | None) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    pixels, sampling = manifest.pixels, manifest.sampling
    rows = {
        "name": f"{manifest.name} {manifest.revision}",
        "stage": manifest.stage,
        "base": manifest.base or "none, or not known",
        "licence": manifest.license,
        "boxes in": str(manifest.conventions.box_space),
        "pixels": f"{pixels.min_pixels} to {pixels.max_pixels}, sides in steps of "
        f"{pixels.patch_size * pixels.merge_size}",
        "sampling": f"temperature {sampling.temperature:g}, top_p {sampling.top_p:g}, at most "
        f"{sampling.max_tokens} tokens, {manifest.decoding} decoding",
        "images": f"at most {manifest.max_images}",
        "files": f"{len(manifest.files)} with their digests",
    }
    if digest:
        rows["manifest"] = digest
    for name, value in rows.items():
        table.add_row(name, Text(value))
    for note in manifest.notes:
        table.add_row("note", Text(note))
    return table


def _lineage(manifest: Manifest) -> Table:
    table = Table("stage", "settings", "ended at", "data", "code", title="Lineage", expand=True)
    table.columns[1].ratio = 3
    table.columns[2].ratio = 2
    for record in manifest.lineage:
        table.add_row(
            Text(record.stage),
            Text(settings_in_words(record.config)),
            Text(metrics_in_words(record.metrics)),
            record.data_hash[:12],
            record.code_revision[:12],
        )
    return table


def _results(manifest: Manifest) -> Table:
    table = Table("metric", title="Results")
    for name in ("value", "95% interval", "n"):
        table.add_column(name, justify="right")
    sources = dict.fromkeys(result.data for result in manifest.results)
    if len(sources) > 1:
        table.add_column("measured on")
    else:
        table.caption = Text("".join(f"Measured on: {data}" for data in sources))
    for result in manifest.results:
        row = [Text(result.name), *_figures(result), str(result.n), Text(result.data)]
        table.add_row(*row[: len(table.columns)])
    return table


def _figures(result: MeasuredResult | None) -> tuple[str, str]:
    if result is None:
        return "", ""
    interval = "" if result.interval is None else "{:.3f}-{:.3f}".format(*result.interval)
    return f"{result.value:.4f}", interval


def _differences(title: str, some: Sequence[Difference], names: tuple[str, str]) -> RenderableType:
    if not some:
        return Text(f"{title}: the same")
    table = Table("field", *map(escape, names), title=title, expand=True)
    for item in some:
        table.add_row(*(Text(x or "-") for x in (item.field, item.first, item.second)))
    return table


def _results_beside(comparison: Comparison) -> Table:
    table = Table("metric", title="Results", expand=True)
    for name in (comparison.names[0], "95%", comparison.names[1], "95%", "change"):
        table.add_column(escape(name), justify="right")
    for one, other in comparison.results:
        change = f"{other.value - one.value:+.4f}" if one and other else ""
        named = one or other
        assert named is not None
        table.add_row(Text(named.name), *_figures(one), *_figures(other), change)
    return table


def _weights(
    weights: WeightsComparison, names: tuple[str, str], most: int
) -> Iterator[RenderableType]:
    yield Text(
        f"Weights: {weights.equal} tensors the same, {len(weights.changed)} differ, "
        f"{len(weights.only_first)} only in {names[0]}, {len(weights.only_second)} only in "
        f"{names[1]}"
    )
    if weights.changed:
        table = Table("tensor", "shape", title="Tensors by relative change", expand=True)
        table.add_column("largest change", justify="right")
        table.add_column("relative change", justify="right")
        for change in weights.changed[:most]:
            table.add_row(change.name, _shape(change), *_amounts(change))
        yield table
        if len(weights.changed) > most:
            yield Text(f"and {len(weights.changed) - most} more (--most shows more)")
    for name, only in zip(names, (weights.only_first, weights.only_second), strict=True):
        if only:
            more = f" and {len(only) - most} more" if len(only) > most else ""
            yield Text(f"Only in {name}: {', '.join(only[:most])}{more}")


def _shape(change: TensorChange) -> str:
    shapes = ["x".join(map(str, shape)) for shape in change.shapes]
    said = [f"{s} {d}" for s, d in zip(shapes, change.dtypes, strict=True)]
    return said[0] if said[0] == said[1] else " / ".join(said)


def _amounts(change: TensorChange) -> tuple[str, str]:
    if change.largest is None or change.relative is None:
        return "other shape", ""
    return f"{change.largest:.3g}", f"{change.relative:.3%}"
