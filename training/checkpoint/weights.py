"""Which tensors of two checkpoints differ, and by how much; one pair in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.checkpoint.errors import CheckpointError


@dataclass(frozen=True)
class TensorChange:
    """A tensor that both checkpoints hold and that differs.

    Attributes
    ----------
    name
        Of the tensor.
    shapes
        In the first and in the second.
    dtypes
        As safetensors names them, in the first and in the second.
    largest
        Largest absolute difference of two numbers, infinite where one of them is none (NaN); None
        where the shapes differ.
    relative
        Frobenius norm of the difference over that of the first's finite numbers; None where the
        shapes differ, infinite where the first is zero.
    """

    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    dtypes: tuple[str, str]
    largest: float | None
    relative: float | None


@dataclass(frozen=True)
class WeightsComparison:
    """Two checkpoints' weights side by side.

    Attributes
    ----------
    equal
        How many tensors are the same to the bit.
    changed
        Those that differ, the most changed first.
    only_first, only_second
        Names of tensors that only one of them holds.
    """

    equal: int
    changed: tuple[TensorChange, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def compare_weights(first: Path, second: Path) -> WeightsComparison:
    """Compare all tensors of two folders by name.

    Raises
    ------
    CheckpointError
        When a folder holds no weights, or a file of them cannot be read.
    """
    with ExitStack() as stack:
        here, there = (_open(folder, stack) for folder in (first, second))
        shared = sorted(here.keys() & there.keys())
        changes = [c for name in shared if (c := _change(name, here[name], there[name]))]
    changes.sort(key=lambda change: -(math.inf if change.relative is None else change.relative))
    return WeightsComparison(
        len(shared) - len(changes),
        tuple(changes),
        tuple(sorted(here.keys() - there.keys())),
        tuple(sorted(there.keys() - here.keys())),
    )


def _open(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """The open file of every tensor, by the tensor's name."""
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, Any] = {}
    for path in _shards(folder):
        try:
            file = stack.enter_context(safe_open(path, framework="pt"))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is no safetensors file ({error}). Restore it."
            ) from error
        tensors |= dict.fromkeys(file.keys(), file)
    return tensors


def _shards(folder: Path) -> Iterator[Path]:
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise CheckpointError(f"{folder} holds no weights (*.safetensors).")
    yield from shards


def _change(name: str, first: Any, second: Any) -> TensorChange | None:
    import torch

    one, other = first.get_tensor(name), second.get_tensor(name)
    shapes = (tuple(one.shape), tuple(other.shape))
    dtypes = tuple(str(t.dtype).removeprefix("torch.") for t in (one, other))
    if shapes[0] != shapes[1]:
        return TensorChange(name, shapes, (dtypes[0], dtypes[1]), None, None)
    if dtypes[0] == dtypes[1] and torch.equal(_bits(one), _bits(other)):
        return None
    one, other = one.double(), other.double()
    alike = (one == other) | (one.isnan() & other.isnan())
    difference = (other - one).masked_fill(alike, 0.0).nan_to_num(nan=math.inf)
    norm = float(one[one.isfinite()].norm())
    moved = float(difference.norm())
    relative = moved / norm if norm else (math.inf if moved else 0.0)
    largest = float(difference.abs().max()) if difference.numel() else 0.0
    return TensorChange(name, shapes, (dtypes[0], dtypes[1]), largest, relative)


def _bits(tensor: Any) -> Any:
    """As bytes: a NaN equals itself there, and 0.0 is not -0.0."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)
