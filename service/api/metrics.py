"""The service's own Prometheus metrics, on the same registry as vLLM's.

No label ever holds a UID, a path with parameters or any other text of the caller.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

OUTCOMES = ("answered", "late", "left", "failed", "refused")
"""What may come of a request: see :func:`outcome_of`."""
_REFUSALS = (
    *("not-ready", "shutting-down", "overloaded"),
    *("unknown-method", "unknown-transfer-coding"),
)
"""Problems with a status from 500 on by which nothing has failed."""

_SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    *(15, 30, 60, 120, 180, 300, 600),
)
"""OpenTelemetry's buckets for HTTP servers, and on to what a report takes at most."""

REQUESTS = Counter(
    "deepmedix_requests_total",
    "Requests by outcome: 499 the caller left; a stream that broke off, its problem's status.",
    ["route", "code"],
)
REQUEST_SECONDS = Histogram(
    "deepmedix_request_seconds",
    "Time from a request's first byte to the reply's last, by what came of it.",
    ["route", "outcome"],
    buckets=_SECONDS,
)
STAGE_SECONDS = Histogram(
    "deepmedix_stage_seconds",
    "Time of one stage of a request.",
    ["stage"],
    buckets=(0.001, *_SECONDS),
)
PROBLEMS = Counter("deepmedix_problems_total", "Problems returned, by their code.", ["code"])
NOTICES = Counter(
    "deepmedix_notices_total", "Notices in replies (parse anomalies, film warnings).", ["code"]
)
TOKENS = Counter("deepmedix_tokens_total", "Tokens of prompts and replies.", ["kind"])
REFUSED_CREDENTIALS = Counter(
    "deepmedix_refused_credentials_total",
    "Requests without a valid credential, or without the scope that they need.",
    ["reason"],
)
ADMITTED = Gauge("deepmedix_requests_in_progress", "Requests at work or waiting.")
ADMITTED_TOKENS = Gauge(
    "deepmedix_admitted_tokens", "Estimated tokens of the requests at work or waiting."
)
ADMITTED_BYTES = Gauge(
    "deepmedix_admitted_body_bytes", "Bytes of the bodies of the requests at work or waiting."
)
WAITING = Gauge("deepmedix_requests_waiting", "Requests admitted that have not had their turn.")
SERVICE_RATE = Gauge(
    "deepmedix_service_tokens_per_second",
    "Measured rate at which estimated tokens are worked off; 0: not measured yet.",
)
TASKS = Gauge("deepmedix_asyncio_tasks", "Asyncio tasks of the service, this reply's included.")
READY = Gauge("deepmedix_ready", "1 when the service is ready to answer.")


def outcome_of(status: int, problem: str | None) -> str:
    """Return what came of a request: one of ``OUTCOMES``.

    Parameters
    ----------
    status
        Of the reply, or of the problem that broke it off; 499: the caller left.
    problem
        Code of the problem, if there was one.
    """
    if status == 499:
        return "left"
    if status == 504:
        return "late"
    if status >= 500 and problem not in _REFUSALS:
        return "failed"
    return "refused" if status >= 400 else "answered"
