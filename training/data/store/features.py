"""The columns of a store, and the way between a row and an :class:`Example`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.reading import Mode, Task
from training.data.example import Box, Example, ReasoningTarget, Region

if TYPE_CHECKING:
    from datasets import Features

SCHEMA_VERSION = 1
"""Raised when a column changes its meaning or goes; stores of another version are refused."""

_TEXTS = ("id", "task", "mode", "answer", "split", "subject", "view", "source", "licence")
_OPTIONAL = (
    *("question", "question_type", "findings", "impression"),
    *("indication", "technique", "comparison", "prior_report"),
)
LATER = ("study", "sex", "age", "device", "site")
"""Columns that stores of this version may lack: None there."""
_LISTS = ("images", "roles", "labels", "image_hashes")
_REGIONS = ("regions", "structures")
_STEPS = ("steps", "grounded_sentences")


def features() -> Features:
    """Columns and their types, as ``datasets`` names them."""
    from datasets import Features, List, Value

    text, number = Value("string"), Value("int32")
    box = List(number, length=4)
    region = {"label": text, "box": box}
    step = {"text": text, "boxes": List({"image": number, "box": box})}
    return Features(
        dict.fromkeys((*_TEXTS, *_OPTIONAL), text)
        | dict.fromkeys(_LISTS, List(text))
        | {"sizes": List(List(number, length=2))}
        | {name: List(region) for name in _REGIONS}
        | {"regions_by_image": List(List(region))}
        | {name: List(step) for name in _STEPS}
        | {name: Value("float64") if name == "age" else text for name in LATER}
    )


def to_row(example: Example) -> dict[str, Any]:
    """An example as one row of plain values."""
    return {
        **{name: str(getattr(example, name)) for name in _TEXTS},
        **{name: getattr(example, name) for name in _OPTIONAL},
        **{name: list(getattr(example, name)) for name in _LISTS},
        "sizes": [list(size) for size in example.sizes],
        **{name: _region_rows(getattr(example, name)) for name in _REGIONS},
        "regions_by_image": [_region_rows(regions) for regions in example.regions_by_image],
        **{name: _step_rows(getattr(example, name)) for name in _STEPS},
        **{name: getattr(example, name) for name in LATER},
        "age": None if example.age is None else float(example.age),
    }


def from_row(row: dict[str, Any]) -> Example:
    """The example that a row holds; the opposite of :func:`to_row`.

    Raises
    ------
    KeyError
        When a column is missing.
    ValueError
        For a task or mode that there is none of.
    """
    plain: dict[str, Any] = {name: row[name] for name in (*_TEXTS, *_OPTIONAL)}
    plain |= {name: row.get(name) for name in LATER}
    plain |= {name: tuple(row[name]) for name in _LISTS}
    plain |= {"task": Task(row["task"]), "mode": Mode(row["mode"])}
    return Example(
        **plain,
        sizes=tuple((int(width), int(height)) for width, height in row["sizes"]),
        regions=_regions(row["regions"]),
        structures=_regions(row["structures"]),
        regions_by_image=tuple(_regions(rows) for rows in row["regions_by_image"]),
        steps=_steps(row["steps"]),
        grounded_sentences=_steps(row["grounded_sentences"]),
    )


def _region_rows(regions: tuple[Region, ...]) -> list[dict[str, Any]]:
    return [{"label": label, "box": list(box)} for label, box in regions]


def _step_rows(steps: tuple[ReasoningTarget, ...]) -> list[dict[str, Any]]:
    return [
        {
            "text": step.text,
            "boxes": [{"image": image, "box": list(box)} for image, box in step.boxes],
        }
        for step in steps
    ]


def _box(values: list[int]) -> Box:
    x_min, y_min, x_max, y_max = values
    return int(x_min), int(y_min), int(x_max), int(y_max)


def _regions(rows: list[dict[str, Any]]) -> tuple[Region, ...]:
    return tuple((row["label"], _box(row["box"])) for row in rows)


def _steps(rows: list[dict[str, Any]]) -> tuple[ReasoningTarget, ...]:
    return tuple(
        ReasoningTarget(
            row["text"], tuple((int(item["image"]), _box(item["box"])) for item in row["boxes"])
        )
        for row in rows
    )
