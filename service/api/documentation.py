"""What the OpenAPI document says beyond what FastAPI finds by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api import problems
from service.api.deadline import TIMEOUT_HEADER
from service.api.idempotency import HEADER as IDEMPOTENCY_KEY
from service.api.idempotency import KEY_PATTERN, REPLAYED
from service.api.json_body import IMAGE
from service.api.negotiation import EVENTS, MARKDOWN, PNG
from service.api.problems import MEDIA_TYPE, ProblemDocument, document
from service.api.submission import JSON, MULTIPART, RAW
from service.results import EVENT_NAMES
from service.results.events import AnswerEvent, ImagesEvent, RetryEvent, SectionEvent, StepEvent

_BESIDE_ROUTES = (ProblemDocument, ImagesEvent, StepEvent, AnswerEvent, RetryEvent, SectionEvent)
"""Models that no route's reply holds in FastAPI's sight."""

PROBLEM_CODES: dict[int, tuple[str, ...]] = {
    400: (
        "ambiguous-credentials",
        "empty-body",
        "fields-in-two-places",
        "invalid-header",
        "malformed-http",
        "malformed-request",
        "missing-image",
    ),
    401: ("unauthenticated",),
    403: ("cross-site", "forbidden"),
    406: ("not-acceptable",),
    408: ("body-timeout", "header-timeout"),
    409: ("idempotency-in-flight",),
    413: ("body-too-large", "decode-out-of-memory", "file-too-large", "image-too-large"),
    415: (
        "encoded-body",
        "unsupported-body",
        "unsupported-media-type",
        "unsupported-transfer-syntax",
    ),
    421: ("unknown-host",),
    422: (
        "aspect-ratio-too-extreme",
        "concatenation",
        "decode-failed",
        "decode-timeout",
        "dicom-too-complex",
        "frame-out-of-range",
        "idempotency-key-reused",
        "invalid-field",
        "malformed-dicom",
        "mode-not-trained",
        "no-pixel-data",
        "not-a-chest-radiograph",
        "prompt-too-long",
        "request-refused-by-engine",
        "too-many-images",
        "too-many-tokens",
        "unsupported-pixel-format",
    ),
    429: ("too-many-requests",),
    431: ("headers-too-large",),
    500: ("internal-error",),
    501: ("unknown-method", "unknown-transfer-coding"),
    503: (
        "audit-unavailable",
        "decode-worker-died",
        "engine-unavailable",
        "identity-unavailable",
        "not-ready",
        "overloaded",
        "shutting-down",
        "start-failed",
    ),
    504: ("deadline-exceeded",),
}
"""Codes that requests with films can meet; docs/errors.md explains each."""

_MEANING = {
    400: "The request itself is malformed.",
    401: "The request does not show who sends it.",
    403: "The caller may not do this.",
    406: "None of the formats asked for is available.",
    408: "The request did not arrive in time.",
    409: "The first request with this Idempotency-Key is still being worked on.",
    413: "Too many bytes or pixels.",
    415: "The body, or the film in it, is of a type that is not taken.",
    421: "The request is addressed to another host.",
    422: "A field or a film cannot be used.",
    429: "The caller's share is used up; see Retry-After.",
    431: "Too many bytes of headers.",
    500: "The service failed.",
    501: "The request uses what HTTP allows and this service does not know.",
    503: "The service cannot answer now; see Retry-After.",
    504: "The request's deadline passed.",
}

_EVENTS = (
    "Server-sent events, each with one line of JSON. "
    + " ".join(f"`{name}`: {meaning}." for name, meaning in EVENT_NAMES.items())
    + " The sections' events interleave. A problem on the way is the last event, `error`, with a "
    "Problem. The schemas are ImagesEvent, StepEvent, AnswerEvent, RetryEvent and SectionEvent."
)

RETRY_AFTER_STATUSES = (429, 503)

_CHALLENGE = {
    "WWW-Authenticate": {
        "description": "Which credential is wanted (RFC 6750, section 3).",
        "schema": {"type": "string"},
    }
}

_UNAUTHENTICATED = ("/livez", "/readyz", "/metrics")

_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of the identity provider. Wanted unless the "
        "service runs without authentication, which it does on the loopback address only.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key, as `deepmedix keys add` shows it.",
    },
}

_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which the request may be sent again: how long the service "
        "will be at what is before it, by the rate at which it has been working.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 4,
    }
}

_HEADERS: tuple[dict[str, Any], ...] = (
    {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "description": "`wait=SECONDS` (RFC 7240): give the request up, with 504, when it takes "
        "longer. Capped by the service's own limit; Preference-Applied says what counts. Other "
        "preferences are ignored.",
        "schema": {"type": "string"},
        "example": "wait=60",
    },
    {
        "name": TIMEOUT_HEADER,
        "in": "header",
        "required": False,
        "description": "The same as a number of seconds; the shorter of the two counts.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
        "example": 60,
    },
    {
        "name": IDEMPOTENCY_KEY,
        "in": "header",
        "required": False,
        "description": "Repeating a request with the same key gets the first one's reply. One to "
        "255 printable ASCII characters, in double quotes or bare; draw a new one (a UUID, for "
        "one) for every new request, and put nothing about a patient into it.",
        "schema": {"type": "string", "pattern": KEY_PATTERN},
        "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
    },
)
"""What a request with films may say in headers, beside its fields."""

_REPLY_HEADERS = {
    "Preference-Applied": {
        "description": "The `wait` that counts, where one was preferred.",
        "schema": {"type": "string"},
        "example": "wait=60",
    },
    REPLAYED: {
        "description": "`true` where the reply is that of an earlier request with this key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}

_EXAMPLES = (
    problems.invalid_header(TIMEOUT_HEADER, "one number of seconds above 0"),
    problems.idempotency_in_flight(),
    problems.idempotency_key_reused(),
    problems.too_many_tokens(262_144),
    problems.too_many_requests(4),
    problems.overloaded(4),
    problems.shutting_down(5),
    problems.deadline_exceeded(),
)


def problem_replies(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of the problems with these statuses.

    Parameters
    ----------
    statuses
        HTTP statuses; none means all that a request with films can meet.
    """
    replies: dict[int | str, dict[str, Any]] = {}
    for status in statuses or tuple(PROBLEM_CODES):
        codes = ", ".join(f"`{code}`" for code in PROBLEM_CODES[status])
        reply: dict[str, Any] = {
            "description": f"{_MEANING[status]} Codes: {codes}.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if status in RETRY_AFTER_STATUSES:
            reply["headers"] = _RETRY_AFTER
        elif status in (401, 403):
            reply["headers"] = _CHALLENGE
        if examples := _examples(status):
            reply["content"][MEDIA_TYPE]["examples"] = examples
        replies[status] = reply
    return replies


def film_replies(ok: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that takes films.

    Parameters
    ----------
    ok
        The 200.
    """
    return {200: {**ok, "headers": _REPLY_HEADERS}, **problem_replies()}


def _examples(status: int) -> dict[str, Any]:
    return {
        problem.code: {"value": document(problem, "0d9f1c1e5a0b4a0fb2f4c9f0a1b2c3d4")}
        for problem in _EXAMPLES
        if problem.status == status
    }


def reading_replies(description: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that gives a reading, in its other formats too.

    Parameters
    ----------
    description
        Of the 200.
    """
    return film_replies(
        {
            "description": description,
            "content": {
                PNG: {"schema": {"format": "binary"}},
                MARKDOWN: {"schema": {"type": "string"}},
                EVENTS: {"schema": {"type": "string", "description": _EVENTS}},
            },
        }
    )


def submission_of(model: type[BaseModel], *, max_images: int) -> dict[str, Any]:
    """Return the OpenAPI request body and parameters of a route with films.

    Parameters
    ----------
    model
        Model of the route's fields.
    max_images
        Most films that the route takes.
    """
    schema = _fields_schema(model)
    properties: dict[str, Any] = schema["properties"]
    texts = {name: _as_text(field) for name, field in properties.items()}
    required: list[str] = [IMAGE, *schema.get("required", [])]
    return {
        "requestBody": {
            "required": True,
            "content": {
                MULTIPART: {
                    "schema": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": required,
                        "properties": {
                            IMAGE: _films(max_images, {"format": "binary"}),
                            **texts,
                        },
                    },
                    "encoding": {name: {"explode": True} for name in getattr(model, "LISTS", ())},
                },
                JSON: {
                    "schema": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": required,
                        "properties": {
                            IMAGE: _films(
                                max_images, {"format": "byte", "contentEncoding": "base64"}
                            ),
                            **properties,
                        },
                    }
                },
                **{media_type: {"schema": {"format": "binary"}} for media_type in RAW},
            },
        },
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": f"With a raw body only. {field.get('description', '')}".strip(),
                "schema": {key: value for key, value in field.items() if key != "description"},
            }
            for name, field in texts.items()
        ]
        + list(_HEADERS),
    }


