"""A request's arrival: admitted, given its deadline, then read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from service.api.admission import Admission, Place
from service.api.announced import announced_length
from service.api.caller import caller_of
from service.api.deadline import time_limit
from service.api.problems import deadline_exceeded
from service.api.service import Service
from service.api.submission import Fields, Submission, read_submission


@contextmanager
def hold_place(admission: Admission, scope: Scope, seconds: float) -> Iterator[Place]:
    """Hold a caller's place and room for the body that its request announces, so many seconds.

    Raises
    ------
    Problem
        Those of admission.
    """
    with (
        admission.admit(caller_of(scope)) as place,
        place.ending.after(seconds, deadline_exceeded()),
    ):
        announced = announced_length(Headers(scope=scope))
        if announced is not None:
            place.expect_body(announced)
        yield place


@asynccontextmanager
async def arrival(
    request: Request, service: Service, model: type[Fields], *, max_images: int
) -> AsyncIterator[tuple[Place, Submission[Fields]]]:
    """Hold a place and a deadline for a request, and read its body.

    Parameters
    ----------
    request
        Its body is not read yet. Headers for its reply are left in ``request.state``.
    service
        Admits it.
    model
        Of the fields.
    max_images
        Most films taken.

    Raises
    ------
    Problem
        Those of admission, of the body and of the headers; ``deadline-exceeded`` (504).
    """
    seconds, applied = time_limit(request.headers, service.settings.request_timeout)
    if applied is not None:
        request.state.reply_headers = {"Preference-Applied": applied}
    with hold_place(service.admission, request.scope, seconds) as place:
        with place.ending.watch():
            submission = await read_submission(
                request,
                model,
                max_images=max_images,
                timeout=service.settings.body_timeout,
                arrived=place.take_body,
            )
        yield place, submission
