"""The walk of one study: films → prompts → engine → readings in the films' own pixels."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from time import perf_counter

from service.engine import Engine
from service.interpretation.events import FilmsRead, SectionRead, StudyEvent, StudyRead
from service.interpretation.films import FilmDecoder, load_films
from service.interpretation.interpretation import Interpretation, SectionReading, StudyTiming
from service.interpretation.merging import merged
from service.interpretation.plan import plan_section, section_prompt
from service.interpretation.request import StudyRequest, check_request, sampling_for
from service.interpretation.section import read_section
from service.interpretation.stages import StageObserver, observed, unobserved
from service.notice import Notice
from service.reading import Task
from service.telemetry import stage


async def interpret(
    request: StudyRequest, *, decoder: FilmDecoder, engine: Engine
) -> Interpretation:
    """Read a study and return all of it at once.

    Parameters
    ----------
    request
        The films, and what is asked.
    decoder
        Opens the films.
    engine
        Runs the model.

    Returns
    -------
    Interpretation
        Equal for equal pixels and request at temperature 0, but for its id and timings.

    Raises
    ------
    Problem
        ``too-many-images``, ``mode-not-trained`` and ``invalid-field`` before any film is opened;
        the decoder's for a film; the engine's.
    """
    async with aclosing(stream(request, decoder=decoder, engine=engine)) as events:
        async for event in events:
            if isinstance(event, StudyRead):
                return event.interpretation
    raise RuntimeError("The walk ended without its last event.")


async def stream(
    request: StudyRequest,
    *,
    decoder: FilmDecoder,
    engine: Engine,
    observe: StageObserver = unobserved,
) -> AsyncGenerator[StudyEvent, None]:
    """Read a study and yield what is known of it as it is known.

    Sections are generated side by side over one set of image arrays. Closing the stream, or
    cancelling the task that consumes it, aborts every generation of it. Use it within
    :func:`contextlib.aclosing`.

    Parameters and errors are those of :func:`interpret`; ``observe`` is told of each stage when it
    ends, also where it fails or is cancelled.
    """
    started = perf_counter()
    manifest = engine.manifest
    check_request(request, manifest)
    sampling, notices = sampling_for(request, manifest)
    prompts = {task: section_prompt(task, request, manifest) for task in request.tasks}
    films_count = {"deepmedix.films": len(request.films)}
    with stage("decode", films_count), observed("decode", observe):
        films = await load_films(request, decoder, manifest)
    decoded = perf_counter()

    plans = [
        plan_section(task, prompt, request, manifest, sampling, films)
        for task, prompt in prompts.items()
    ]
    finished: dict[Task, SectionReading] = {}
    async with merged([read_section(plan, engine, observe) for plan in plans]) as events:
        # The model begins while the caller is told of the films.
        yield FilmsRead(films.radiographs, films.model_images)
        async for event in events:
            if isinstance(event, SectionRead):
                finished[event.section.task] = event.section
            yield event

    sections = tuple(finished[task] for task in request.tasks)
    yield StudyRead(
        Interpretation(
            id=request.id,
            mode=request.mode,
            manifest=manifest,
            manifest_sha256=engine.manifest_sha256,
            radiographs=films.radiographs,
            model_images=films.model_images,
            sections=sections,
            notices=_unique((*films.notices, *notices, *_section_notices(sections))),
            timing=StudyTiming(decode=decoded - started, total=perf_counter() - started),
        )
    )


def _section_notices(sections: tuple[SectionReading, ...]) -> Iterable[Notice]:
    """Yield the sections' notices, which name their section where there are several."""
    for section in sections:
        for notice in section.notices:
            if len(sections) == 1:
                yield notice
            else:
                yield Notice(notice.code, f"{section.task.capitalize()}: {notice.detail}")


def _unique(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    return tuple(dict.fromkeys(notices))
