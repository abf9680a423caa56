"""The Python that the pages show runs as it stands there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.reading import Task
from tests.training.small_store import example
from training.data.store import write_examples

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def blocks_of(page: str) -> list[str]:
    return _BLOCK.findall((ROOT / "docs" / page).read_text())


def run(block: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(compile(block, "documented", "exec"), names)  # our own pages
    return names


def test_a_store_is_read_as_documented(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [replace(example(n, Task.VQA), split="train") for n in range(4)]
    write_examples(tmp_path / "stores" / "ct", some, images_root=films)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (block,) = blocks_of("data.md")
    *others, last = block.rstrip().splitlines()
    names = run("\n".join([*others, f"examples = {last}"]))
    read: Any = names["examples"]
    assert [one.id for one in read] == [one.id for one in some]


def test_the_shipped_checkpoint_loads_with_plain_transformers_as_documented(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    (block,) = blocks_of("checkpoints.md")
    names = run(block)
    assert type(names["model"]).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert type(names["processor"]).__name__ == "Qwen2_5_VLProcessor"
