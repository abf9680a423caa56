"""Problems that HTTP itself gives rise to, and every problem's document (RFC 9457).

Documents hold our own words only: never the caller's input, never an exception's text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from service.problem import Problem

MEDIA_TYPE = "application/problem+json"


_BOUNDS = ("ge", "gt", "le", "lt", "min_length", "max_length")


class FieldProblem(BaseModel):
    """One field of the request that cannot be used."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(
        description="Name of the field as documented, or `unknown` for a field that has no "
        "meaning here.",
        examples=["temperature"],
    )
    kind: str = Field(
        description="Kind of error, as pydantic names them.", examples=["less_than_equal"]
    )
    bound: float | None = Field(
        default=None,
        description="The bound that was not kept, where the kind has one.",
        examples=[2.0],
    )

    @classmethod
    def of(cls, field: str, error: Mapping[str, Any]) -> FieldProblem:
        """From one of pydantic's errors; of what was sent nothing is taken over."""
        context = error.get("ctx") or {}
        bound = next((context[name] for name in _BOUNDS if name in context), None)
        return cls(
            field=field,
            kind=error["type"],
            bound=float(bound) if isinstance(bound, int | float) else None,
        )


class ProblemDocument(BaseModel):
    """The body of every error, RFC 9457 with a stable `code`."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(
        description="URN of the kind of problem.",
        examples=["urn:deepmedix:problem:not-a-chest-radiograph"],
    )
    title: str = Field(
        description="What is wrong, in one sentence. Never holds text of the request.",
        examples=["The film's own header says that it is not a chest radiograph."],
    )
    status: int = Field(description="The HTTP status, once more.", examples=[422])
    detail: str = Field(
        description="What the caller can do about it.",
        examples=["Send a chest radiograph, or set allow_other_anatomy=true."],
    )
    code: str = Field(
        description="Stable identifier of the problem, listed in docs/errors.md.",
        examples=["not-a-chest-radiograph"],
    )
    request_id: str | None = Field(
        None,
        description="The reply's X-Request-Id, to be quoted when asking for help.",
        examples=["0d9f1c1e5a0b4a0fb2f4c9f0a1b2c3d4"],
    )
    retry_after: int | None = Field(
        None,
        description="Seconds after which the request may be sent again, as Retry-After has them.",
        examples=[4],
    )
    errors: list[FieldProblem] | None = Field(
        None,
        description="The fields at fault, for `invalid-field` only.",
        examples=[[{"field": "temperature", "kind": "less_than_equal", "bound": 2.0}]],
    )


class InvalidFields(Problem):
    """One or several fields of the request cannot be used (422)."""

    def __init__(self, errors: list[FieldProblem], known: list[str]) -> None:
        super().__init__(
            "invalid-field",
            422,
            "A field of the request cannot be used.",
            f"See `errors` for which and why. The fields known here: {', '.join(known)}.",
        )
        self.errors = errors
        self.known = known

    def __reduce__(self) -> tuple[object, ...]:
        return (InvalidFields, (self.errors, self.known))


class Challenge(Problem):
    """A refusal that says which credential is wanted.

    Parameters
    ----------
    challenge
        Value of ``WWW-Authenticate`` (RFC 6750, section 3).
    """

    def __init__(self, code: str, status: int, title: str, advice: str, *, challenge: str) -> None:
        super().__init__(code, status, title, advice)
        self.challenge = challenge


class ClientDisconnectedError(Exception):
    """The caller went away; nobody is left to answer. Counted as 499."""


def whole_seconds(seconds: float) -> int:
    """Return a ``Retry-After`` of at least so many seconds, and at least one."""
    return max(1, math.ceil(seconds))


def malformed_request(advice: str) -> Problem:
    """Return the 400 for a body that is not what its Content-Type says."""
    return Problem("malformed-request", 400, "The request's body cannot be parsed.", advice)


def malformed_http() -> Problem:
    """Return the 400 for bytes that are not an HTTP request."""
    return Problem(
        "malformed-http",
        400,
        "The request is not well-formed HTTP.",
        "Percent-encode the path and the query (RFC 3986) and send HTTP/1.1 (RFC 9112).",
    )


def unknown_method() -> Problem:
    """Return the 501 for a method that HTTP's registry does not have (RFC 9110, section 9.1)."""
    return Problem(
        "unknown-method",
        501,
        "The request's method is not one that is known here.",
        "GET /docs lists what each path takes: GET, HEAD or POST, in capital letters.",
    )


