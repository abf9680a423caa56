"""What schemathesis cannot make up: films. Loaded through ``SCHEMATHESIS_HOOKS``."""

from __future__ import annotations

import atexit
import base64
import io
import json
import os
import re
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import schemathesis
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file
from schemathesis.core.failures import AcceptedNegativeData, ServerError
from schemathesis.openapi.checks import RejectedPositiveData

_STEP = 24


def films() -> dict[str, bytes]:
    """Return the real chest film, scaled down, by media type."""
    path = get_testdata_file("RG1_UNCR.dcm")
    film = pydicom.dcmread(path)
    pixels = np.ascontiguousarray(film.pixel_array[::_STEP, ::_STEP])
    film.Rows, film.Columns = pixels.shape
    film.PixelData = pixels.tobytes()
    dicom = io.BytesIO()
    film.save_as(dicom)
    grey = Image.fromarray((pixels >> 4).astype(np.uint8))
    png, jpeg = io.BytesIO(), io.BytesIO()
    grey.save(png, "PNG")
    grey.save(jpeg, "JPEG")
    return {
        "application/dicom": dicom.getvalue(),
        "image/png": png.getvalue(),
        "image/jpeg": jpeg.getvalue(),
    }


FILMS = films()

schemathesis.openapi.format("binary", st.sampled_from(list(FILMS.values())))
schemathesis.openapi.format(
    "byte", st.sampled_from([base64.b64encode(data).decode() for data in FILMS.values()])
)
for media_type, data in FILMS.items():
    schemathesis.openapi.media_type(media_type, st.just(data))
schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(list(FILMS.values())))

RAW = (*FILMS, "application/octet-stream")


_KEY = "Idempotency-Key"
_USED = set[str]()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Send what OpenAPI cannot say: fields in one place, no Idempotency-Key a second time.

    The query is for raw bodies only. Of keys, the document's example would go with nearly every
    request, all but the first of which would be refused before anything else of them is looked at.
    """
    if case.media_type is not None and case.media_type not in RAW:
        case.query = {}
    if case.headers is None or (key := case.headers.get(_KEY)) is None:
        return
    if key in _USED and _is_valid_key(case, key):
        key = case.headers[_KEY] = f'"{uuid.uuid4()}"'
    _USED.add(key)


def _is_valid_key(case, key):
    (field,) = (p for p in case.operation.definition.raw["parameters"] if p.get("name") == _KEY)
    return re.fullmatch(field["schema"]["pattern"], key) is not None


ANSWERS = Counter[tuple[str, str, str]]()
"""Replies by operation, by whether the request keeps to the document, and by status with code."""


@schemathesis.hook
def after_call(context, case, response):
    """Count the reply."""
    mode = str(case.meta.generation.mode) if case.meta is not None else "example"
    problem = response.headers.get("content-type", [""])[0].startswith("application/problem+json")
    outcome = f"{response.status_code}{' ' + response.json()['code'] if problem else ''}"
    ANSWERS[case.operation.label, mode, outcome] += 1


@atexit.register
def _tell_answers():
    if file := os.environ.get("CONFORMANCE_ANSWERS"):
        Path(file).write_text(json.dumps([[*told, n] for told, n in ANSWERS.items()]))


BEYOND_SCHEMA = ("frame-out-of-range", "mode-not-trained", "prompt-too-long")
"""Refusals of valid fields: they hang on the film and on the checkpoint."""


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Keep every failure but a documented refusal that no schema could foresee."""
    if isinstance(failure, ServerError) and response.status_code == 504:
        limits = {"x-request-timeout", "prefer"} & {name.lower() for name in case.headers or ()}
        return not (limits and response.json().get("code") == "deadline-exceeded")
    if isinstance(failure, AcceptedNegativeData) and response.status_code == 431:
        return False  # refused before any field was looked at
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 422:
        return True
    problem = response.json()
    if case.media_type in RAW and {error["kind"] for error in problem.get("errors", ())} == {
        "missing"
    }:
        return False  # a question in the query is required with a raw body only: not OpenAPI's
    return problem.get("code") not in BEYOND_SCHEMA
