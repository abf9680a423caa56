"""What a system under test is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, Self

from training.data.example import Example
from training.systems.prediction import Failure, Prediction


class NoSystemError(Exception):
    """A system that cannot be asked at all; says why, and what would do."""


class FailedError(Exception):
    """One example that the system has no text for."""

    def __init__(self, failure: Failure, words: str = "") -> None:
        super().__init__(words)
        self.failure = failure


class System(AbstractAsyncContextManager["System"], Protocol):
    """Given an example, a prediction. Entered before it is asked, and left when all is asked."""

    needs_films: bool
    """Whether it is shown the films; where not, examples without them can be asked about."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that its predictions depend on, examples apart; known once it is entered."""
        ...

    async def predict(self, example: Example, films: Sequence[bytes]) -> Prediction:
        """Ask about one example.

        Parameters
        ----------
        films
            The files of the example's images, in its order.

        Raises
        ------
        FailedError
            When there is no text.
        """
        ...

    async def __aenter__(self) -> Self: ...
