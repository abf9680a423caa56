"""Prometheus metrics of the engine's supervision."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from service.engine.failure import Failure

RESTARTS = Counter(
    "deepmedix_engine_restarts_total", "Times that the engine was started again.", ["reason"]
)
for _reason in Failure:  # at 0 from the start, else the first one is no rise
    RESTARTS.labels(reason=_reason)
UP = Gauge("deepmedix_engine_up", "1 when the engine runs, 0 while it starts or is down.")
SILENCE = Gauge(
    "deepmedix_engine_silence_seconds", "Time since the engine last answered its heartbeat."
)
