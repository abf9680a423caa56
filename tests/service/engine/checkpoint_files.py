"""Sizes and JSON files of the small checkpoint folder that the tests make and break."""

import json
from pathlib import Path
from typing import Any

MIN_PIXELS, MAX_PIXELS = 28 * 28 * 16, 224 * 224


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def change_json(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text()) | changes)
