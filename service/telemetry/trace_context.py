"""W3C Trace Context (Recommendation of 23 November 2021): which trace a request belongs to."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

# Section 3.2.2: version 00 has four fields; a later version may have more behind them.
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?"
)
# Section 3.3.1.3.
_KEY = r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(rf"(?P<key>{_KEY})={_VALUE}")
_MOST_MEMBERS = 32
_MOST_CHARACTERS = 512
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace.

    Attributes
    ----------
    trace_id
        32 hexadecimal digits.
    span_id
        16 hexadecimal digits: the span that is at work.
    sampled
        Whether the spans of the trace are to be kept.
    state
        Vendors' own ``tracestate``, or empty.
    """

    trace_id: str
    span_id: str
    sampled: bool = True
    state: str = ""

    @property
    def traceparent(self) -> str:
        """Header that hands the trace on, or back as ``traceresponse``."""
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED if self.sampled else 0:02x}"

    @property
    def headers(self) -> dict[str, str]:
        """Headers that hand the trace on."""
        given = {"traceparent": self.traceparent}
        return given | {"tracestate": self.state} if self.state else given


def continue_trace(headers: Mapping[str, str], *, with_state: bool = False) -> TraceContext | None:
    """Return the caller's place in its trace, or ``None`` where it names none that is valid.

    An identifier of decimal digits alone could be a patient's or a study's number, and would reach
    the log or the spans. Such a trace counts as none (of random ones, three in ten million look
    like that), and in place of such a span (one in 1,800) stands another that nobody knows.

    Parameters
    ----------
    headers
        Of the request, by their names in lower case; repeated ``tracestate`` joined by commas.
    with_state
        Whether to take over ``tracestate``, which is free text of the caller.
    """
    match = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"]):
        return None
    if match["trace"].isdecimal() or not int(match["span"], 16):
        return None
    state = _valid_state(headers.get("tracestate", "")) if with_state else ""
    sampled = bool(int(match["flags"], 16) & _SAMPLED)
    span = new_span_id() if match["span"].isdecimal() else match["span"]
    return TraceContext(match["trace"], span, sampled, state)


def new_span_id() -> str:
    """Return 16 random hexadecimal digits, not all 0."""
    return f"{secrets.randbelow(2**64 - 1) + 1:016x}"


def new_trace_id() -> str:
    """Return 32 random hexadecimal digits, not all 0."""
    return f"{secrets.randbelow(2**128 - 1) + 1:032x}"


def _valid_state(given: str) -> str:
    """Return the list as given, normalised, or nothing where any of it is not valid."""
    members = [member for item in given.split(",") if (member := item.strip(" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = [match["key"] for match in matches if match is not None]
    state = ",".join(members)
    if len(keys) < len(members) or len(set(keys)) < len(keys) or len(keys) > _MOST_MEMBERS:
        return ""
    return state if len(state) <= _MOST_CHARACTERS else ""
