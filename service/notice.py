"""A flagged fact about a film or a reading, returned to the caller in ``warnings``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the caller must know that did not prevent an answer.

    Attributes
    ----------
    code
        Stable kebab-case identifier, listed in ``docs/errors.md``.
    detail
        One sentence written by us. Never holds text that the caller or the film supplied.
    """

    code: str
    detail: str
