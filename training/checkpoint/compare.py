"""Two checkpoints side by side: conventions, pixels, stages, results, weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.engine import LineageRecord, Manifest, ManifestError, MeasuredResult, load_manifest
from service.engine.manifest import MANIFEST_FILE, parse_manifest
from training.checkpoint.card import flat_settings
from training.checkpoint.errors import CheckpointError
from training.checkpoint.weights import WeightsComparison, compare_weights

_HISTORY = {"lineage", "results", "files", "schema_version"}


@dataclass(frozen=True)
class Difference:
    """A field whose values differ; None stands for a field that is not there."""

    field: str
    first: str | None
    second: str | None


@dataclass(frozen=True)
class Comparison:
    """How two checkpoints differ.

    Attributes
    ----------
    facts
        Name, conventions, pixels, sampling and the like.
    lineage
        Stages and their settings, by place in the lineage.
    files
        Digests of the files, as the manifests give them; weights are among them, and the manifest
        itself is not.
    results
        Pairs by name of the metric; either may be None. Those that are equal are among them.
    weights
        None where they were not compared.
    warnings
        What the service would refuse about either.
    """

    names: tuple[str, str]
    facts: tuple[Difference, ...]
    lineage: tuple[Difference, ...]
    files: tuple[Difference, ...]
    results: tuple[tuple[MeasuredResult | None, MeasuredResult | None], ...]
    weights: WeightsComparison | None
    warnings: tuple[str, ...]


def compare_checkpoints(first: Path, second: Path, *, weights: bool = True) -> Comparison:
    """Compare two checkpoint folders; that one does not verify is a warning.

    Raises
    ------
    CheckpointError
        When a folder holds no readable manifest, or no weights.
    """
    manifests = [_manifest(folder) for folder in (first, second)]
    one, other = manifests
    return Comparison(
        (f"{one.name} {one.revision}", f"{other.name} {other.revision}"),
        tuple(_differences(_facts(one), _facts(other))),
        tuple(_differences(_stages(one.lineage), _stages(other.lineage))),
        tuple(_differences(dict(one.files), dict(other.files))),
        tuple(_results(one, other)),
        compare_weights(first, second) if weights else None,
        tuple(_warnings(first, second)),
    )


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_FILE
    try:
        return parse_manifest(path.read_bytes(), str(path))
    except OSError as error:
        raise CheckpointError(
            f"{folder} is no checkpoint: it holds no {MANIFEST_FILE}. Export the stage's output "
            "first (deepmedix checkpoint export)."
        ) from error
    except ManifestError as error:
        raise CheckpointError(str(error)) from error


def _warnings(*folders: Path) -> Iterator[str]:
    for folder in folders:
        try:
            load_manifest(str(folder))
        except ManifestError as error:
            yield str(error)


def _facts(manifest: Manifest) -> dict[str, str]:
    content = manifest.model_dump(mode="json", exclude=_HISTORY)
    return {name: str(value) for name, value in flat_settings(content)}


def _stages(lineage: tuple[LineageRecord, ...]) -> dict[str, str]:
    said = {}
    for number, record in enumerate(lineage, start=1):
        content = record.model_dump(mode="json", exclude={"stage"})
        said[f"{number}"] = record.stage
        said |= {f"{number}.{name}": str(value) for name, value in flat_settings(content)}
    return said


def _differences(first: dict[str, str], second: dict[str, str]) -> Iterator[Difference]:
    for field in dict.fromkeys((*first, *second)):
        if first.get(field) != second.get(field):
            yield Difference(field, first.get(field), second.get(field))


def _results(
    first: Manifest, second: Manifest
) -> Iterator[tuple[MeasuredResult | None, MeasuredResult | None]]:
    # Equal names measured on other data are other results.
    one, other = ({(r.name, r.data): r for r in m.results} for m in (first, second))
    for key in dict.fromkeys((*one, *other)):
        yield one.get(key), other.get(key)
