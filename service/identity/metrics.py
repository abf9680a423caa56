"""Prometheus metrics of who may call."""

from __future__ import annotations

from prometheus_client import Gauge

KEYS_STALE = Gauge(
    "deepmedix_keys_stale",
    "1 when the key file could not be read again: a key that was revoked meanwhile still works.",
)
PROVIDER_KEYS_STALE = Gauge(
    "deepmedix_provider_keys_stale",
    "1 when the identity provider's keys could not be fetched when last tried: one that it has "
    "withdrawn may still work.",
)
