"""What an operator sees of the service: its log and its traces, without a patient in them.

``deepmedix_*`` metrics live in ``service.api.metrics``. This room knows none of the others.
"""

from service.telemetry.logs import (
    ENGINE_LOGGING,
    FORMAT_VARIABLE,
    LogFormat,
    configure_logging,
)
from service.telemetry.reticence import places_of
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
    "LogFormat",
    "Span",
    "TraceContext",
    "TracingNotInstalledError",
    "configure_logging",
    "continue_trace",
    "places_of",
    "request_span",
    "stage",
    "start_tracing",
    "stop_tracing",
    "trace_headers",
]
