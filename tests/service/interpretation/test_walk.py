"""The walk of one study."""

from __future__ import annotations

import asyncio
import io
from contextlib import aclosing

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from service.api.warm_up import warm_up
from service.engine import EngineUnavailable
from service.interpretation import (
    AnswerRead,
    FilmsRead,
    Interpretation,
    SectionRead,
    StepRead,
    StudyEvent,
    StudyRead,
    StudyRequest,
    interpret,
    stream,
)
from service.interpretation.films import load_films
from service.problem import Problem
from service.reading import ClinicalContext, Decoding, Mode, Task
from tests.service.scripted_engine import GROUNDED, Script, ScriptedEngine, scripted_manifest

ANSWER = "The heart is enlarged. Small left pleural effusion."


async def events_of(request, decoder, engine) -> list[StudyEvent]:
    async with aclosing(stream(request, decoder=decoder, engine=engine)) as events:
        return [event async for event in events]


def said(interpretation: Interpretation) -> object:
    """All of an interpretation but its id and its timings."""
    return [
        (section.reading, section.notices, section.usage) for section in interpretation.sections
    ], interpretation.notices


async def test_a_film_becomes_a_report_whose_boxes_lie_in_the_films_own_pixels(
    film, decoder
) -> None:
    interpretation = await interpret(
        StudyRequest(films=(film,)), decoder=decoder, engine=ScriptedEngine()
    )
    assert [section.task for section in interpretation.sections] == [
        Task.FINDINGS,
        Task.IMPRESSION,
    ]
    findings = interpretation.sections[0].reading
    assert findings.answer == ANSWER
    assert [len(step.boxes) for step in findings.steps] == [1, 1, 0]
    box = findings.steps[0].boxes[0]
    # The model sees 224 x 224 of the film's 448 x 448 pixels.
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == (120, 200, 360, 360)
    assert interpretation.notices == ()


async def test_sections_are_generated_at_once_over_the_same_arrays(film, decoder) -> None:
    engine = ScriptedEngine()
    await interpret(StudyRequest(films=(film,)), decoder=decoder, engine=engine)
    first, second = engine.requests
    assert engine.most_running == 2
    assert first.images[0] is second.images[0]
    assert first.images[0].shape == (224, 224, 3)
    assert first.request_id != second.request_id
    assert "FINDINGS" in first.prompt
    assert "IMPRESSION" in second.prompt


async def test_a_question_is_answered(film, decoder) -> None:
    engine = ScriptedEngine(Script("<think> Clear [1, 2, 30, 40] </think>. \\boxed{No}"))
    interpretation = await interpret(
        StudyRequest(films=(film,), tasks=(Task.VQA,), question="Is there an effusion?"),
        decoder=decoder,
        engine=engine,
    )
    answer = interpretation.section(Task.VQA)
    assert answer is not None
    assert answer.reading.answer == "No"
    assert "Is there an effusion?" in engine.requests[0].prompt


async def test_clinical_context_reaches_the_prompt(film, decoder) -> None:
    engine = ScriptedEngine()
    context = ClinicalContext(indication="Cough for three days.")
    await interpret(StudyRequest(films=(film,), context=context), decoder=decoder, engine=engine)
    assert all("Cough for three days." in request.prompt for request in engine.requests)


async def test_several_films_are_seen_in_the_order_given(film, wide_film, decoder) -> None:
    engine = ScriptedEngine()
    interpretation = await interpret(
        StudyRequest(films=(wide_film, film), frame=1, allow_other_anatomy=True),
        decoder=decoder,
        engine=engine,
    )
    assert [film.width for film in interpretation.radiographs] == [896, 448]
    assert [len(request.images) for request in engine.requests] == [2, 2]
    assert decoder.asked == [(1, True), (1, True)]


