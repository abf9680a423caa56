import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry import TraceContext, continue_trace
from service.telemetry.trace_context import new_span_id, new_trace_id

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"


def state_of(*given: str) -> str:
    context = continue_trace({"traceparent": VALID, "tracestate": ",".join(given)}, with_state=True)
    assert context is not None
    return context.state


def test_a_valid_trace_is_continued():
    assert continue_trace({"traceparent": VALID}) == TraceContext(TRACE, SPAN, sampled=True)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Mrs Smith",
        VALID.upper(),
        VALID + "-more",
        VALID + "0",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01more",
    ],
)
def test_what_the_recommendation_does_not_allow_is_not(header):
    assert continue_trace({"traceparent": header}) is None


@pytest.mark.parametrize("number", ["0" * 25 + "4711815", "12345678901234567890123456789012"])
def test_a_number_is_no_trace(number):
    """It could be a patient's, and the log holds the trace."""
    assert continue_trace({"traceparent": f"00-{number}-{SPAN}-01"}) is None


def test_of_a_span_that_is_a_number_only_the_trace_is_kept():
    context = continue_trace({"traceparent": f"00-{TRACE}-1953042100471181-01"})
    assert context is not None
    assert context.trace_id == TRACE
    assert context.span_id != "1953042100471181"


def test_a_later_version_may_have_more_fields():
    assert continue_trace({"traceparent": f"cc-{TRACE}-{SPAN}-01-more"}) is not None
    assert continue_trace({"traceparent": f"cc-{TRACE}-{SPAN}-01"}) is not None


def test_a_caller_that_does_not_sample_is_heeded():
    context = continue_trace({"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert context is not None
    assert context.traceparent.endswith("-00")


def test_tracestate_is_taken_over_only_when_asked_for():
    headers = {"traceparent": VALID, "tracestate": "vendor=value"}
    plain, whole = continue_trace(headers), continue_trace(headers, with_state=True)
    assert plain is not None
    assert whole is not None
    assert plain.headers == {"traceparent": VALID}
    assert whole.headers == headers


@pytest.mark.parametrize("given", ["a=1,b=2", "a@b=1", "tenant-1@sys=x y", "a=1 , b=2,,"])
def test_valid_members_stay(given):
    assert state_of(given) == ",".join(item.strip(" ") for item in given.split(",") if item)


@pytest.mark.parametrize(
    "given",
    ["A=1", "a", "a=", "a=1,a=2", "a=b=c", "a=\x01", ",".join(f"k{n}=1" for n in range(33))],
)
def test_a_list_with_an_invalid_member_is_left_out(given):
    assert state_of(given) == ""


@given(st.text())
def test_no_header_raises(text):
    continue_trace({"traceparent": text, "tracestate": text}, with_state=True)
    state_of(text)


def test_what_is_handed_on_can_be_continued():
    context = TraceContext(new_trace_id(), new_span_id(), True, "a=1")
    assert continue_trace(context.headers, with_state=True) == context
