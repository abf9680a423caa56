"""What an operator sees of the service: its log and its traces, without a patient in them.

``deepmedix_*`` metrics live in ``service.api.metrics``. This room knows none of the others.
"""

from service.telemetry.logs import (
    ENGINE_LOGGING,
    FORMAT_VARIABLE,
    LogFormat,
    configure_logging,
    format_for,
)
from service.telemetry.reticence import START_FAILURE_VARIABLE, places_of
from service.telemetry.trace_context import TraceContext, continue_trace
from service.telemetry.tracing import (
    Span,
    TracingNotInstalledError,
    request_span,
    stage,
    start_tracing,
    stop_tracing,
    trace_headers,
)

__all__ = [
    "ENGINE_LOGGING",
    "FORMAT_VARIABLE",
    "START_FAILURE_VARIABLE",
    "LogFormat",
    "Span",
    "TraceContext",
    "TracingNotInstalledError",
    "configure_logging",
    "continue_trace",
    "format_for",
    "places_of",
    "request_span",
    "stage",
    "start_tracing",
    "stop_tracing",
    "trace_headers",
]
