"""Prometheus metrics of the engine's supervision."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

RESTARTS = Counter(
    "deepmedix_engine_restarts_total", "Times that the engine was started again.", ["reason"]
)
UP = Gauge("deepmedix_engine_up", "1 when the engine runs, 0 while it starts or is down.")
SILENCE = Gauge(
    "deepmedix_engine_silence_seconds", "Time since the engine last answered its heartbeat."
)
