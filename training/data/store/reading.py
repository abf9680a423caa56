"""Read a store: verified first, then example by example."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from training.data.example import Example
from training.data.store.description import Shard, file_hash, read_description
from training.data.store.errors import DataError
from training.data.store.features import LATER, features, from_row

if TYPE_CHECKING:
    from pyarrow import Table

_AGAIN = "Prepare the data again, or restore the folder."


class StoredExamples:
    """The examples of some shards, in order; read anew on every pass, never all in memory."""

    def __init__(self, folder: Path, shards: list[Shard]) -> None:
        self._folder = folder
        self._shards = shards

    def __len__(self) -> int:
        """How many examples there are."""
        return sum(shard.examples for shard in self._shards)

    def at(self, numbers: Collection[int]) -> list[Example]:
        """The examples of some numbers, in order; shards that hold none are not read."""
        found, first = [], 0
        for shard in self._shards:
            here = sorted(n - first for n in numbers if first <= n < first + shard.examples)
            if here:
                rows = _table(self._folder / shard.file).take(here).to_pylist()
                found += [from_row(row) for row in rows]
            first += shard.examples
        return found

    def __iter__(self) -> Iterator[Example]:
        """One example after the other."""
        import pyarrow.parquet as parquet

        for shard in self._shards:
            with parquet.ParquetFile(self._folder / shard.file) as file:
                for batch in file.iter_batches(batch_size=1024):
                    yield from map(from_row, batch.to_pylist())


def _table(path: Path) -> Table:
    import pyarrow.parquet as parquet

    return parquet.read_table(path)


def read_examples(folder: Path | str, split: str | None = None) -> StoredExamples:
    """Examples of a split, or of all.

    Parameters
    ----------
    folder
        A store that :func:`~training.data.store.write_examples` wrote.
    split
        train, validate or test.

    Raises
    ------
    DataError
        When the folder is no store, has no such split, or a shard is missing, was changed, or
        has other columns than this version's.
    """
    folder = Path(folder)
    description = read_description(folder)
    shards = [shard for shard in description.shards if split in (None, shard.split)]
    if not shards:
        there = ", ".join(description.splits)
        raise DataError(f"{folder} has no split {split!r}; it has {there}.")
    for shard in shards:
        _verify(folder, shard)
    return StoredExamples(folder, shards)


def _verify(folder: Path, shard: Shard) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    path = folder / shard.file
    if not path.exists():
        raise DataError(f"{path} is missing. {_AGAIN}")
    if file_hash(path) != shard.sha256:
        raise DataError(f"{path} was changed since it was written: its hash differs. {_AGAIN}")
    found = parquet.read_schema(path).remove_metadata()
    wanted = [f for f in features().arrow_schema if f.name in found.names or f.name not in LATER]
    if not found.equals(pyarrow.schema(wanted)):
        raise DataError(f"{path} has other columns than this version's. {_AGAIN}")
