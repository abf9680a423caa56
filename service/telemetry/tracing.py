"""Spans of a request and its stages, exported with OpenTelemetry where an endpoint is set.

Without one, a request still has its place in a trace for the log, for the caller and for the
engine; only no span is kept. Attributes hold names of ours, numbers and classes of exceptions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from service.problem import Problem
from service.telemetry.trace_context import (
    TraceContext,
    continue_trace,
    new_span_id,
    new_trace_id,
)

LOG = logging.getLogger("deepmedix")

_EXPORT_SECONDS = 5
"""Longest that one export may take, and the last one holds up the stop."""

_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
"""Its logger tells of each attempt: three lines every eight seconds while a receiver is down."""

Attribute = str | int | float | bool


class TracingNotInstalledError(Exception):
    """An endpoint for traces is set, and what exports them is not installed."""


class Span:
    """A stretch of work.

    Attributes
    ----------
    context
        Its place in the trace; ``None`` outside a request.
    """

    def __init__(self, context: TraceContext | None, recorded: Any = None) -> None:
        self.context = context
        self._recorded = recorded

    @property
    def headers(self) -> dict[str, str]:
        """Headers that make what they are handed to part of this span."""
        return self.context.headers if self.context is not None else {}

    def tell(self, attributes: Mapping[str, Attribute], *, name: str | None = None) -> None:
        """Add attributes, or give another name."""
        if self._recorded is None:
            return
        if name is not None:
            self._recorded.update_name(name)
        self._recorded.set_attributes(attributes)

    def fail(self, kind: str | None = None) -> None:
        """Mark as failed; ``kind`` goes into ``error.type``."""
        if self._recorded is None:
            return
        from opentelemetry.trace import StatusCode

        if kind is not None:
            self._recorded.set_attribute("error.type", kind)
        self._recorded.set_status(StatusCode.ERROR)


_provider: Any = None
_tracer: Any = None
_current: ContextVar[Span | None] = ContextVar("deepmedix_span", default=None)


def start_tracing(endpoint: str, version: str) -> None:
    """Export spans to an OTLP/HTTP receiver from now on.

    Parameters
    ----------
    endpoint
        Whole URL, such as ``http://collector:4318/v1/traces``.
    version
        Of this program.

    Raises
    ------
    TracingNotInstalledError
        When the extra ``otel`` is not installed.
    """
    global _provider, _tracer
    stop_tracing()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingNotInstalledError(
            "DEEPMEDIX_OTLP_ENDPOINT is set, and OpenTelemetry is not installed. Run "
            "`pip install 'deepmedix[otel]'`, or unset it."
        ) from error
    # Not the global provider: that one is vLLM's to set.
    _provider = TracerProvider(
        resource=Resource.create({"service.name": "deepmedix", "service.version": version}),
        shutdown_on_exit=False,
    )
    logging.getLogger(_EXPORTER).setLevel(logging.CRITICAL)
    exporter: Any = _TellingExporter(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_SECONDS))
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = _provider.get_tracer("deepmedix")


class _TellingExporter:
    """OpenTelemetry's exporter, and a line of the log where spans begin to be lost and no more."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self._losing = False

    def export(self, spans: Sequence[Any]) -> Any:
        result = self._exporter.export(spans)
        losing = result.name != "SUCCESS"
        if losing and not self._losing:
            LOG.warning("spans do not reach their receiver (DEEPMEDIX_OTLP_ENDPOINT) and are lost")
        elif self._losing and not losing:
            LOG.info("spans reach their receiver again")
        self._losing = losing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        flushed: bool = self._exporter.force_flush(timeout_millis)
        return flushed


def stop_tracing() -> None:
    """Export what is left and stop; blocks for a few seconds at most."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        provider.force_flush(_EXPORT_SECONDS * 1000)
        provider.shutdown()


@contextmanager
def request_span(headers: Mapping[str, str], *, with_state: bool = False) -> Iterator[Span]:
    """Hold the span of one request, a child of the caller's where its headers name one.

    Stages that begin meanwhile, in this task or in those that it starts, are its children.
    """
    caller = continue_trace(headers, with_state=with_state)
    if _tracer is None:
        span = Span(
            TraceContext(
                caller.trace_id if caller else new_trace_id(),
                new_span_id(),
                caller.sampled if caller else True,
                caller.state if caller else "",
            )
        )
    else:
        from opentelemetry.trace import SpanKind

        span = _record("request", _otel_context(caller), kind=SpanKind.SERVER)
    token = _current.set(span)
    try:
        yield span
    finally:
        _current.reset(token)
        if span._recorded is not None:
            span._recorded.end()


@contextmanager
def stage(name: str, attributes: Mapping[str, Attribute] | None = None) -> Iterator[Span]:
    """Hold the span of one stage of the request at work; may be left in another task.

    An exception goes into ``error.type``: a problem's code, or a class; never its text.
    """
    request = _current.get()
    if request is None or request._recorded is None or _tracer is None:
        yield Span(request.context if request else None)
        return
    from opentelemetry.trace import set_span_in_context

    span = _record(name, set_span_in_context(request._recorded), attributes=attributes)
    try:
        yield span
    except BaseException as error:
        kind = error.code if isinstance(error, Problem) else type(error).__qualname__
        span.fail(kind)
        raise
    finally:
        span._recorded.end()


def trace_headers() -> dict[str, str]:
    """Headers that hand the trace of the request at work on; none outside a request."""
    request = _current.get()
    return request.headers if request is not None else {}


def _record(name: str, context: Any, **options: Any) -> Span:
    recorded = _tracer.start_span(
        name,
        context=context,
        record_exception=False,
        set_status_on_exception=False,
        **options,
    )
    place = recorded.get_span_context()
    return Span(
        TraceContext(
            f"{place.trace_id:032x}",
            f"{place.span_id:016x}",
            place.trace_flags.sampled,
            place.trace_state.to_header(),
        ),
        recorded,
    )


def _otel_context(caller: TraceContext | None) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    # An empty context, not the running one: a request without a caller's trace begins its own.
    return TraceContextTextMapPropagator().extract(caller.headers if caller else {}, Context())
