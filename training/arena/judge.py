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

from training.arena.rubric import (
    PLAIN_SCHEMA,
    PROMPT,
    SCHEMA,
    Choice,
    Verdict,
    prompt_of,
    read_verdict,
)
from training.chat.client import Answer, ChatServer
from training.chat.errors import RefusedError
from training.data.example import Example
from training.evaluation.columns import columns_of
from training.systems.picture import Unshowable, picture_of
from training.systems.prediction import Prediction

_PICTURE = 4096
"""Tokens that a picture is taken for at most; what models make of one is theirs to say."""
_FRAME = 512 + len(json.dumps(SCHEMA))
"""Tokens of the chat template, and of the schema where it is told to the model."""
_FORMS = (SCHEMA, PLAIN_SCHEMA, None)
"""Schemas that a server is asked to hold its model to; None: the prompt alone asks for JSON."""
_FORM_REFUSED = ("HTTP 400", "HTTP 422")
_GROUNDING = "grounding"


@dataclass(frozen=True)
class Opinion:
    """What asking a judge once came to.

    Attributes
    ----------
    verdict
        None where the answer could not be read, or there is none.
    tokens
        Of prompt and answer.
    estimated
        Whether the server did not count them all.
    failure
        Why there is no answer; empty where there is one. Another try may have one.
    """

    verdict: Verdict | None
    tokens: int = 0
    estimated: bool = False
    failure: str = ""


class Judge(AbstractAsyncContextManager["Judge"], Protocol):
    """Compares two predictions about one example, in the order given."""

    @property
    def name(self) -> str:
        """As tables name it."""
        ...

    def key(self, example: Example, first: Prediction, second: Prediction) -> str:
        """SHA-256 of all that its verdict depends on."""
        ...

    def most(self, example: Example, first: Prediction, second: Prediction) -> int:
        """Upper estimate of the tokens that its verdict takes."""
        ...

    async def judge(self, example: Example, first: Prediction, second: Prediction) -> Opinion:
        """The verdict."""
        ...

    async def __aenter__(self) -> Self: ...


class RuleJudge:
    """Compares by the ground truth: findings, then boxes; for questions the answer.

    The better text is that with the higher mean of CheXpert F1 and matched IoU, or the right
    answer; a difference below ``margin`` is a tie, and two texts below ``floor`` are both bad.
    Where nothing is to be boxed, who boxes nothing has grounding 1 if the other boxes something;
    if neither does, F1 alone counts.
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

    def most(self, example: Example, first: Prediction, second: Prediction) -> int:
        """None."""
        return 0

    async def judge(self, example: Example, first: Prediction, second: Prediction) -> Opinion:
        """The verdict, and what decided it."""
        (one, parts), (other, others) = (_worth(example, each) for each in (first, second))
        if _GROUNDING in parts.keys() | others.keys():
            one = (one + parts.setdefault(_GROUNDING, 1.0)) / 2
            other = (other + others.setdefault(_GROUNDING, 1.0)) / 2
        if max(one, other) < self._floor:
            return Opinion(Verdict(Choice.BOTH_BAD, "Neither is right.", "correctness"))
        if abs(one - other) < self._margin:
            return Opinion(Verdict(Choice.TIE, "They are worth about the same."))
        ahead = 1 if one > other else -1
        by = max(parts, key=lambda name: ahead * (parts[name] - others[name]))
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
        self._form = 0
        self._form_is_known = False

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
        """Name, server, model, prompt and films."""
        endpoint = self._server.endpoint
        who = [self.name, endpoint.host, endpoint.url.path, self._model]
        shown = [self._picture_pixels, *example.images] if self._films else []
        prompt = self._prompt(example, first, second)
        return _digest("model", [*who, self._max_tokens, PROMPT, prompt, shown])

    def most(self, example: Example, first: Prediction, second: Prediction) -> int:
        """The longest answer, and a token for each byte of the prompt: no tokenizer makes more.

        Of pictures, :data:`_PICTURE` each.
        """
        return self._asked(example, first, second) + self._max_tokens

    def _asked(self, example: Example, first: Prediction, second: Prediction) -> int:
        pictures = len(example.images) if self._films is not None else 0
        prompt = self._prompt(example, first, second)
        return len(prompt.encode()) + pictures * _PICTURE + _FRAME

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
                    return Opinion(None, failure="a film that cannot be shown")
                url = f"data:image/png;base64,{picture}"
                content.append({"type": "image_url", "image_url": {"url": url}})
        content.append({"type": "text", "text": self._prompt(example, first, second)})
        try:
            answer = await self._ask(content)
        except RefusedError as error:
            why = str(error).partition(":")[0]
            # Who refuses writes nothing; what else came to nothing may have been written.
            lost = 0 if why.startswith("HTTP") else self.most(example, first, second)
            return Opinion(None, lost, bool(lost), why)
        prompt, written = answer.tokens
        if not prompt or not written:
            prompt = prompt or self._asked(example, first, second)
            written = written or min(len(answer.joined().text.encode()), self._max_tokens)
        tokens = prompt + written
        return Opinion(read_verdict(answer.text), tokens, estimated=tokens != sum(answer.tokens))

    async def _ask(self, content: Sequence[dict[str, Any]]) -> Answer:
        """The answer, in the strictest form that the server takes."""
        for number in range(self._form, len(_FORMS)):
            request: dict[str, Any] = {
                "model": self._model,
                "messages": [{"role": "user", "content": content}],
                "temperature": 0,
                "max_tokens": self._max_tokens,
            }
            if (schema := _FORMS[number]) is not None:
                told = {"name": "verdict", "schema": schema, "strict": True}
                request["response_format"] = {"type": "json_schema", "json_schema": told}
            try:
                answer = await self._server.ask(request)
            except RefusedError as error:
                last = number + 1 == len(_FORMS) or (self._form_is_known and number >= self._form)
                if last or not str(error).startswith(_FORM_REFUSED):
                    raise
            else:
                self._form, self._form_is_known = number, True
                return answer
        raise AssertionError("there is a form at least")

    def _prompt(self, example: Example, first: Prediction, second: Prediction) -> str:
        pictures = self._films is not None
        return prompt_of(example, first, second, reference=self._reference, pictures=pictures)


def _worth(example: Example, said: Prediction) -> tuple[float, dict[str, float]]:
    """What a text is worth, boxes aside, and its parts by criterion.

    Grounding is among them where something is to be boxed, or is.
    """
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
    if columns.get("boxes"):
        parts[_GROUNDING] = columns["iou"] / columns["boxes"]
    return f1, parts


def _content(said: Prediction) -> list[Any]:
    return [said.answer, [(step.text, step.boxes) for step in said.steps]]


def _digest(kind: str, content: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps([kind, *content], default=str).encode()).hexdigest()
