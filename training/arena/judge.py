"""Judges: by rule from the ground truth, or a language model behind an OpenAI-compatible server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from training.arena.rubric import PROMPT, SCHEMA, Choice, Verdict, prompt_of, read_verdict
from training.chat.client import ChatServer
from training.chat.errors import RefusedError
from training.data.example import Example
from training.evaluation.columns import columns_of
from training.systems.picture import Unshowable, picture_of
from training.systems.prediction import Prediction


@dataclass(frozen=True)
class Opinion:
    """What asking a judge once came to.

    Attributes
    ----------
    verdict
        None where the answer could not be read, or the server refused.
    tokens
        Of prompt and answer.
    """

    verdict: Verdict | None
    tokens: int = 0


class Judge(AbstractAsyncContextManager["Judge"], Protocol):
    """Compares two predictions about one example, in the order given."""

    @property
    def name(self) -> str:
        """As tables name it."""
        ...

    def key(self, example: Example, first: Prediction, second: Prediction) -> str:
        """SHA-256 of all that its verdict depends on."""
        ...

    async def judge(self, example: Example, first: Prediction, second: Prediction) -> Opinion:
        """The verdict."""
        ...

    async def __aenter__(self) -> Self: ...


class RuleJudge:
    """Compares by the ground truth: findings, then boxes; for questions the answer.

    The better text is that with the higher mean of CheXpert F1 and matched IoU, or the right
    answer; a difference below ``margin`` is a tie, and two texts below ``floor`` are both bad.
    """

    def __init__(self, *, margin: float = 0.05, floor: float = 0.2) -> None:
        self.name = "rules"
        self._margin = margin
        self._floor = floor

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def key(self, example: Example, first: Prediction, second: Prediction) -> str:
        """Content of the texts and of the truth."""
        told = [example.content_hash(), *map(_content, (first, second)), self._margin, self._floor]
        return _digest("rules", told)

    async def judge(self, example: Example, first: Prediction, second: Prediction) -> Opinion:
        """The verdict, and what decided it."""
        (one, parts), (other, others) = (_worth(example, each) for each in (first, second))
        if max(one, other) < self._floor:
            return Opinion(Verdict(Choice.BOTH_BAD, "Neither is right.", "correctness"))
        if abs(one - other) < self._margin:
            return Opinion(Verdict(Choice.TIE, "They are worth about the same."))
        by = max(parts, key=lambda name: abs(parts[name] - others[name]))
        reason = f"{by}: {parts[by]:.2f} against {others[by]:.2f}."
        return Opinion(Verdict(Choice.A if one > other else Choice.B, reason, by))


class ModelJudge:
    """A language model that is shown both texts, and as much of the truth as wished.

    Parameters
    ----------
    name
        As tables name it.
    server, model
        Where it is, and its name there.
    films
        Folder that the examples' images are relative to; None: it is not shown the films.
    reference
        Whether it is told the reference and what is marked.
    picture_pixels
        Largest area of a picture.
    """

    def __init__(
        self,
        name: str,
        server: ChatServer,
        model: str,
        *,
        films: Path | None = None,
        reference: bool = True,
        picture_pixels: int = 768 * 768,
        max_tokens: int = 1024,
    ) -> None:
        self.name = name
        self._server = server
        self._model = model
        self._films = films
        self._reference = reference
        self._picture_pixels = picture_pixels
        self._max_tokens = max_tokens

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    def key(self, example: Example, first: Prediction, second: Prediction) -> str:
        """Model, prompt and films."""
        shown = [self._picture_pixels, *example.images] if self._films else []
        prompt = self._prompt(example, first, second)
        return _digest("model", [self._model, self._max_tokens, PROMPT, prompt, shown])

    async def judge(self, example: Example, first: Prediction, second: Prediction) -> Opinion:
        """Ask, at temperature 0, for JSON of the rubric's schema."""
        content: list[dict[str, Any]] = []
        if self._films is not None:
            for image in example.images:
                try:
                    picture, _ = picture_of(
                        (self._films / image).read_bytes(), self._picture_pixels
                    )
                except (OSError, Unshowable):
                    return Opinion(None)
                url = f"data:image/png;base64,{picture}"
                content.append({"type": "image_url", "image_url": {"url": url}})
        content.append({"type": "text", "text": self._prompt(example, first, second)})
        schema = {"name": "verdict", "schema": SCHEMA, "strict": True}
        try:
            answer = await self._server.ask(
                {
                    "model": self._model,
                    "messages": [{"role": "user", "content": content}],
                    "temperature": 0,
                    "max_tokens": self._max_tokens,
                    "response_format": {"type": "json_schema", "json_schema": schema},
                }
            )
        except RefusedError:
            return Opinion(None)
        return Opinion(read_verdict(answer.text), sum(answer.tokens))

    def _prompt(self, example: Example, first: Prediction, second: Prediction) -> str:
        pictures = self._films is not None
        return prompt_of(example, first, second, reference=self._reference, pictures=pictures)


def _worth(example: Example, said: Prediction) -> tuple[float, dict[str, float]]:
    """What a text is worth, and the parts of it by criterion."""
    columns = columns_of(example, said)
    if "questions" in columns:
        return columns["equivalent"], {"correctness": columns["equivalent"]}
    hits = sum(value for name, value in columns.items() if name.endswith(" tp"))
    vain = sum(value for name, value in columns.items() if name.endswith(" fp"))
    left = sum(value for name, value in columns.items() if name.endswith(" fn"))
    parts = {
        "correctness": hits / (hits + vain) if hits + vain else 0.0,
        "completeness": hits / (hits + left) if hits + left else 1.0,
    }
    f1 = 2 * hits / (2 * hits + vain + left) if hits + vain + left else 1.0
    if not columns.get("boxes"):
        return f1, parts
    parts["grounding"] = columns["iou"] / columns["boxes"]
    return (f1 + parts["grounding"]) / 2, parts


def _content(said: Prediction) -> list[Any]:
    return [said.answer, [(step.text, step.boxes) for step in said.steps]]


def _digest(kind: str, content: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps([kind, *content], default=str).encode()).hexdigest()
