"""Examples made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from service.reading import Mode, Task
from training.data.example import Example


@pytest.fixture(scope="session")
def make_example() -> Any:
    """A sound example, with what the test changes."""

    def make(**changes: Any) -> Example:
        sound: dict[str, Any] = {
            "id": "one",
            "images": ("a.png",),
            "sizes": ((40, 50),),
            "task": Task.FINDINGS,
            "mode": Mode.ANSWER,
            "answer": "The lungs are clear.",
            "steps": (),
            "split": "train",
            "subject": "made:1",
            "view": "PA",
            "source": "made",
            "licence": "none",
        }
        return Example(**{**sound, **changes})

    return make
