"""Another section of the same report as the answer: what can be copied, and a smoke of scale."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from training.data.example import Example
from training.systems.prediction import Failure, Prediction
from training.systems.protocol import FailedError, NoSystemError


class SectionSystem:
    """Says what the reference report says in a section, whatever is asked.

    Parameters
    ----------
    section
        ``findings`` or ``impression``.

    Raises
    ------
    NoSystemError
        For another section.
    """

    needs_films = False

    def __init__(self, section: str) -> None:
        if section not in ("findings", "impression"):
            raise NoSystemError(f"section:{section} is none: findings, impression.")
        self._section = section

    @property
    def identity(self) -> dict[str, Any]:
        """The section; what it says is the example's."""
        return {"kind": "section", "section": self._section}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    async def predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        """The section.

        Raises
        ------
        FailedError
            When the report has none.
        """
        text = example.sections.get(self._section)
        if text is None:
            raise FailedError(Failure.MISSING)
        return Prediction("", "", text=text, answer=text, complete=True)
