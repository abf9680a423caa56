"""What the OpenAPI document says beyond what FastAPI finds by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.negotiation import EVENTS, MARKDOWN, PNG
from service.api.problems import MEDIA_TYPE, ProblemDocument
from service.api.submission import IMAGE, JSON, MULTIPART, RAW
from service.results import EVENT_NAMES
from service.results.events import AnswerEvent, ImagesEvent, RetryEvent, SectionEvent, StepEvent

_BESIDE_ROUTES = (ProblemDocument, ImagesEvent, StepEvent, AnswerEvent, RetryEvent, SectionEvent)
"""Models that no route's reply holds in FastAPI's sight."""

PROBLEM_CODES: dict[int, tuple[str, ...]] = {
    400: (
        "empty-body",
        "fields-in-two-places",
        "malformed-http",
        "malformed-request",
        "missing-image",
    ),
    406: ("not-acceptable",),
    408: ("body-timeout",),
    413: ("body-too-large", "decode-out-of-memory", "file-too-large", "image-too-large"),
    415: ("unsupported-body", "unsupported-media-type", "unsupported-transfer-syntax"),
    422: (
        "aspect-ratio-too-extreme",
        "concatenation",
        "decode-failed",
        "decode-timeout",
        "dicom-too-complex",
        "frame-out-of-range",
        "invalid-field",
        "malformed-dicom",
        "no-pixel-data",
        "not-a-chest-radiograph",
        "prompt-too-long",
        "request-refused-by-engine",
        "too-many-images",
        "unsupported-pixel-format",
    ),
    429: ("too-many-requests",),
    500: ("internal-error",),
    503: (
        "decode-worker-died",
        "engine-unavailable",
        "not-ready",
        "shutting-down",
        "start-failed",
    ),
}
"""Codes that requests with films can meet; docs/errors.md explains each."""

_MEANING = {
    400: "The request itself is malformed.",
    406: "None of the formats asked for is available.",
    408: "The body did not arrive in time.",
    413: "Too many bytes or pixels.",
    415: "The body, or the film in it, is of a type that is not taken.",
    422: "A field or a film cannot be used.",
    429: "Too many requests are waiting; see Retry-After.",
    500: "The service failed.",
    503: "The service cannot answer now; see Retry-After.",
}

_EVENTS = (
    "Server-sent events, each with one line of JSON. "
    + " ".join(f"`{name}`: {meaning}." for name, meaning in EVENT_NAMES.items())
    + " The sections' events interleave. A problem on the way is the last event, `error`, with a "
    "Problem. The schemas are ImagesEvent, StepEvent, AnswerEvent, RetryEvent and SectionEvent."
)

_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which the request may be sent again.",
        "schema": {"type": "integer"},
    }
}


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
        if status in (429, 503):
            reply["headers"] = _RETRY_AFTER
        replies[status] = reply
    return replies


def reading_replies(description: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that gives a reading, in its other formats too.

    Parameters
    ----------
    description
        Of the 200.
    """
    return {
        200: {
            "description": description,
            "content": {
                PNG: {"schema": {"format": "binary"}},
                MARKDOWN: {"schema": {"type": "string"}},
                EVENTS: {"schema": {"type": "string", "description": _EVENTS}},
            },
        },
        **problem_replies(),
    }


def submission_of(model: type[BaseModel], *, max_images: int) -> dict[str, Any]:
    """Return the OpenAPI request body and query parameters of a route with films.

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
        ],
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
        app.openapi_schema = schema
    return app.openapi_schema
