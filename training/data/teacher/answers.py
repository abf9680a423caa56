"""Answers on disk: one JSON line each, only ever appended to, found again by content."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from training.chat.client import Answer
from training.data.teacher.reasons import Reason, Refusal


class Answers:
    """What the teacher has answered so far, in this run and in those before.

    A line that a killed run left half written is passed over, and what follows it begins a line of
    its own. Refusals of single requests are kept as well, until an answer comes.

    Parameters
    ----------
    path
        The file; made with its folder when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, Answer] = {}
        self._refusals: dict[str, Refusal] = {}
        self.asked = 0
        """Requests that were answered or refused in this run; for a film not shown none is made."""

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            with self._path.open("rb") as lines:
                for line in lines:
                    self._remember(line)
        self._file = self._path.open("ab")
        if self._file.tell() and not _ends_in_newline(self._path):
            self._file.write(b"\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        """How many requests were answered or refused, in this run or before."""
        return len(self._answers) + sum(refusal.was_sent for refusal in self._refusals.values())

    def find(self, key: str) -> Answer | Refusal | None:
        """The answer to a request, or why there is none; None where it was not asked."""
        return self._answers.get(key) or self._refusals.get(key)

    def find_settled(self, key: str) -> Answer | Refusal | None:
        """As :meth:`find`, without what the server refused or garbled: it may answer yet."""
        found = self.find(key)
        again = isinstance(found, Refusal) and found.reason in (Reason.REFUSED, Reason.GARBLED)
        return None if again else found

    def keep(self, key: str, example: str, model: str, answer: Answer | Refusal) -> None:
        """Write an answer, or a refusal, down at once."""
        self.asked += isinstance(answer, Answer) or answer.was_sent
        line: dict[str, Any] = {"key": key, "example": example, "model": model}
        if isinstance(answer, Refusal):
            self._refusals[key] = answer
            line |= {"refused": answer.reason, "words": answer.words}
        else:
            self._answers[key] = answer
            self._refusals.pop(key, None)
            line |= {
                "text": answer.text,
                "finish_reason": answer.finish_reason,
                "tokens": list(answer.tokens),
            }
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def _remember(self, line: bytes) -> None:
        try:
            content = json.loads(line)
            key = content["key"]
            if "refused" in content:
                reason = Reason(content["refused"])
                self._refusals[key] = Refusal(reason, str(content["words"]))
                return
            prompt, completion = content["tokens"]
            ended = content["finish_reason"]
            self._answers[key] = Answer(str(content["text"]), ended, (prompt, completion))
            self._refusals.pop(key, None)
        except (ValueError, KeyError, TypeError):
            return  # the line that was being written


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
