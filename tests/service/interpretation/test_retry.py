"""One more try, under the grammar, where a free text falls short."""

from __future__ import annotations

import re

import pytest

from service.engine import EngineUnavailable, RequestRefused
from service.interpretation import (
    Interpretation,
    RetryStarted,
    Shortfall,
    StepRead,
    StudyRequest,
    interpret,
    stream,
)
from service.reading import Decoding, Mode, Task
from tests.service.scripted_engine import WITHOUT_THINK_END, Script, ScriptedEngine

ENDLESS = Script(WITHOUT_THINK_END, finish_reason="length")
THINKLESS = Script("<think> The heart is enlarged [60, 100, 180, 180]. Nothing else.")


async def read(engine, film, decoder, **fields) -> Interpretation:
    request = StudyRequest(films=(film,), tasks=(Task.FINDINGS,), **fields)
    return await interpret(request, decoder=decoder, engine=engine)


def retries(interpretation: Interpretation) -> list[str]:
    return [
        notice.detail for notice in interpretation.notices if notice.code == "retried-constrained"
    ]


@pytest.mark.parametrize("first", [ENDLESS, THINKLESS])
async def test_a_text_that_falls_short_is_asked_for_again_under_the_grammar(
    film, decoder, first
) -> None:
    engine = ScriptedEngine().say(first, constrained=False)
    interpretation = await read(engine, film, decoder)
    section = interpretation.sections[0]
    assert [request.grammar is not None for request in engine.requests] == [False, True]
    assert section.reading.complete
    assert section.reading.answer == "The heart is enlarged. Small left pleural effusion."
    assert (section.decoding, section.attempts) == (Decoding.CONSTRAINED, 2)
    assert len(retries(interpretation)) == 1
    assert section.usage.completion_tokens > len(WITHOUT_THINK_END) // 7


async def test_a_complete_text_is_not_asked_for_again(film, decoder) -> None:
    engine = ScriptedEngine()
    interpretation = await read(engine, film, decoder)
    assert len(engine.requests) == 1
    assert retries(interpretation) == []


async def test_it_is_never_asked_for_a_third_time(film, decoder) -> None:
    engine = ScriptedEngine(ENDLESS)
    interpretation = await read(engine, film, decoder)
    section = interpretation.sections[0]
    assert len(engine.requests) == 2
    assert (section.decoding, section.attempts) == (Decoding.FREE, 2)
    assert section.reading.raw_text == WITHOUT_THINK_END
    assert not section.reading.complete
    assert len(retries(interpretation)) == 1


async def test_a_constrained_text_that_falls_short_is_returned_as_it_is(film, decoder) -> None:
    engine = ScriptedEngine(ENDLESS)
    interpretation = await read(engine, film, decoder, decoding=Decoding.CONSTRAINED)
    assert len(engine.requests) == 1
    assert retries(interpretation) == []
    assert interpretation.notices != ()


async def test_a_retry_that_the_engine_refuses_leaves_the_first_text(film, decoder) -> None:
    engine = ScriptedEngine(ENDLESS).say(Script(failure=RequestRefused()), constrained=True)
    interpretation = await read(engine, film, decoder)
    assert interpretation.sections[0].reading.raw_text == WITHOUT_THINK_END
    assert len(retries(interpretation)) == 1


async def test_an_engine_that_dies_in_a_retry_is_told_and_no_text_given(film, decoder) -> None:
    engine = ScriptedEngine(ENDLESS).say(Script(failure=EngineUnavailable()), constrained=True)
    with pytest.raises(EngineUnavailable):
        await read(engine, film, decoder)


async def test_a_fault_of_the_program_in_a_retry_is_not_hidden(film, decoder) -> None:
    engine = ScriptedEngine(ENDLESS).say(Script(failure=LookupError()), constrained=True)
    with pytest.raises(LookupError):
        await read(engine, film, decoder)


async def test_an_answer_cut_by_the_length_limit_is_asked_for_again(film, decoder) -> None:
    engine = ScriptedEngine(Script("\\boxed{Clear.}")).say(
        Script("Clear and clear and", finish_reason="length"), constrained=False
    )
    interpretation = await read(engine, film, decoder, mode=Mode.ANSWER)
    assert interpretation.sections[0].attempts == 2


async def test_the_stream_says_that_a_section_starts_anew(film, decoder) -> None:
    engine = ScriptedEngine().say(ENDLESS, constrained=False)
    request = StudyRequest(films=(film,), tasks=(Task.FINDINGS,))
    events = [event async for event in stream(request, decoder=decoder, engine=engine)]
    at = next(n for n, event in enumerate(events) if isinstance(event, RetryStarted))
    assert events[at] == RetryStarted(Task.FINDINGS, Shortfall.LENGTH)
    indices = [event.step.index for event in events[at:] if isinstance(event, StepRead)]
    assert indices == [1, 2, 3]


async def test_only_the_section_that_falls_short_is_asked_for_again(film, decoder) -> None:
    engine = ScriptedEngine().say(ENDLESS, containing="IMPRESSION", constrained=False)
    interpretation = await interpret(StudyRequest(films=(film,)), decoder=decoder, engine=engine)
    assert [section.attempts for section in interpretation.sections] == [1, 2]
    assert retries(interpretation)[0].startswith("Impression: ")


async def test_the_grammar_leads_to_an_end_within_the_tokens_allowed(film, decoder) -> None:
    bounds = []
    for max_tokens in (64, 256, 512):
        engine = ScriptedEngine()
        await read(engine, film, decoder, decoding=Decoding.CONSTRAINED, max_tokens=max_tokens)
        grammar = engine.requests[0].grammar or ""
        bounds.append([int(number) for number in re.findall(r"\{0,(\d+)\}", grammar)])
    assert bounds == sorted(bounds)
    assert bounds[0] != bounds[-1]
    # The longest answer, at three characters a token, fits beside the reasoning.
    assert all(max(most) < 3 * 512 for most in bounds)
