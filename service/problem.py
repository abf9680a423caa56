"""The error that every room raises when a request cannot be answered (RFC 9457)."""

from __future__ import annotations


class Problem(Exception):  # noqa: N818 - the name of RFC 9457
    """A refusal with a stable code and advice, mapped to problem+json by ``service.api``.

    Parameters
    ----------
    code
        Stable kebab-case identifier, listed in ``docs/errors.md``.
    status
        HTTP status code.
    title
        What is wrong, in one sentence written by us; never the caller's text.
    advice
        What the caller can do about it.
    retry_after
        Seconds after which a repeat may succeed, for 429 and 503.
    """

    def __init__(
        self, code: str, status: int, title: str, advice: str, *, retry_after: int | None = None
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.title = title
        self.advice = advice
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        # Problems cross the decode worker's process boundary.
        return (_restore, (self.code, self.status, self.title, self.advice, self.retry_after))


def _restore(code: str, status: int, title: str, advice: str, retry_after: int | None) -> Problem:
    return Problem(code, status, title, advice, retry_after=retry_after)
