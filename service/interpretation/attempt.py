"""One attempt at one section: asked once, its text read as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace

from service.engine import Delta, Engine, Usage
from service.interpretation.events import AnswerRead, Shortfall, StepRead
from service.interpretation.interpretation import SectionTiming
from service.interpretation.plan import SectionPlan
from service.interpretation.stages import AttemptClock, StageObserver
from service.reading import AnswerDelta, Decoding, Reading, StreamParser
from service.reading import StepRead as StepParsed
from service.telemetry import stage


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of an attempt."""

    reading: Reading
    decoding: Decoding
    finish_reason: str | None
    usage: Usage
    timing: SectionTiming

    @property
    def shortfall(self) -> Shortfall | None:
        """What is missing of it, if anything."""
        if self.finish_reason == "length":
            return Shortfall.LENGTH
        return None if self.reading.complete else Shortfall.INCOMPLETE

    def better_than(self, other: Outcome) -> bool:
        """Whether this one leaves the reader with more than another does."""
        return self._merit > other._merit

    @property
    def _merit(self) -> tuple[bool, bool, bool]:
        reading = self.reading
        return self.shortfall is None, reading.complete, bool(reading.answer.strip())


class Attempt:
    """Asks the engine once; ``run`` it to its end before looking at ``outcome``."""

    def __init__(self, plan: SectionPlan, decoding: Decoding) -> None:
        self._plan = plan
        self._decoding = decoding
        self._parser = StreamParser(
            mode=plan.mode, images=len(plan.films.model_images), extents=plan.extents
        )
        self._steps = 0
        self._outcome: Outcome | None = None

    @property
    def outcome(self) -> Outcome:
        """What came of it, once it has run."""
        if self._outcome is None:
            raise RuntimeError("The attempt has not run to its end.")
        return self._outcome

    async def run(
        self, engine: Engine, observe: StageObserver
    ) -> AsyncGenerator[StepRead | AnswerRead, None]:
        """Yield steps and answer as they are said; closing it aborts the generation.

        Its stages ``first_token``, ``generate`` and ``parse`` are observed as each ends.

        Raises
        ------
        Problem
            As the engine raises it.
        """
        text: list[str] = []
        last = Delta("")
        usage = Usage(0, 0)
        reading: Reading | None = None
        clock = AttemptClock(observe)
        try:
            async with AsyncExitStack() as held:
                held.callback(clock.engine_ended)
                asked = self._plan.generation(self._decoding)
                span = held.enter_context(stage("generate", self._attributes))
                deltas = engine.generate(
                    replace(asked, trace_headers=span.headers or asked.trace_headers)
                )
                if isinstance(deltas, AsyncGenerator):
                    await held.enter_async_context(aclosing(deltas))
                async for last in deltas:
                    usage = last.usage or usage
                    if not last.text:
                        continue
                    clock.text_arrived()
                    text.append(last.text)
                    events = [self._event(said) for said in self._parser.feed(last.text)]
                    clock.text_parsed()
                    for event in events:
                        yield event
                for said in self._parser.shown_last():
                    yield self._event(said)
                span.tell(
                    {
                        "gen_ai.usage.input_tokens": usage.prompt_tokens,
                        "gen_ai.usage.output_tokens": usage.completion_tokens,
                    }
                )
            with stage("parse", self._attributes):
                parsed = self._parser.finish(last.finish_reason)
                reading = self._plan.ground(parsed, "".join(text))
        finally:
            clock.attempt_ended(read=reading is not None)
        self._outcome = Outcome(
            reading=reading,
            decoding=self._decoding,
            finish_reason=last.finish_reason,
            usage=usage,
            timing=clock.timing,
        )

    @property
    def _attributes(self) -> dict[str, str]:
        return {
            "deepmedix.task": self._plan.task.value,
            "deepmedix.decoding": self._decoding.value,
        }

    def _event(self, said: StepParsed | AnswerDelta) -> StepRead | AnswerRead:
        if isinstance(said, AnswerDelta):
            return AnswerRead(self._plan.task, said.text)
        self._steps += 1
        return StepRead(self._plan.task, self._plan.ground_step(said.step, self._steps))
