"""Tokens that may be spent: set aside before a question is put, settled once it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping


class Budget:
    """A cap on what all judges together spend.

    Parameters
    ----------
    limit
        Most tokens; None: no bound.
    spent
        Tokens of earlier runs.
    dearest
        Of each judge the tokens of its dearest verdict so far: none is taken to cost less.

    Attributes
    ----------
    spent
        Tokens so far.
    short
        Tokens that a question might have taken which was not put; 0 while all were.
    """

    def __init__(
        self, limit: int | None, spent: int = 0, dearest: Mapping[str, int] | None = None
    ) -> None:
        self.spent = spent
        self.short = 0
        self._limit = limit
        self._dearest = dict(dearest or {})
        self._aside = 0
        self._settled = asyncio.Event()

    async def set_aside(self, judge: str, most: int) -> int | None:
        """Tokens kept free for a question; None where the budget does not hold so many.

        Waits for what others have set aside to be settled, which mostly frees some.

        Parameters
        ----------
        most
            Upper estimate of prompt and answer.
        """
        while True:
            needed = max(most, self._dearest.get(judge, 0))
            free = self._limit is None or self.spent + self._aside + needed <= self._limit
            if free or not needed:  # who asks for nothing is heard when all is spent, too
                self._aside += needed
                return needed
            if not self._aside:
                self.short = self.short or needed
                return None
            await self._settled.wait()

    def settle(self, judge: str, aside: int, tokens: int) -> None:
        """Give back what was set aside, and count what was spent."""
        self._aside -= aside
        self.spent += tokens
        self._dearest[judge] = max(tokens, self._dearest.get(judge, 0))
        self._settled.set()
        self._settled = asyncio.Event()
