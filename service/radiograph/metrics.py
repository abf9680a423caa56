"""Prometheus metrics of the processes that open films."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import Counter


class Loss(StrEnum):
    """Why a process that opens films was replaced, other than after its number of films."""

    DIED = "died"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    BROKEN_REPLY = "broken-reply"


LOSSES = Counter(
    "deepmedix_decode_worker_losses_total",
    "Processes that opened films and were lost, by the reason.",
    ["reason"],
)
for _reason in Loss:  # at 0 from the start, else the first one is no rise
    LOSSES.labels(reason=_reason)