def unknown_transfer_coding() -> Problem:
    """Return the 501 for a transfer coding other than ``chunked`` (RFC 9112, section 6.1)."""
    return Problem(
        "unknown-transfer-coding",
        501,
        "The request's body comes in a transfer coding that is not known here.",
        "Send it with Content-Length, or with `Transfer-Encoding: chunked` alone.",
    )


def encoded_body() -> Problem:
    """Return the 415 for a body that is compressed for the way (RFC 9110, section 15.5.16)."""
    return Problem(
        "encoded-body",
        415,
        "The request's body is encoded, and is taken as it is only.",
        "Send it without Content-Encoding; films may be compressed in their own format.",
    )


def headers_too_large(limit: int) -> Problem:
    """Return the 431 for a request line and headers over the cap."""
    return Problem(
        "headers-too-large",
        431,
        "The request's line and headers, or its trailers, are larger than this service takes.",
        f"Send at most {limit} bytes of them; put fields into the body.",
    )


def header_timeout() -> Problem:
    """Return the 408 for a request whose line and headers arrive too slowly."""
    return Problem(
        "header-timeout",
        408,
        "The request's line and headers did not arrive in time.",
        "Open the connection when the request is ready, and send its headers at once.",
    )


def fields_in_two_places() -> Problem:
    """Return the 400 for fields in the query beside a form or a JSON body."""
    return Problem(
        "fields-in-two-places",
        400,
        "Fields came both in the query and in the body.",
        "Put every field into the form or the JSON object; use the query only with a raw body.",
    )


def missing_image() -> Problem:
    """Return the 400 for a request without a film."""
    return Problem(
        "missing-image",
        400,
        "The request holds no image.",
        "Send `image` at least once, or one film as the whole body.",
    )


def too_many_images(limit: int) -> Problem:
    """Return the 422 for more films than the service takes at once."""
    return Problem(
        "too-many-images",
        422,
        "The request holds too many images.",
        f"Send at most {limit} in one request.",
    )


def not_acceptable(offered: tuple[str, ...]) -> Problem:
    """Return the 406 for an Accept header that none of our formats meets."""
    return Problem(
        "not-acceptable",
        406,
        "None of the formats that the Accept header names is available here.",
        f"Ask for one of: {', '.join(offered)}.",
    )


def unsupported_body(taken: tuple[str, ...]) -> Problem:
    """Return the 415 for a body of a type that is not taken."""
    return Problem(
        "unsupported-body",
        415,
        "The request's Content-Type is not one that is taken here.",
        f"Send one of: {', '.join(taken)}.",
    )


def body_too_large(limit: int) -> Problem:
    """Return the 413 for a body over the cap."""
    return Problem(
        "body-too-large",
        413,
        "The request's body is larger than this service takes.",
        f"Send at most {limit} bytes.",
    )


def body_timeout() -> Problem:
    """Return the 408 for a body that arrives too slowly."""
    return Problem(
        "body-timeout",
        408,
        "The request's body did not arrive in time.",
        "Send it again over a faster connection, or compressed (JPEG 2000 lossless, for one).",
    )


def too_many_requests(retry_after: int) -> Problem:
    """Return the 429 for a request beyond the caller's share."""
    return Problem(
        "too-many-requests",
        429,
        "This caller has as many requests waiting as its share allows.",
        "Send the request again after the number of seconds in Retry-After.",
        retry_after=retry_after,
    )


