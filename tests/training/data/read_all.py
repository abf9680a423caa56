"""Everything that an adapter gives, sound or the test fails, and what it remarked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from training.data.adapters import Adapter, open_adapter
from training.data.example import Example
from training.data.store import faults_of


def read_all(
    name: str, root: Path, images: Path | None = None, **options: str
) -> tuple[list[Example], Counter[str]]:
    """All examples with the adapter's remarks."""
    adapter = open_adapter(name, root, images=images, options=options)
    assert isinstance(adapter, Adapter)
    remarks: Counter[str] = Counter()
    examples = [
        example
        for study in adapter.studies()
        for example in adapter.read(study, lambda reason: remarks.update([reason]))
    ]
    assert [faults_of(example) for example in examples] == [[]] * len(examples)
    assert len({example.id for example in examples}) == len(examples)
    assert {example.source for example in examples} <= {name, root.stem}
    return examples, remarks
