import asyncio
import sys

import pytest

from service.telemetry import (
    TracingNotInstalledError,
    request_span,
    stage,
    start_tracing,
    stop_tracing,
    trace_headers,
    tracing,
)
from tests.service.telemetry.otlp_receiver import receiving

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "Mrs Smith"


@pytest.fixture
def receiver():
    with receiving() as running:
        start_tracing(running.url, "1")
        yield running
        stop_tracing()


def test_without_an_endpoint_a_request_still_has_its_place_in_a_trace():
    assert trace_headers() == {}
    with request_span({}) as first, stage("decode") as decode:
        assert decode.context == first.context
        assert trace_headers() == {"traceparent": first.context.traceparent}
    with request_span({"traceparent": PARENT}) as second:
        assert second.context.trace_id == PARENT.split("-")[1]
        assert second.context.span_id != PARENT.split("-")[2]
    assert first.context.trace_id != second.context.trace_id


def test_stages_are_children_of_the_request_and_that_of_the_callers_span(receiver):
    with request_span({"traceparent": PARENT}) as request:
        with stage("decode", {"films": 2}) as decode:
            pass
        request.tell({"http.route": "/report"}, name="POST /report")
    stop_tracing()
    spans = {span.name: span for span in receiver.spans}
    assert {span.trace_id for span in spans.values()} == {PARENT.split("-")[1]}
    assert spans["POST /report"].parent_id == PARENT.split("-")[2]
    assert spans["decode"].parent_id == spans["POST /report"].span_id == request.context.span_id
    assert spans["decode"].span_id == decode.context.span_id
    assert spans["decode"].attributes == {"films": "2"}
    assert spans["decode"].service == "deepmedix"


def test_requests_without_a_trace_begin_one_each(receiver):
    for _ in range(2):
        with request_span({}):
            pass
    stop_tracing()
    assert len({span.trace_id for span in receiver.spans}) == 2
    assert {span.parent_id for span in receiver.spans} == {""}


async def test_a_stage_in_a_task_of_the_request_is_its_child(receiver):
    async def work():
        with stage("generate"):
            await asyncio.sleep(0)

    with request_span({}) as request:
        await asyncio.gather(work(), work())
    stop_tracing()
    parents = [span.parent_id for span in receiver.spans if span.name == "generate"]
    assert parents == [request.context.span_id] * 2


def test_a_failure_is_told_by_its_class_alone(receiver):
    with request_span({}), pytest.raises(RuntimeError), stage("parse"):
        raise RuntimeError(SECRET)
    stop_tracing()
    (parse,) = [span for span in receiver.spans if span.name == "parse"]
    assert parse.failed
    assert parse.attributes == {"error.type": "RuntimeError"}
    assert SECRET.encode() not in b"".join(receiver.bodies)


@pytest.mark.parametrize("kind", [None, "engine-unavailable"])
def test_a_failed_request_is_an_error_too(receiver, kind):
    with request_span({}) as request:
        request.fail(kind)
    stop_tracing()
    (span,) = receiver.spans
    assert span.failed
    assert span.attributes == ({"error.type": kind} if kind else {})


def test_an_unsampled_trace_is_handed_on_and_not_exported(receiver):
    with request_span({"traceparent": PARENT[:-1] + "0"}), stage("decode"):
        assert trace_headers()["traceparent"].endswith("-00")
    stop_tracing()
    assert receiver.spans == []


def test_tracestate_is_exported_only_when_asked_for(receiver):
    given = {"traceparent": PARENT, "tracestate": "vendor=MrsSmith"}
    with request_span(given):
        assert "tracestate" not in trace_headers()
    with request_span(given, with_state=True):
        assert trace_headers()["tracestate"] == "vendor=MrsSmith"
    stop_tracing()
    assert b"".join(receiver.bodies).count(b"MrsSmith") == 1


def test_an_endpoint_without_the_exporter_is_an_error_that_says_how_to_mend_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TracingNotInstalledError, match=r"pip install 'deepmedix\[otel\]'"):
        start_tracing("http://127.0.0.1:1/v1/traces", "1")


def test_a_receiver_that_is_not_there_holds_up_nothing_and_is_told_of_once(caplog, monkeypatch):
    monkeypatch.setattr(tracing, "_EXPORT_SECONDS", 0.2)
    with caplog.at_level("INFO"):
        start_tracing("http://127.0.0.1:1/v1/traces", "1")
        for _ in range(2):
            with request_span({}):
                pass
            tracing._provider.force_flush()
        stop_tracing()
    assert [record.getMessage() for record in caplog.records] == [
        "spans do not reach their receiver (DEEPMEDIX_OTLP_ENDPOINT) and are lost"
    ]


def test_a_receiver_that_comes_back_is_told_of(caplog, receiver, monkeypatch):
    monkeypatch.setattr(tracing, "_EXPORT_SECONDS", 0.2)
    start_tracing(receiver.url, "1")
    with caplog.at_level("INFO"):
        for status in (400, 200, 200):
            receiver.status = status
            with request_span({}):
                pass
            tracing._provider.force_flush()
    assert [record.getMessage() for record in caplog.records] == [
        "spans do not reach their receiver (DEEPMEDIX_OTLP_ENDPOINT) and are lost",
        "spans reach their receiver again",
    ]