def overloaded(retry_after: int) -> Problem:
    """Return the 503 for a request beyond what the service takes of all callers."""
    return Problem(
        "overloaded",
        503,
        "The service has as many requests waiting as it takes.",
        "Send the request again after the number of seconds in Retry-After.",
        retry_after=retry_after,
    )


def too_many_keys(retry_after: int) -> Problem:
    """Return the 503 for an Idempotency-Key beyond those that may be in flight at once."""
    return Problem(
        "overloaded",
        503,
        "The service has as many requests with an Idempotency-Key at work as it takes.",
        "Send the request again after the number of seconds in Retry-After, or without the key.",
        retry_after=retry_after,
    )


def too_many_connections(retry_after: int) -> Problem:
    """Return the 503 for a connection beyond those that are kept open at once."""
    return Problem(
        "overloaded",
        503,
        "The service has as many connections open as it takes.",
        "Connect again after the number of seconds in Retry-After; use one connection for several "
        "requests.",
        retry_after=retry_after,
    )


def too_many_tokens(limit: int) -> Problem:
    """Return the 422 for a request that alone exceeds a caller's share of tokens."""
    return Problem(
        "too-many-tokens",
        422,
        "The request alone is estimated at more tokens than one caller may have waiting.",
        f"Lower max_tokens, or ask for fewer films or sections; the limit is {limit} tokens.",
    )


def deadline_exceeded() -> Problem:
    """Return the 504 for a request that was not answered before its deadline."""
    return Problem(
        "deadline-exceeded",
        504,
        "The request was not answered before its deadline, and was given up.",
        "Allow more time (Prefer: wait=SECONDS, up to the service's own limit), lower max_tokens, "
        "or send it again when the service is less busy.",
    )


def invalid_header(name: str, expected: str) -> Problem:
    """Return the 400 for a header of ours whose value is not what it must be."""
    return Problem(
        "invalid-header",
        400,
        f"The request's {name} header cannot be used.",
        f"Send {expected}, or leave the header out.",
    )


def idempotency_key_reused() -> Problem:
    """Return the 422 for a key that came with another request before."""
    return Problem(
        "idempotency-key-reused",
        422,
        "This Idempotency-Key came with another request before.",
        "Use a new key for every new request; repeat path, query, Accept and body for an old one.",
    )


def idempotency_in_flight() -> Problem:
    """Return the 409 for a key whose first request is still being worked on."""
    return Problem(
        "idempotency-in-flight",
        409,
        "The first request with this Idempotency-Key is still being worked on.",
        "Wait for its reply, or send the request again later.",
    )


def not_ready(retry_after: int) -> Problem:
    """Return the 503 while the engine starts or is being warmed up."""
    return Problem(
        "not-ready",
        503,
        "The service is still starting.",
        "Wait until GET /readyz answers 200.",
        retry_after=retry_after,
    )


def start_failed(retry_after: int) -> Problem:
    """Return the 503 after a start that failed."""
    return Problem(
        "start-failed",
        503,
        "The service could not start its engine.",
        "The operator finds the reason in the log; `deepmedix doctor` says how to mend it.",
        retry_after=retry_after,
    )


def shutting_down(retry_after: int) -> Problem:
    """Return the 503 while running requests are being finished before the stop."""
    return Problem(
        "shutting-down",
        503,
        "The service is shutting down.",
        "Send the request again; another instance, or the restarted one, will answer.",
        retry_after=retry_after,
    )


def internal_error() -> Problem:
    """Return the 500 for what nobody foresaw."""
    return Problem(
        "internal-error",
        500,
        "The service failed on this request.",
        "Report it with the request_id; the log holds the place, never the content.",
    )


def unauthenticated(*, presented: bool) -> Problem:
    """Return the 401 for a request without a credential, or with one that identifies nobody.

    It never says what is wrong with a credential.
    """
    error = ', error="invalid_token"' if presented else ""
    return Challenge(
        "unauthenticated",
        401,
        "The request does not show who sends it.",
        "Send a valid API key or token as `Authorization: Bearer ...`, or an API key as "
        "`X-API-Key`. The operator makes keys with `deepmedix keys add`.",
        challenge=f'Bearer realm="deepmedix"{error}',
    )