async def test_a_frame_is_of_those_films_that_have_frames(film, decoder) -> None:
    frames = dcmread(get_testdata_file("emri_small.dcm"))
    buffer = io.BytesIO()
    frames.save_as(buffer)
    request = StudyRequest(films=(film, buffer.getvalue()), frame=2, allow_other_anatomy=True)
    films = await load_films(request, decoder, ScriptedEngine().manifest)
    assert [(it.frame, it.frames) for it in films.radiographs] == [(1, 1), (2, 10)]
    for films, frame in (((film, film), 2), ((film, buffer.getvalue()), 11), ((film,), 2)):
        request = StudyRequest(films=films, frame=frame, allow_other_anatomy=True)
        with pytest.raises(Problem) as refusal:
            await load_films(request, decoder, ScriptedEngine().manifest)
        assert refusal.value.code == "frame-out-of-range"


async def test_more_films_than_the_checkpoint_reads_are_refused_before_they_are_opened(
    film, decoder
) -> None:
    engine = ScriptedEngine(manifest=scripted_manifest(max_images=1))
    with pytest.raises(Problem) as refusal:
        await interpret(StudyRequest(films=(film, film)), decoder=decoder, engine=engine)
    assert refusal.value.code == "too-many-images"
    assert decoder.asked == []


async def test_the_first_film_that_cannot_be_read_is_the_one_told_of(film, decoder) -> None:
    with pytest.raises(Problem) as refusal:
        await interpret(
            StudyRequest(films=(film, b"GIF89a", b"")), decoder=decoder, engine=ScriptedEngine()
        )
    assert refusal.value.code == "unsupported-media-type"


@pytest.mark.parametrize("chunk", [1, 5, 1000])
async def test_the_stream_tells_in_pieces_what_the_whole_holds(film, decoder, chunk) -> None:
    request = StudyRequest(films=(film,))
    events = await events_of(request, decoder, ScriptedEngine(Script(chunk=chunk)))
    assert isinstance(events[0], FilmsRead)
    last = events[-1]
    assert isinstance(last, StudyRead)
    closed = {e.section.task: e.section for e in events if isinstance(e, SectionRead)}
    for section in last.interpretation.sections:
        own = [event for event in events if getattr(event, "task", None) is section.task]
        steps = tuple(event.step for event in own if isinstance(event, StepRead))
        assert steps == section.reading.steps
        answer = "".join(event.text for event in own if isinstance(event, AnswerRead))
        assert answer == section.reading.answer
        assert closed[section.task] is section


async def test_steps_come_before_the_model_has_finished(film, decoder) -> None:
    # A bracket could still follow the semicolon: the step is certain with the next word.
    upto = GROUNDED.index(";") + len("; There")
    engine = ScriptedEngine(Script(chunk=upto, hold_after=1))
    request = StudyRequest(films=(film,), tasks=(Task.FINDINGS,))
    async with aclosing(stream(request, decoder=decoder, engine=engine)) as events:
        async for event in events:
            if isinstance(event, StepRead):
                assert event.step.index == 1
                assert event.step.boxes[0].x_max == 360
                break


async def test_equal_pixels_and_requests_give_equal_readings(film, decoder) -> None:
    first, second = [
        await interpret(
            StudyRequest(films=(film,), temperature=0.0), decoder=decoder, engine=ScriptedEngine()
        )
        for _ in range(2)
    ]
    assert said(first) == said(second)


async def test_two_requests_under_one_id_do_not_collide_in_the_engine(film, decoder) -> None:
    engine = ScriptedEngine()
    requests = [StudyRequest(films=(film,), id="same") for _ in range(2)]
    await asyncio.gather(
        *(interpret(request, decoder=decoder, engine=engine) for request in requests)
    )
    assert len({request.request_id for request in engine.requests}) == 4


async def test_closing_the_stream_aborts_every_generation(film, decoder) -> None:
    engine = ScriptedEngine(Script(hold_after=1))
    request = StudyRequest(films=(film,))
    async with aclosing(stream(request, decoder=decoder, engine=engine)) as events:
        await anext(events)
        waiting = asyncio.ensure_future(anext(events))
        while engine.running < 2:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert len(engine.cancelled) == 2
    assert engine.running == 0


