"""One request about a study, from HTTP to HTTP: what `/report` and `/vqa` share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from time import perf_counter

from starlette.requests import Request
from starlette.responses import Response

from service.api import metrics
from service.api.audit import note_films
from service.api.disconnect import until_disconnect
from service.api.events import Event, EventStream
from service.api.fields import ReportFields, StudyFields, VqaFields
from service.api.negotiation import EVENTS, JSON, MARKDOWN, PNG, accept_of, choose_format
from service.api.service import Service
from service.api.submission import Submission, read_submission
from service.interpretation import (
    FilmsRead,
    Interpretation,
    StudyEvent,
    StudyRead,
    StudyRequest,
    stream,
)
from service.reading import Task
from service.results import overlay_png, to_event, to_markdown, to_reply

_TRACE_HEADERS = ("traceparent", "tracestate")
_MAX_TRACE_HEADER = 512


async def answer_study(
    request: Request, service: Service, model: type[ReportFields] | type[VqaFields]
) -> Response:
    """Read a study as the request asks and return it in the format that it accepts.

    Whatever ends the request early, its caller's going away included, ends the generation.

    Raises
    ------
    Problem
        Every one that ``service.api.documentation`` lists.
    ClientDisconnectedError
        When the caller went away.
    """
    media_type = choose_format(accept_of(request.headers))
    service.check_state()
    async with AsyncExitStack() as held:
        await held.enter_async_context(service.admission.admit())
        submission = await read_submission(
            request,
            model,
            max_images=service.max_images,
            timeout=service.settings.body_timeout,
        )
        study = _study(submission, _trace_headers(request.headers))
        events = _walk(request, service, study)
        held.push_async_callback(events.aclose)
        if media_type == EVENTS:
            # The films are opened before the status goes out, so that one which cannot be read
            # is answered with a status of its own.
            first = await until_disconnect(request.receive, anext(events))
            encoded = _encode(first, events, submission.fields)
            return EventStream(encoded, held.pop_all(), request.state.request_id)
        work = _represent(events, submission.fields, media_type)
        return await until_disconnect(request.receive, work)


def _study(
    submission: Submission[ReportFields | VqaFields],
    trace_headers: Mapping[str, str] | None,
) -> StudyRequest:
    fields = submission.fields
    question: str | None = None
    if isinstance(fields, VqaFields):
        tasks: tuple[Task, ...] = (Task.VQA,)
        question = fields.question
    else:
        tasks = tuple(section.task for section in fields.sections)
    return StudyRequest(
        films=submission.films,
        tasks=tasks,
        question=question,
        mode=fields.mode,
        decoding=fields.decoding,
        context=fields.context,
        temperature=fields.temperature,
        max_tokens=fields.max_tokens,
        seed=fields.seed,
        frame=fields.frame,
        allow_other_anatomy=fields.allow_other_anatomy,
        trace_headers=trace_headers,
    )


async def _walk(
    request: Request, service: Service, study: StudyRequest
) -> AsyncGenerator[StudyEvent, None]:
    """The walk itself, once it is this request's turn."""
    waiting = perf_counter()
    async with service.admission.turn():
        metrics.STAGE_SECONDS.labels(stage="queue").observe(perf_counter() - waiting)
        walk = stream(study, decoder=service.decoder, engine=service.engine)
        async with aclosing(walk) as events:
            async for event in events:
                if isinstance(event, FilmsRead):
                    note_films(request, event.radiographs)
                elif isinstance(event, StudyRead):
                    _observe(event.interpretation)
                yield event


async def _represent(
    events: AsyncGenerator[StudyEvent, None], fields: StudyFields, media_type: str
) -> Response:
    interpretation: Interpretation | None = None
    async for event in events:
        if isinstance(event, StudyRead):
            interpretation = event.interpretation
    if interpretation is None:
        raise RuntimeError("the walk ended without its last event")
    headers = {"Vary": "Accept"}
    if media_type == PNG:
        png = await asyncio.to_thread(overlay_png, interpretation)
        return Response(png, media_type=PNG, headers=headers)
    reply = to_reply(interpretation, raw_text=fields.raw_text, timings=fields.timings)
    if media_type == MARKDOWN:
        return Response(to_markdown(reply), media_type=MARKDOWN, headers=headers)
    return Response(reply.model_dump_json(), media_type=JSON, headers=headers)


async def _encode(
    first: StudyEvent, events: AsyncGenerator[StudyEvent, None], fields: StudyFields
) -> AsyncGenerator[Event, None]:
    yield _event(first, fields)
    async for event in events:
        yield _event(event, fields)


def _event(happened: StudyEvent, fields: StudyFields) -> Event:
    name, data = to_event(happened, raw_text=fields.raw_text, timings=fields.timings)
    return Event(name, data.model_dump(mode="json"))


def _observe(interpretation: Interpretation) -> None:
    stage = metrics.STAGE_SECONDS
    stage.labels(stage="decode").observe(interpretation.timing.decode)
    for section in interpretation.sections:
        stage.labels(stage="first_token").observe(section.timing.first_token)
        stage.labels(stage="generate").observe(section.timing.generate)
        stage.labels(stage="parse").observe(section.timing.parse)
    stage.labels(stage="total").observe(interpretation.timing.total)
    for notice in interpretation.notices:
        metrics.NOTICES.labels(code=notice.code).inc()
    usage = interpretation.usage
    metrics.TOKENS.labels(kind="prompt").inc(usage.prompt_tokens)
    metrics.TOKENS.labels(kind="completion").inc(usage.completion_tokens)


def _trace_headers(headers: Mapping[str, str]) -> dict[str, str] | None:
    """W3C trace context, if the caller sent one."""
    found = {
        name: headers[name]
        for name in _TRACE_HEADERS
        if name in headers and len(headers[name]) <= _MAX_TRACE_HEADER
    }
    return found or None
