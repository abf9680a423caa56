"""One section: asked once, and once more where a free text falls short."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from service.engine import Engine, Usage
from service.interpretation.attempt import Attempt, Outcome
from service.interpretation.events import RetryStarted, SectionEvent, SectionRead, Shortfall
from service.interpretation.interpretation import SectionReading, SectionTiming
from service.interpretation.plan import SectionPlan
from service.interpretation.stages import StageObserver
from service.notice import Notice
from service.problem import Problem
from service.reading import Decoding

_OUR_FAILURE = 500

_REASONS = {
    Shortfall.LENGTH: "The length limit was reached",
    Shortfall.INCOMPLETE: "The text was not complete",
}


async def read_section(
    plan: SectionPlan, engine: Engine, observe: StageObserver
) -> AsyncGenerator[SectionEvent, None]:
    """Yield what the model says of one section; its ``SectionRead`` comes last.

    A free text that misses its end or its ``</think>`` is asked for once more under the grammar,
    and the better of the two is kept; usage and timing count both.

    Raises
    ------
    Problem
        As the engine raises it on the first attempt; on the second, what has failed on our side:
        an engine that is gone is no reason to pass off a text that fell short as the answer.
    """
    first = Attempt(plan, plan.decoding)
    async with aclosing(first.run(engine, observe)) as events:
        async for event in events:
            yield event
    shortfall = first.outcome.shortfall
    if shortfall is None or plan.decoding is not Decoding.FREE:
        yield SectionRead(_section(plan, first.outcome, [first.outcome], ()))
        return

    yield RetryStarted(plan.task, shortfall)
    second = Attempt(plan, Decoding.CONSTRAINED)
    try:
        async with aclosing(second.run(engine, observe)) as events:
            async for event in events:
                yield event
    except Problem as problem:
        if problem.status >= _OUR_FAILURE:
            raise
        # Refused, though the first was not: that text is worth more to the caller than an error.
        notice = _retried(shortfall, "asking again failed, and the first text is given")
        yield SectionRead(_section(plan, first.outcome, [first.outcome], (notice,)))
        return
    attempts = [first.outcome, second.outcome]
    if second.outcome.better_than(first.outcome):
        notice = _retried(shortfall, "the text given was asked for again under the grammar")
        yield SectionRead(_section(plan, second.outcome, attempts, (notice,)))
    else:
        notice = _retried(shortfall, "asking again under the grammar gave nothing better")
        yield SectionRead(_section(plan, first.outcome, attempts, (notice,)))


def _retried(shortfall: Shortfall, outcome: str) -> Notice:
    return Notice("retried-constrained", f"{_REASONS[shortfall]}; {outcome}.")


def _section(
    plan: SectionPlan,
    kept: Outcome,
    attempts: Sequence[Outcome],
    notices: tuple[Notice, ...],
) -> SectionReading:
    return SectionReading(
        task=plan.task,
        reading=kept.reading,
        notices=(*kept.reading.notices, *notices),
        decoding=kept.decoding,
        attempts=2 if notices else 1,
        usage=Usage(
            sum(attempt.usage.prompt_tokens for attempt in attempts),
            sum(attempt.usage.completion_tokens for attempt in attempts),
        ),
        timing=sum((attempt.timing for attempt in attempts), SectionTiming()),
    )
