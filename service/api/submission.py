"""What a request submits: films and fields, from a form, a raw body or JSON, in memory only."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.api.json_body import IMAGE, parse_json
from service.api.problems import (
    FieldProblem,
    InvalidFields,
    body_timeout,
    encoded_body,
    fields_in_two_places,
    malformed_request,
    missing_image,
    too_many_images,
    unknown_transfer_coding,
    unsupported_body,
)

MULTIPART = "multipart/form-data"
JSON = "application/json"
RAW = ("application/dicom", "image/png", "image/jpeg", "application/octet-stream")

_MAX_PARTS = 64
_MAX_TEXT_BYTES = 64 * 1024
_FORM_ADVICE = (
    "Send multipart/form-data with a boundary (RFC 7578), whole, texts in UTF-8, of at most 64 KiB."
)
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii", b"iso-8859-1")
"""Python knows many more; some take quadratic time over hostile text."""

_EXTENDED_NAME = re.compile(rb";\s*filename\*\s*=", re.I)
Fields = TypeVar("Fields", bound=BaseModel)


@dataclass(frozen=True)
class Submission(Generic[Fields]):
    """The films' bytes, and the fields after validation."""

    films: tuple[bytes, ...]
    fields: Fields


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, which else writes uploads over 1 MiB to disk: patients' films.

    It also leaves out a last part that was cut off, without a word; ``ended`` tells.
    """

    spool_max_size = sys.maxsize
    ended = False

    def on_headers_finished(self) -> None:
        """Take a part for a file whose name is given in the extended form alone, as some send it.

        RFC 7578, section 4.2, has no such form; taken for a text, a film would be no film.
        """
        disposition = self._current_part.content_disposition
        if disposition and _EXTENDED_NAME.search(disposition):
            self._current_part.content_disposition = disposition + b'; filename=""'
        super().on_headers_finished()

    def on_end(self) -> None:
        """Note the closing boundary."""
        self.ended = True


def _uncounted(count: int) -> None:
    pass


async def read_submission(
    request: Request,
    model: type[Fields],
    *,
    max_images: int,
    timeout: float,
    arrived: Callable[[int], None] = _uncounted,
) -> Submission[Fields]:
    """Read a request's body and validate its fields.

    Parameters
    ----------
    request
        The request, its body not read yet.
    model
        Model of the fields; must forbid extra ones.
    max_images
        Most films taken.
    timeout
        Seconds that the body's arrival may take.
    arrived
        Is told how many bytes of the body have come, as they come; may refuse them.

    Raises
    ------
    Problem
        400, 408, 413, 415 or 422, see ``service.api.problems``.
    """
    body = b""
    _check_coding(request)
    content_type = request.headers.get("content-type", RAW[-1]).split(";")[0].strip().lower()
    try:
        async with asyncio.timeout(timeout):
            if content_type == MULTIPART:
                films, values = await _read_form(request, model, arrived)
            elif content_type == JSON:
                _no_query(request)
                body = await _read_body(request, arrived)
            elif content_type in RAW:
                body = await _read_body(request, arrived)
            else:
                raise unsupported_body((MULTIPART, JSON, *RAW))
    except TimeoutError as error:
        raise body_timeout() from error
    if content_type == JSON:
        films, values = await parse_json(body)
    elif content_type in RAW:
        films = [body] if body else []
        values = _gather(request.query_params.multi_items(), model)
    del body  # of JSON, what was decoded is enough from here on
    # JSON has types of its own.
    fields = validate(model, values, strict=content_type == JSON)
    if not films:
        raise missing_image()
    if len(films) > max_images:
        raise too_many_images(max_images)
    return Submission(tuple(films), fields)


def validate(model: type[Fields], values: dict[str, Any], *, strict: bool = False) -> Fields:
    """Validate fields, reporting the name of the field and the kind of error only.

    Parameters
    ----------
    model
        Model of the fields.
    values
        By name; texts where they came in a form or a query.
    strict
        Take no value of another JSON type than the model's: no text or 0 for a boolean.

    Raises
    ------
    InvalidFields
        422, never holding a value, nor the name of a field that we do not know.
    """
    try:
        if strict:
            return model.model_validate_json(
                _unicode(json.dumps(values, ensure_ascii=False)), strict=True
            )
        return model.model_validate(values)
    except RecursionError as error:
        raise malformed_request("Nest JSON values less deeply.") from error
    except ValidationError as error:
        raise InvalidFields(
            _field_problems(error.errors(include_url=False, include_input=False), model),
            [IMAGE, *model.model_fields],
        ) from None


def _unicode(document: str) -> str:
    """Put U+FFFD for half a character: JSON can hold one, and clients that cut a text send it."""
    return document.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _field_problems(errors: Iterable[Any], model: type[BaseModel]) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    for item in errors:
        name = str(item["loc"][0]) if item["loc"] else ""
        known = name if name in model.model_fields else "unknown"
        problem = FieldProblem.of(known, item)
        if problem not in problems:
            problems.append(problem)
    return problems


def _check_coding(request: Request) -> None:
    headers = request.headers
    encodings = {
        item.strip().lower() for item in ",".join(headers.getlist("content-encoding")).split(",")
    }
    if encodings - {"", "identity"}:
        raise encoded_body()
    if headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        raise unknown_transfer_coding()


def _no_query(request: Request) -> None:
    if request.scope["query_string"]:
        raise fields_in_two_places()


async def _stream(request: Request, arrived: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    async for piece in request.stream():
        arrived(len(piece))
        yield piece


async def _read_body(request: Request, arrived: Callable[[int], None]) -> bytes:
    """Read the body; unlike Starlette's own way, the request keeps no copy of it."""
    return b"".join([piece async for piece in _stream(request, arrived)])


