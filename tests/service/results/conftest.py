"""Studies read by a scripted engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from service.interpretation import Interpretation, StudyRequest, interpret
from service.reading import Task
from tests.service.interpretation.films import InProcessDecoder, png
from tests.service.scripted_engine import GROUNDED, Script, ScriptedEngine

ReadStudy = Callable[..., Awaitable[Interpretation]]


@pytest.fixture
def read_study() -> ReadStudy:
    """Return a function that reads films of given sizes, the model saying a given text."""

    async def read(
        text: str = GROUNDED,
        *,
        sizes: tuple[tuple[int, int], ...] = ((448, 448),),
        finish_reason: str = "stop",
        **fields: object,
    ) -> Interpretation:
        request = StudyRequest(
            films=tuple(png(*size) for size in sizes),
            id="00000000-0000-4000-8000-000000000000",
            **fields,  # type: ignore[arg-type]  # each test passes fields of the right type
        )
        engine = ScriptedEngine(Script(text, finish_reason=finish_reason))
        return await interpret(request, decoder=InProcessDecoder(), engine=engine)

    return read


@pytest.fixture
def ask(read_study: ReadStudy) -> ReadStudy:
    """Return a function like ``read_study`` that asks a question instead of a report."""

    async def read(text: str = GROUNDED, **fields: object) -> Interpretation:
        question = "Is the heart enlarged?"
        return await read_study(text, tasks=(Task.VQA,), question=question, **fields)

    return read
