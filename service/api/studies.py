"""One request about a study, from HTTP to HTTP: what `/report` and `/vqa` share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing

from starlette.requests import Request
from starlette.responses import Response

from service.api import metrics
from service.api.admission import Place
from service.api.arrival import arrival
from service.api.audit import note_films
from service.api.disconnect import until_disconnect
from service.api.events import Event, EventStream
from service.api.fields import ReportFields, StudyFields, VqaFields
from service.api.held_films import HeldFilms
from service.api.negotiation import EVENTS, MARKDOWN, PNG, accept_of, choose_format
from service.api.service import Service
from service.api.submission import Submission
from service.interpretation import (
    FilmsRead,
    Interpretation,
    StudyEvent,
    StudyRead,
    StudyRequest,
    check_request,
    estimated_tokens,
    stream,
)
from service.reading import Task
from service.results import overlay_png, to_event, to_markdown, to_reply
from service.telemetry import stage, trace_headers


async def answer_study(
    request: Request, service: Service, model: type[ReportFields] | type[VqaFields]
) -> Response:
    """Read a study as the request asks and return it in the format that it accepts.

    Whatever ends the request early, its deadline and its caller's going away included, ends the
    generation.

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
        place, submission = await held.enter_async_context(
            arrival(request, service, model, max_images=service.max_images)
        )
        study = _study(submission, trace_headers())
        check_request(study, service.engine.manifest)  # before it takes a place in the queue
        place.reserve(estimated_tokens(study, service.engine.manifest))
        events = _walk(request, service, place, study)
        held.push_async_callback(events.aclose)
        if media_type == EVENTS:
            # The films are opened before the status goes out, so that one which cannot be read
            # is answered with a status of its own.
            first = await until_disconnect(request.receive, place.ending.within(anext(events)))
            encoded = _encode(first, events, submission.fields)
            return EventStream(encoded, held.pop_all(), place.ending, request.state.request_id)
        work = _represent(events, submission.fields, media_type)
        return await until_disconnect(request.receive, place.ending.within(work))


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
    request: Request, service: Service, place: Place, study: StudyRequest
) -> AsyncGenerator[StudyEvent, None]:
    """The walk itself, once it is this request's turn."""
    async with AsyncExitStack() as held:
        with stage("queue"), metrics.STAGE_SECONDS.labels(stage="queue").time():
            await held.enter_async_context(place.turn())
        films = HeldFilms(service.decoder, place)
        walk = stream(study, decoder=films, engine=service.engine, observe=_observe_stage)
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
    with stage("render"), metrics.STAGE_SECONDS.labels(stage="render").time():
        content = await _content(interpretation, fields, media_type)
    return Response(content, media_type=media_type, headers={"Vary": "Accept"})


async def _content(
    interpretation: Interpretation, fields: StudyFields, media_type: str
) -> str | bytes:
    if media_type == PNG:
        return await asyncio.to_thread(overlay_png, interpretation)
    reply = to_reply(interpretation, raw_text=fields.raw_text, timings=fields.timings)
    return to_markdown(reply) if media_type == MARKDOWN else reply.model_dump_json()


async def _encode(
    first: StudyEvent, events: AsyncGenerator[StudyEvent, None], fields: StudyFields
) -> AsyncGenerator[Event, None]:
    yield _event(first, fields)
    async for event in events:
        yield _event(event, fields)


def _event(happened: StudyEvent, fields: StudyFields) -> Event:
    name, data = to_event(happened, raw_text=fields.raw_text, timings=fields.timings)
    return Event(name, data.model_dump(mode="json"))


def _observe_stage(name: str, seconds: float) -> None:
    metrics.STAGE_SECONDS.labels(stage=name).observe(seconds)


def _observe(interpretation: Interpretation) -> None:
    _observe_stage("total", interpretation.timing.total)
    for notice in interpretation.notices:
        metrics.NOTICES.labels(code=notice.code).inc()
    usage = interpretation.usage
    metrics.TOKENS.labels(kind="prompt").inc(usage.prompt_tokens)
    metrics.TOKENS.labels(kind="completion").inc(usage.completion_tokens)
