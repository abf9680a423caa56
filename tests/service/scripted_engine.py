"""An engine that says what a test told it to say, and remembers what it was asked.

It waits for events, never for time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from service.engine import (
    Delta,
    EngineUnavailable,
    GenerationRequest,
    Manifest,
    Pixels,
    SamplingDefaults,
    Usage,
)
from service.reading import BoxSpace, Conventions, Decoding

GROUNDED = (
    "<think> The heart is enlarged [60, 100, 180, 180]; There is a left pleural effusion "
    "[140, 150, 200, 210]; The lungs are clear </think>. "
    "The answer is: \\boxed{The heart is enlarged. Small left pleural effusion.}."
)
"""Three steps, two of them with a box, and an answer; on a grid of 224 pixels a side."""

WITHOUT_THINK_END = "<think> The heart is enlarged [60, 100, 180, 180]; The heart is enlarged"
"""A model that never stops thinking."""


@dataclass(frozen=True)
class Script:
    """What the engine says to one request.

    Attributes
    ----------
    text
        Said in deltas of ``chunk`` characters.
    finish_reason
        Of the last delta.
    chunk
        Characters of one delta.
    hold_after
        Number of deltas after which the engine waits for ``release``.
    release
        What it waits for; ``None`` with ``hold_after`` waits until it is cancelled.
    failure
        Raised after ``fail_after`` deltas.
    fail_after
        Number of deltas before ``failure``.
    """

    text: str = GROUNDED
    finish_reason: str = "stop"
    chunk: int = 7
    hold_after: int | None = None
    release: asyncio.Event | None = None
    failure: Exception | None = None
    fail_after: int = 0


@dataclass(frozen=True)
class _Rule:
    script: Script
    containing: str
    constrained: bool | None

    def fits(self, request: GenerationRequest) -> bool:
        return self.containing in request.prompt and self.constrained in (
            None,
            request.grammar is not None,
        )


class ScriptedEngine:
    """Meets the ``WatchedEngine`` protocol without a model; it neither dies nor hangs.

    Parameters
    ----------
    default
        What it says where no rule of ``say`` fits.
    manifest
        The checkpoint that it plays; ``scripted_manifest()`` where not given.

    Attributes
    ----------
    requests
        Every request, in the order in which its generation began.
    finished, cancelled
        Ids of the requests that were said to their end, or given up by the consumer.
    running, most_running
        Generations at work now, and at most at once.
    asked, gave_up
        Set when a generation has begun, and when one was given up.
    health
        Raised by ``check_health`` and ``generate`` where it is set.
    starting
        ``start`` waits for it where it is set.
    start_failure
        Raised by ``start`` where it is set.
    """

    def __init__(self, default: Script | None = None, *, manifest: Manifest | None = None) -> None:
        self._default = default or Script()
        self._manifest = manifest or scripted_manifest()
        self._rules: list[_Rule] = []
        self.requests: list[GenerationRequest] = []
        self.finished: list[str] = []
        self.cancelled: list[str] = []
        self.running = 0
        self.most_running = 0
        self.asked = asyncio.Event()
        self.gave_up = asyncio.Event()
        self.health: EngineUnavailable | None = None
        self.starting: asyncio.Event | None = None
        self.start_failure: Exception | None = None
        self.started = False
        self.stopped = False

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    @property
    def manifest_sha256(self) -> str:
        return "0123456789abcdef" * 4

    def say(
        self, script: Script, *, containing: str = "", constrained: bool | None = None
    ) -> ScriptedEngine:
        """Follow a script for prompts that contain a text; later rules win over earlier ones.

        ``constrained`` limits the rule to requests with a grammar, or without one.
        """
        self._rules.append(_Rule(script, containing, constrained))
        return self

    async def start(self) -> None:
        if self.starting is not None:
            await self.starting.wait()
        if self.start_failure is not None:
            raise self.start_failure
        self.started = True

    async def stop(self) -> None:
        self.stopped = True

    async def check_health(self) -> None:
        if self.health is not None:
            raise self.health

    longest_step = 20.0
    endings = ""

    @property
    def has_processes(self) -> bool:
        return self.started

    async def beat(self) -> None:
        pass

    async def ended(self) -> None:
        await asyncio.Event().wait()

    def kill(self) -> None:
        pass

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        await self.check_health()
        script = next(
            (rule.script for rule in reversed(self._rules) if rule.fits(request)), self._default
        )
        self.requests.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.asked.set()
        try:
            async for delta in _say(script, request):
                yield delta
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.append(request.request_id)
            self.gave_up.set()
            raise
        finally:
            self.running -= 1
        self.finished.append(request.request_id)


async def _say(script: Script, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
    pieces = [
        script.text[start : start + script.chunk]
        for start in range(0, len(script.text), script.chunk)
    ]
    usage = Usage(len(request.prompt.split()) + 64 * len(request.images), len(pieces))
    last = max(0, len(pieces) - 1)
    for number in range(last + 1):
        if script.hold_after == number:
            await (script.release or asyncio.Event()).wait()
        if script.failure is not None and script.fail_after == number:
            raise script.failure
        # Lets what runs beside this request have its turn, as a real engine does.
        await asyncio.sleep(0)
        if number < last:
            yield Delta(pieces[number])
        else:
            yield Delta("".join(pieces[last:]), script.finish_reason, usage)


def scripted_manifest(
    *,
    box_space: BoxSpace = BoxSpace.PROCESSOR,
    decoding: Decoding = Decoding.FREE,
    max_images: int = 4,
    temperature: float = 0.0,
    max_tokens: int = 512,
    seed: int | None = None,
) -> Manifest:
    """Return the manifest of a checkpoint that sees square films as 224 x 224 pixels."""
    return Manifest(
        name="scripted",
        revision="1",
        stage="cold_start",
        license="Apache-2.0",
        conventions=Conventions(box_space=box_space),
        # A little more than 224 squared: the grid's own rule rounds down.
        pixels=Pixels(min_pixels=224 * 224, max_pixels=230 * 230),
        sampling=SamplingDefaults(temperature=temperature, max_tokens=max_tokens, seed=seed),
        decoding=decoding,
        max_images=max_images,
    )
