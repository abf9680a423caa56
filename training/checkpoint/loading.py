"""A model that transformers loads with every weight in its place, or not at all."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from training.checkpoint.errors import CheckpointError


def load_complete(kind: Any, named: str | Path, *, surplus: bool = False, **options: Any) -> Any:
    """``kind.from_pretrained``, which by itself makes up the weights that a file lacks.

    Names are the model's, after transformers' own mapping of older layouts; of weights that are
    tied, one is enough.

    Parameters
    ----------
    surplus
        Whether weights that the model has no place for are let be.

    Raises
    ------
    CheckpointError
        With the reason alone, when nothing can be loaded, or a weight is missing, of another shape,
        or one that the model has no place for.
    """
    from safetensors import SafetensorError

    try:
        model, found = kind.from_pretrained(
            named,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named below
            **options,
        )
    except SafetensorError as error:
        raise CheckpointError(f"a file of weights is damaged: {first_line(error)}") from error
    except Exception as error:  # whatever the library raises over a config it cannot use
        raise CheckpointError(first_line(error)) from error
    wrong_shape = {name for name, *_ in found["mismatched_keys"]}
    faults = [
        f"{what}: {some(names)}"
        for what, names in (
            ("missing weights", found["missing_keys"]),
            ("weights of another shape", wrong_shape),
            (
                "weights that the model has no place for",
                () if surplus else found["unexpected_keys"],
            ),
        )
        if names
    ]
    if faults:
        raise CheckpointError("; ".join(faults))
    return model


def not_finite(model: Any) -> list[str]:
    """Names of a model's weights that hold NaN or an infinite number."""
    import torch

    return [
        name
        for name, weight in model.state_dict().items()
        # On the device meta are weights that another process has loaded.
        if not weight.is_meta and not bool(torch.isfinite(weight).all())
    ]


def some(names: Collection[str]) -> str:
    """The first few names, and how many there are where these are not all."""
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def first_line(error: Exception) -> str:
    """What an error of a library says, cut to a line."""
    return next(iter(str(error).splitlines()), type(error).__name__)