async def _read_form(
    request: Request, model: type[BaseModel], arrived: Callable[[int], None]
) -> tuple[list[bytes], dict[str, Any]]:
    _no_query(request)
    _, options = parse_options_header(request.headers["content-type"])
    if options.get(b"charset", b"utf-8").lower() not in _CHARSETS:
        raise malformed_request(_FORM_ADVICE)
    parser = _InMemoryParser(
        request.headers,
        _stream(request, arrived),
        max_files=_MAX_PARTS,
        max_fields=_MAX_PARTS,
        max_part_size=_MAX_TEXT_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError) as error:  # the latter of a charset that it names
        raise malformed_request(_FORM_ADVICE) from error
    if not parser.ended:
        await form.close()
        raise malformed_request(_FORM_ADVICE)
    films: list[bytes] = []
    texts: list[tuple[str, str]] = []
    wrong: list[FieldProblem] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == IMAGE:
            films.append(await value.read())
        elif isinstance(value, UploadFile):
            known = name if name in model.model_fields else "unknown"
            wrong.append(FieldProblem(field=known, kind="not_text"))
        elif name == IMAGE:
            wrong.append(FieldProblem(field=IMAGE, kind="not_a_file"))
        else:
            texts.append((name, value))
    await form.close()
    if wrong:
        raise InvalidFields(wrong, [IMAGE, *model.model_fields])
    return films, _gather(texts, model)


def _gather(pairs: Iterable[tuple[str, str]], model: type[BaseModel]) -> dict[str, Any]:
    """Turn name-value pairs into fields: lists may be repeated or separated by commas."""
    lists = set(getattr(model, "LISTS", ()))
    values: dict[str, Any] = {}
    for name, text in pairs:
        if not text.strip():
            continue  # an empty box of an HTML form means "not given"
        if name in lists:
            items = [item.strip() for item in text.split(",") if item.strip()]
            values.setdefault(name, []).extend(items)
        elif name in values:
            known = name if name in model.model_fields else "unknown"
            raise InvalidFields(
                [FieldProblem(field=known, kind="repeated")], [IMAGE, *model.model_fields]
            )
        else:
            values[name] = text
    return values
