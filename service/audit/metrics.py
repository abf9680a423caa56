"""Prometheus metrics of the audit trail."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

EVENTS = Counter(
    "deepmedix_audit_events_total", "Audit events, by what became of them.", ["outcome"]
)
RECORDED = EVENTS.labels(outcome="recorded")
FAILED = EVENTS.labels(outcome="failed")
UNDELIVERED = EVENTS.labels(outcome="undelivered")
"""In the file alone, or nowhere: the collector refused them, or they could not wait for it."""
COLLECTOR_DOWN = Gauge(
    "deepmedix_audit_collector_down", "1 while the audit collector is known to take nothing."
)
