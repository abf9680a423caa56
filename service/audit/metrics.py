"""Prometheus metrics of the audit trail."""

from __future__ import annotations

from prometheus_client import Counter

EVENTS = Counter(
    "deepmedix_audit_events_total", "Audit events, by whether they were recorded.", ["outcome"]
)
RECORDED = EVENTS.labels(outcome="recorded")
FAILED = EVENTS.labels(outcome="failed")