def _films(max_images: int, encoding: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": max_images,
        "description": "Films of one study: DICOM, PNG or JPEG, told apart by their content.",
        "items": {"type": "string", **encoding},
    }


def _as_text(field: dict[str, Any]) -> dict[str, Any]:
    """Describe a field in a form or a query, where what is empty or null is left out instead."""
    kept = {key: value for key, value in field.items() if key not in ("anyOf", "minItems")}
    for alternative in field.get("anyOf", ()):
        if alternative != {"type": "null"}:
            kept |= alternative
    return {key: value for key, value in kept.items() if key != "default" or value is not None}


def _fields_schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of the fields, references resolved in place: they are all small."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = definitions[node["$ref"].rsplit("/", 1)[-1]]
            described = {key: value for key, value in node.items() if key != "$ref"}
            kept = {k: v for k, v in target.items() if k not in ("title", "description")}
            return {**resolve(kept), **resolve(described)}
        return {key: resolve(value) for key, value in node.items() if key != "title"}

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def document_api(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, problems included; what ``app.openapi`` is set to."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
            license_info=app.license_info,
        )
        _, definitions = models_json_schema(
            [(model, "serialization") for model in _BESIDE_ROUTES],
            ref_template="#/components/schemas/{model}",
        )
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        for name, definition in definitions["$defs"].items():
            components.setdefault(definition.get("title", name), definition)
        _add_security(schema)
        app.openapi_schema = schema
    return app.openapi_schema


def _add_security(schema: dict[str, Any]) -> None:
    """Say which credentials the operations take; none is an alternative (see ``bearer``)."""
    schema["components"]["securitySchemes"] = _SECURITY_SCHEMES
    for path, operations in schema["paths"].items():
        if path not in _UNAUTHENTICATED:
            for operation in operations.values():
                operation["security"] = [{"bearer": []}, {"apiKey": []}, {}]