async def test_cancelling_an_interpretation_aborts_every_generation(film, decoder) -> None:
    engine = ScriptedEngine(Script(hold_after=1))
    task = asyncio.create_task(
        interpret(StudyRequest(films=(film,)), decoder=decoder, engine=engine)
    )
    while engine.running < 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(engine.cancelled) == 2


async def test_one_sections_failure_aborts_the_other(film, decoder) -> None:
    engine = ScriptedEngine(Script(hold_after=1)).say(
        Script(failure=EngineUnavailable(), fail_after=2), containing="IMPRESSION"
    )
    with pytest.raises(EngineUnavailable):
        await interpret(StudyRequest(films=(film,)), decoder=decoder, engine=engine)
    assert len(engine.cancelled) == 1
    assert engine.running == 0


@pytest.mark.parametrize("asked", [None, Decoding.CONSTRAINED, Decoding.FREE])
@pytest.mark.parametrize("default", list(Decoding))
async def test_the_grammar_is_used_as_asked_or_as_the_manifest_says(
    film, decoder, asked, default
) -> None:
    engine = ScriptedEngine(manifest=scripted_manifest(decoding=default))
    interpretation = await interpret(
        StudyRequest(films=(film,), decoding=asked), decoder=decoder, engine=engine
    )
    constrained = (asked or default) is Decoding.CONSTRAINED
    assert [request.grammar is not None for request in engine.requests] == [constrained] * 2
    assert {section.decoding for section in interpretation.sections} == {asked or default}


async def test_usage_and_timings_are_summed(film, decoder) -> None:
    interpretation = await interpret(
        StudyRequest(films=(film,)), decoder=decoder, engine=ScriptedEngine()
    )
    first, second = interpretation.sections
    usage = interpretation.usage
    assert usage.prompt_tokens == first.usage.prompt_tokens + second.usage.prompt_tokens
    assert usage.completion_tokens == 2 * first.usage.completion_tokens > 0
    spent = [first.timing.first_token, first.timing.generate, first.timing.parse]
    assert min(*spent, interpretation.timing.decode) >= 0
    assert interpretation.timing.total >= max(sum(spent), interpretation.timing.decode)


async def test_answer_mode_asks_for_no_reasoning(film, decoder) -> None:
    engine = ScriptedEngine(Script("The lungs are clear."))
    interpretation = await interpret(
        StudyRequest(films=(film,), mode=Mode.ANSWER), decoder=decoder, engine=engine
    )
    assert [section.reading.answer for section in interpretation.sections] == [
        "The lungs are clear."
    ] * 2
    assert [section.attempts for section in interpretation.sections] == [1, 1]
    assert all("<think>" not in request.prompt for request in engine.requests)


async def test_a_report_in_a_mode_that_the_checkpoint_has_not_learnt_is_refused(
    film, decoder
) -> None:
    engine = ScriptedEngine(
        manifest=scripted_manifest().model_copy(update={"report_modes": (Mode.THINK,)})
    )
    asked = StudyRequest(films=(film,), mode=Mode.ANSWER)
    with pytest.raises(Problem) as refusal:
        await interpret(asked, decoder=decoder, engine=engine)
    assert (refusal.value.code, refusal.value.status) == ("mode-not-trained", 422)
    assert "mode=think" in refusal.value.advice
    assert engine.requests == []
    question = StudyRequest(
        films=(film,), tasks=(Task.VQA,), question="Is the heart large?", mode=Mode.ANSWER
    )
    assert (await interpret(question, decoder=decoder, engine=engine)).sections


async def test_a_checkpoint_without_reasoning_is_warmed_up_in_the_mode_that_it_knows(
    decoder,
) -> None:
    engine = ScriptedEngine(
        Script("\\boxed{Clear.}"),
        manifest=scripted_manifest().model_copy(update={"report_modes": (Mode.ANSWER,)}),
    )
    await warm_up(engine, decoder)
    assert len(engine.requests) == 1
