"""The labelled series that can be foreseen, at 0 from the start.

A series that is first seen at 1 has not risen in the eyes of ``rate`` and ``increase``: the alert
on the first failure would not fire.
"""

from __future__ import annotations

from service.api import metrics
from service.api.documentation import PROBLEM_CODES
from service.api.handshake import FAILURES, REASONS
from service.api.middleware import UNMATCHED
from service.radiograph import FILM_NOTICES
from service.reading.notices import DETAILS

_READING = ("/report", "/vqa", "/render")
_OTHER_CODES = {
    "/version": ("200", "400", "401", "403", "503"),
    "/livez": ("200",),
    "/readyz": ("200", "503"),
    "/metrics": ("200", "400", "401", "403", "503"),
    "/admin/keys/reload": ("200", "400", "401", "403", "500", "503"),
    UNMATCHED: ("400", "401", "403", "404", "408", "431", "501", "503"),
}
_EVERYWHERE = ("405", "413", "421")
"""What the routing, and the layers before it, may answer whatever the route."""
_OTHER_PROBLEMS = ("not-found", "method-not-allowed", "key-file-unusable")
_STAGES = ("queue", "decode", "first_token", "generate", "parse", "render", "total")


def begin() -> None:
    """Make the series."""
    for route in _READING:
        for code in ("200", "405", *map(str, PROBLEM_CODES), "499"):
            metrics.REQUESTS.labels(route=route, code=code)
        for outcome in metrics.OUTCOMES:
            metrics.REQUEST_SECONDS.labels(route=route, outcome=outcome)
    for route, codes in _OTHER_CODES.items():
        for code in (*codes, *_EVERYWHERE):
            metrics.REQUESTS.labels(route=route, code=code)
    for stage in _STAGES:
        metrics.STAGE_SECONDS.labels(stage=stage)
    for codes in (*PROBLEM_CODES.values(), _OTHER_PROBLEMS):
        for code in codes:
            metrics.PROBLEMS.labels(code=code)
    for code in (*DETAILS, *FILM_NOTICES, "retried-constrained", "max-tokens-capped"):
        metrics.NOTICES.labels(code=code)
    for kind in ("prompt", "completion"):
        metrics.TOKENS.labels(kind=kind)
    for reason in ("invalid", "scope", "ambiguous", "missing"):
        metrics.REFUSED_CREDENTIALS.labels(reason=reason)
    for reason in REASONS:
        FAILURES.labels(reason=reason)
