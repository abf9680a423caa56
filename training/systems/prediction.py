"""What a system said of an example, kept so that it can be scored again without the system."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

Corners = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max in original pixels."""


class Failure(StrEnum):
    """Why there is no text."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """The system refused this example, and would again."""
    FILM = "film"
    """The film could not be shown."""
    MISSING = "missing"
    """A folder of predictions holds none of this example."""
    BROKEN = "broken"
    """What came back is no reply, or the system failed in its own code."""


PASSING = frozenset((Failure.TIMEOUT, Failure.UNREACHABLE))
"""What another try may mend: asked again when a run goes on."""


@dataclass(frozen=True)
class PredictedStep:
    """A step of reasoning, or a sentence, with the boxes it points at.

    Attributes
    ----------
    text
        Readable, without boxes.
    boxes
        Index of the image, and the box in its original pixels.
    """

    text: str
    boxes: tuple[tuple[int, Corners], ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What a system said of an example.

    Attributes
    ----------
    example, system
        Identifier of the example, name of the system.
    key
        SHA-256 of all that the prediction depends on: system, question, context, films.
    text
        As the system wrote it.
    answer
        What is scored: the report's section, or the answer to the question.
    notices
        Flags of the parser.
    complete
        Whether the text ended as its form demands.
    failure
        What went wrong; None where there is a text. Scored as an empty answer.
    seconds
        From asking to the last token, the wait for its turn left out.
    tokens
        Generated, where the system tells.
    confidence
        0 to 1, where the system gives one.
    pointing
        Whether the system was asked to point at places on the films.
    """

    example: str
    system: str
    key: str = ""
    text: str = ""
    answer: str = ""
    steps: tuple[PredictedStep, ...] = ()
    notices: tuple[str, ...] = ()
    complete: bool = False
    failure: Failure | None = None
    seconds: float = 0.0
    tokens: int | None = None
    confidence: float | None = None
    pointing: bool = False


_READER = TypeAdapter(Prediction)
_LONE = re.compile("[\ud800-\udfff]")


def writable(prediction: Prediction) -> Prediction:
    """The prediction as it is read again from disk.

    Half a surrogate pair is no character: U+FFFD takes its place, with the notice ``not-unicode``.

    Raises
    ------
    ValueError
        When it has not the types that a prediction has.
    """
    content = asdict(prediction)
    whole = _whole(content)
    if whole != content:
        whole["notices"] = (*whole["notices"], "not-unicode")
    return _READER.validate_json(json.dumps(whole))


def _whole(content: Any) -> Any:
    if isinstance(content, str):
        return _LONE.sub("\N{REPLACEMENT CHARACTER}", content)
    if isinstance(content, dict):
        return {name: _whole(value) for name, value in content.items()}
    return type(content)(map(_whole, content)) if isinstance(content, list | tuple) else content


class Predictions:
    """Predictions on disk: one JSON line each, only ever appended to.

    A line that a killed run left half written is passed over, and what follows it begins a line of
    its own. The last line of a key counts.

    Raises
    ------
    ValueError
        When a line that was written whole is no prediction.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Prediction] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = True
        if path.exists():
            text = path.read_bytes()
            whole = not text or text.endswith(b"\n")
            self._found = {p.key: p for p in _read(path, text)}
        self._file = path.open("a", encoding="utf-8")
        if not whole:
            self._file.write("\n")

    def find(self, key: str) -> Prediction | None:
        """The prediction of that key."""
        return self._found.get(key)

    def keep(self, prediction: Prediction) -> None:
        """Write a prediction down at once."""
        self._found[prediction.key] = prediction
        self._file.write(json.dumps(asdict(prediction), ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_predictions(path: Path) -> list[Prediction]:
    """Predictions of a file, the last one of each example.

    Raises
    ------
    ValueError
        When a line that was written whole is no prediction.
    """
    return list({p.example: p for p in _read(path, path.read_bytes())}.values())


def _read(path: Path, content: bytes) -> Iterator[Prediction]:
    lines = content.split(b"\n")  # bytes: a line may end within a character
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _READER.validate_json(line)
        except ValueError as error:
            if _is_json(line):
                raise ValueError(f"{path}:{number} is no prediction: {error}") from error


def _is_json(line: bytes) -> bool:
    """Whether a line was written whole."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
