"""Predictions made elsewhere: ours, or another program's output in its own form."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from training.data.example import Example
from training.systems.baselines import BASELINES
from training.systems.formats import Shown
from training.systems.prediction import Failure, Prediction, read_predictions
from training.systems.protocol import FailedError, NoSystemError

_IDS = ("example", "id", "study_id", "image_id", "query_id", "question_id")
_TEXTS = ("prediction", "model_prediction", "text", "output", "generated_text", "report", "answer")
_CONFIDENCES = ("confidence", "probability", "score")
_OURS = "deepmedix"


@dataclass(frozen=True)
class _Told:
    """A text, and how sure its system was where it says so."""

    text: str
    confidence: float | None = None


class FolderSystem:
    """Looks predictions up by the example's identifier.

    Parameters
    ----------
    path
        A file, or a folder of files: ``.jsonl`` and ``.json`` (a list, or an object by identifier)
        with an identifier, a text and maybe a confidence (0 to 1) each, ``.csv`` likewise,
        ``.txt`` named after the identifier.
    form
        Name of the baseline whose form the texts have; ``deepmedix`` for this program's own
        predictions.

    Raises
    ------
    NoSystemError
        From entering it: when nothing can be read there.
    """

    needs_films = False

    def __init__(self, path: Path, form: str = _OURS) -> None:
        if form != _OURS and form not in BASELINES:
            raise NoSystemError(f"as={form} is not known: {', '.join((_OURS, *BASELINES))}.")
        self._path = path
        self._form = form
        self._found: dict[str, Any] = {}

    @property
    def identity(self) -> dict[str, Any]:
        """Content of the files."""
        import hashlib

        said = json.dumps({key: str(value) for key, value in sorted(self._found.items())})
        digest = hashlib.sha256(said.encode()).hexdigest()
        return {"kind": "predictions", "form": self._form, "sha256": digest}

    async def __aenter__(self) -> Self:
        files = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        try:
            for file in files:
                self._found |= dict(self._read(file))
        except (OSError, ValueError, KeyError) as error:
            raise NoSystemError(f"{self._path}: {error}") from error
        if not self._found:
            raise NoSystemError(f"{self._path} holds no predictions.")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._found = {}

    async def predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        """Look the example up.

        Raises
        ------
        FailedError
            When there is no prediction of it.
        """
        found = self._found.get(example.id)
        if found is None:
            raise FailedError(Failure.MISSING)
        if isinstance(found, Prediction):
            if found.failure is not None:
                raise FailedError(found.failure)
            return replace(found, example="", system="", key="")
        shown = [Shown(width, height, width, height) for width, height in example.sizes]
        said = BASELINES[self._form].read(found.text, example, shown)
        return Prediction(
            "",
            "",
            text=found.text,
            answer=said.answer,
            steps=said.steps,
            notices=said.notices,
            complete=said.complete,
            confidence=found.confidence,
            pointing=BASELINES[self._form].points(example.task),
        )

    def _read(self, file: Path) -> Iterator[tuple[str, Any]]:
        if self._form == _OURS:
            if file.suffix == ".jsonl":
                yield from ((p.example, p) for p in read_predictions(file))
        elif file.suffix == ".txt":
            yield file.stem, _Told(file.read_text(encoding="utf-8-sig"))
        elif file.suffix == ".jsonl":
            # Not splitlines(): JSON strings may hold U+2028 and its like.
            lines = file.read_text(encoding="utf-8-sig").split("\n")
            yield from (_row(json.loads(line)) for line in lines if line.strip())
        elif file.suffix == ".json":
            content = json.loads(file.read_text(encoding="utf-8-sig"))
            if isinstance(content, dict):
                yield from ((str(key), _told(value)) for key, value in content.items())
            else:
                yield from (_row(item) for item in content)
        elif file.suffix == ".csv":
            with file.open(newline="", encoding="utf-8-sig") as table:
                yield from (_row(row) for row in csv.DictReader(table))


def _row(row: Any) -> tuple[str, _Told]:
    if not isinstance(row, Mapping):
        raise ValueError("a row is no object")
    key = next((str(row[name]) for name in _IDS if row.get(name)), None)
    if key is None:
        raise ValueError(f"a row has no identifier (one of {', '.join(_IDS)})")
    return key, _told(row)


def _told(row: Any) -> _Told:
    sure = None
    if isinstance(row, Mapping):
        found = next((row[name] for name in _TEXTS if row.get(name) is not None), None)
        if found is None:
            raise ValueError(f"a row has no text (one of {', '.join(_TEXTS)})")
        given = next((row[name] for name in _CONFIDENCES if row.get(name) not in (None, "")), None)
        sure = None if given is None else float(given)
        if sure is not None and not 0 <= sure <= 1:
            raise ValueError(f"a confidence is not within 0 and 1: {sure}")
        row = found
    return _Told(row if isinstance(row, str) else json.dumps(row), sure)
