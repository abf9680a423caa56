"""Whether ``Retry-After`` told the truth: was there room by then?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.endurance.exchange import Exchange, Outcome

_OF_LOAD = {"overloaded", "too-many-requests"}


@dataclass(frozen=True)
class Truthfulness:
    """What refused callers were told beside what was so.

    Attributes
    ----------
    refusals
        That are judged: those after which another request was admitted at all.
    told
        Median of ``Retry-After``, seconds.
    until_admitted
        Median time until the next request that was sent was admitted, seconds.
    room_by_then
        Part of the refusals where that was no later than told (the sending of the next request
        included, so that this is a lower bound).
    """

    refusals: int
    told: float
    until_admitted: float
    room_by_then: float


def truthfulness(exchanges: Sequence[Exchange], code: str) -> Truthfulness | None:
    """Judge refusals of one code; ``None`` where there are none.

    ``overloaded`` is about all callers, ``too-many-requests`` about the caller's own.
    """
    admitted = [
        exchange
        for exchange in sorted(exchanges, key=lambda exchange: exchange.began)
        if exchange.code not in _OF_LOAD
        and exchange.status not in (401, 404)
        and exchange.kind not in ("oversize", "replayed", "key-reused", "twin")
        and exchange.outcome is not Outcome.WRONG
    ]
    found = []
    for refusal in exchanges:
        if refusal.code != code or refusal.retry_after is None:
            continue
        own = code == "too-many-requests"
        following = next(
            (
                exchange.began - refusal.ended
                for exchange in admitted
                if exchange.began > refusal.ended and (not own or exchange.caller == refusal.caller)
            ),
            None,
        )
        if following is not None:
            found.append((refusal.retry_after, following))
    if not found:
        return None
    return Truthfulness(
        refusals=len(found),
        told=median(told for told, _ in found),
        until_admitted=median(following for _, following in found),
        room_by_then=sum(following <= told for told, following in found) / len(found),
    )