def ambiguous_credentials() -> Problem:
    """Return the 400 for several credentials in one request (RFC 6750, section 2)."""
    return Challenge(
        "ambiguous-credentials",
        400,
        "The request holds more than one credential.",
        "Send either `Authorization: Bearer ...` or `X-API-Key`, once.",
        challenge='Bearer realm="deepmedix", error="invalid_request"',
    )


def forbidden(scope: str) -> Problem:
    """Return the 403 for a caller that is known and may not do this."""
    return Challenge(
        "forbidden",
        403,
        "The caller may not do this.",
        f"It takes a key or token with the scope `{scope}`.",
        challenge=f'Bearer realm="deepmedix", error="insufficient_scope", scope="{scope}"',
    )


def identity_unavailable(retry_after: int) -> Problem:
    """Return the 503 while the identity provider's keys cannot be had."""
    return Problem(
        "identity-unavailable",
        503,
        "The token cannot be checked: the identity provider's keys cannot be fetched.",
        "Send the request again after the number of seconds in Retry-After, or use an API key.",
        retry_after=retry_after,
    )


def audit_unavailable(retry_after: int) -> Problem:
    """Return the 503 for a request that cannot be recorded."""
    return Problem(
        "audit-unavailable",
        503,
        "The request cannot be recorded in the audit trail, and is not answered without that.",
        "Send it again after the number of seconds in Retry-After. The operator finds the reason "
        "in the log.",
        retry_after=retry_after,
    )


def key_file_unusable() -> Problem:
    """Return the 500 for a key file that cannot be read again."""
    return Problem(
        "key-file-unusable",
        500,
        "The key file cannot be used; the keys in force stay as they were.",
        "The operator finds the reason in the log; `deepmedix keys list` checks the file.",
    )


def unknown_host() -> Problem:
    """Return the 421 for a request that is addressed to another host (RFC 9110, 15.5.20)."""
    return Problem(
        "unknown-host",
        421,
        "The request's Host header names a host that this service does not answer to.",
        "Address it to localhost or 127.0.0.1. The operator lets further names in with "
        "DEEPMEDIX_ALLOWED_HOSTS, and any name once API keys or tokens are on.",
    )


def cross_site() -> Problem:
    """Return the 403 for what a web page elsewhere sends through somebody's browser."""
    return Problem(
        "cross-site",
        403,
        "A web page of another site sent the request, and the service asks nobody who they are.",
        "Ask from a program, or from a page of a host that the operator names in "
        "DEEPMEDIX_ALLOWED_HOSTS. With API keys or tokens on, any page that holds one may ask.",
    )


def not_found() -> Problem:
    """Return the 404."""
    return Problem(
        "not-found", 404, "There is nothing at this path.", "GET /docs lists what there is."
    )


def method_not_allowed() -> Problem:
    """Return the 405."""
    return Problem(
        "method-not-allowed",
        405,
        "This path does not take that method.",
        "GET /docs lists what each path takes.",
    )


def document(problem: Problem, request_id: str | None = None) -> dict[str, Any]:
    """Return the RFC 9457 document of a problem."""
    errors = problem.errors if isinstance(problem, InvalidFields) else None
    body = ProblemDocument(
        type=f"urn:deepmedix:problem:{problem.code}",
        title=problem.title,
        status=problem.status,
        detail=problem.advice,
        code=problem.code,
        request_id=request_id,
        retry_after=problem.retry_after,
        errors=errors,
    )
    return body.model_dump(exclude_none=True)


def problem_response(problem: Problem, request_id: str | None = None) -> JSONResponse:
    """Return a problem as an HTTP reply."""
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.code == "encoded-body":
        headers["Accept-Encoding"] = "identity"
    if isinstance(problem, Challenge):
        headers["WWW-Authenticate"] = problem.challenge
    return JSONResponse(
        document(problem, request_id),
        status_code=problem.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )
