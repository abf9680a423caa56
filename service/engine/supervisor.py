"""An engine that is watched, and started again when it dies or hangs."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from enum import StrEnum

from service.engine import metrics
from service.engine.failure import Failure, FailureRecord, RestartPolicy
from service.engine.manifest import Manifest
from service.engine.protocol import (
    RETRY_AFTER,
    Delta,
    Engine,
    EngineUnavailable,
    GenerationRequest,
    WatchedEngine,
)
from service.engine.pulse import Pulse

LOG = logging.getLogger("deepmedix")

_STILL = 30.0
"""Seconds between two lines that tell of a start."""

_HAPPENED = {
    Failure.DEATH: "its process ended",
    Failure.STALL: "it did not answer any more",
    Failure.START: "it could not be started again",
}


class EngineState(StrEnum):
    """Where a supervised engine stands."""

    STOPPED = "stopped"
    RUNNING = "running"
    RESTARTING = "restarting"
    GIVEN_UP = "given up"


class SupervisedEngine:
    """Meets :class:`service.engine.protocol.Engine` around one that it replaces when it fails.

    Parameters
    ----------
    engine
        The engine to watch; it is started, stopped and killed here alone.
    warm_up
        Reads something small with the engine that it is given, before the engine is called ready
        after a restart.
    policy
        When to restart, and when to give up.
    clock, sleep
        Time, for tests.
    """

    def __init__(
        self,
        engine: WatchedEngine,
        warm_up: Callable[[Engine], Awaitable[None]],
        policy: RestartPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._warm_up = warm_up
        self._policy = policy or RestartPolicy()
        self._clock = clock
        self._sleep = sleep
        self._state = EngineState.STOPPED
        self._follower: Callable[[EngineState], None] | None = None
        self._failures = FailureRecord(self._policy)
        self._last_failure: Failure | None = None
        self._running_since = 0.0
        self._pulse = self._new_pulse()
        self._supervision: asyncio.Task[None] | None = None
        self._retired = False
        self._start_seconds = 0.0
        self._ready_at: float | None = None

    @property
    def manifest(self) -> Manifest:
        """Conventions and facts of the checkpoint that is served."""
        return self._engine.manifest

    @property
    def manifest_sha256(self) -> str:
        """Digest of the manifest's bytes, in hexadecimal."""
        return self._engine.manifest_sha256

    @property
    def state(self) -> EngineState:
        """Where the engine stands."""
        return self._state

    @property
    def hangs(self) -> bool:
        """Whether the engine runs and has not answered for far longer than any step of it took."""
        return self._state is EngineState.RUNNING and self._pulse.hangs

    @property
    def why_given_up(self) -> str:
        """Why the engine is not started again, for the operator."""
        happened = _HAPPENED[self._last_failure] if self._last_failure else "it was never started"
        failures = self._policy.restarts + 1
        often = (
            f"{failures} times and never ran for {self._policy.window:g} seconds in between"
            if failures > 1
            else "once"
        )
        return f"the engine failed {often}; the last time, {happened}"

    def follow(self, follower: Callable[[EngineState], None]) -> None:
        """Call a function with every new state, at once and in the event loop's thread."""
        self._follower = follower

    def retire(self) -> None:
        """Start no engine again from now on; the one that runs goes on."""
        self._retired = True

    async def start(self) -> None:
        """Start the engine and its supervision; a failure of this first start is raised.

        Raises
        ------
        Exception
            As the engine raises it.
        """
        if self._supervision is not None:
            return
        self._retired = False
        began = self._clock()
        await self._start_engine()
        self._start_seconds = self._clock() - began
        self._pulse = self._new_pulse()
        self._enter(EngineState.RUNNING)
        self._supervision = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """End supervision and engine; safe to call in any state."""
        self.retire()
        supervision, self._supervision = self._supervision, None
        if supervision is not None:
            supervision.cancel()
            await asyncio.gather(supervision, return_exceptions=True)
        self._enter(EngineState.STOPPED)
        if self._pulse.late:
            self._engine.kill()  # it would not hear the wish to stop
        await self._engine.stop()

    async def check_health(self) -> None:
        """Return when requests can be taken.

        Raises
        ------
        EngineUnavailable
            When the engine is down, or has not answered for longer than a step takes.
        """
        if self._state is not EngineState.RUNNING:
            raise self.unavailable()
        try:
            await self._engine.check_health()
        except EngineUnavailable as error:
            raise self.unavailable() from error
        if self._pulse.late:
            raise EngineUnavailable("The engine does not answer.")

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Yield the text as it comes; closing or cancelling the iterator aborts the request.

        Raises
        ------
        EngineUnavailable
            When the engine is down or fails while it writes; ``retry_after`` is the time that
            its restart is expected to take.
        Problem
            As the engine raises it.
        """
        if self._state is not EngineState.RUNNING:
            raise self.unavailable()
        deltas = self._engine.generate(request)
        try:
            async with AsyncExitStack() as held:
                if isinstance(deltas, AsyncGenerator):
                    await held.enter_async_context(aclosing(deltas))
                async for delta in deltas:
                    yield delta
        except EngineUnavailable as error:
            if await self._lost():
                raise self.unavailable() from error
            raise

    def unavailable(self) -> EngineUnavailable:
        """Return the problem of a request that meets no engine, with the time of its return."""
        now = self._clock()
        title = "The engine is being restarted."
        if self._state is EngineState.RUNNING:  # lost a moment ago, or it hangs and will be
            failures = self._failures.count(self._ran(now)) + 1
            expected = self._policy.delay(failures) + self._start_seconds
            if self.hangs:
                title = "The engine does not answer."
                expected += self._pulse.patience
        elif self._state is EngineState.RESTARTING and self._ready_at is not None:
            expected = self._ready_at - now
        else:
            return EngineUnavailable()
        # A restart that takes longer than the one before it is nearly done, as far as one knows.
        seconds = math.ceil(expected) if expected > 0 else RETRY_AFTER
        return EngineUnavailable(title, retry_after=seconds)

    async def _lost(self) -> bool:
        if self._state is not EngineState.RUNNING:
            return True
        try:
            await self._engine.check_health()
        except EngineUnavailable:
            return True
        return False

    async def _supervise(self) -> None:
        try:
            failure = await self._pulse.failure()
            while await self._restart_is_due(failure):
                metrics.RESTARTS.labels(reason=failure).inc()
                failure = await self._restart() or await self._pulse.failure()
        except Exception as error:  # a fault of ours must not leave the engine unwatched
            LOG.error("the supervision of the engine failed: %r", error)
            self._enter(EngineState.GIVEN_UP)

    async def _restart_is_due(self, failure: Failure) -> bool:
        """Clear away what failed, and wait; whether it shall be started again then."""
        now = self._clock()
        self._last_failure = failure
        delay = self._policy.delay(self._failures.add(self._ran(now)))
        happened = _HAPPENED[failure]
        if endings := self._engine.endings:
            happened += f" ({endings})"
        if self._retired:
            LOG.error("the engine failed while the service stops: %s", happened)
            self._enter(EngineState.STOPPED)
        elif self._failures.too_many:
            self._enter(EngineState.GIVEN_UP)
        else:
            LOG.error("the engine failed: %s; restart in %g s", happened, delay)
            self._ready_at = now + delay + self._start_seconds
            self._enter(EngineState.RESTARTING)
        await self._clear()
        if self._state is not EngineState.RESTARTING:
            return False
        await self._sleep(delay)
        return not self._retired

    def _ran(self, now: float) -> float:
        """Return for how many seconds the engine has run, up to its last answer."""
        if self._state is not EngineState.RUNNING:
            return 0.0
        return now - self._running_since - self._pulse.silence

    async def _clear(self) -> None:
        try:
            try:
                self._engine.kill()
            finally:
                # Whatever came of that: what is not stopped would not be started again.
                await self._engine.stop()
        except Exception as error:
            # Its text may name paths, never a caller's data: nothing of a request is in reach.
            LOG.error("what the engine left could not all be freed: %r", error)

    async def _restart(self) -> Failure | None:
        began = self._clock()
        self._ready_at = began + self._start_seconds
        try:
            async with asyncio.timeout(self._policy.start_timeout):
                await self._start_engine()
                self._pulse = self._new_pulse()
                failure = await self._watched_warm_up()
        except Exception as error:
            LOG.error("the engine could not be started again: %r", error)
            return Failure.START
        if failure is None:
            self._start_seconds = self._clock() - began
            self._enter(EngineState.RUNNING)
            LOG.info("the engine runs again, after %.1f s", self._start_seconds)
        return failure

    async def _start_engine(self) -> None:
        telling = asyncio.create_task(self._tell_of_start())
        try:
            await self._engine.start()
        finally:
            telling.cancel()

    async def _tell_of_start(self) -> None:
        """Say now and then that a start, which may take many minutes, goes on."""
        began = self._clock()
        while True:
            await self._sleep(_STILL)
            there = "its process is there" if self._engine.has_processes else "no process of it yet"
            LOG.info("the engine still starts, %.0f s (%s)", self._clock() - began, there)

    async def _watched_warm_up(self) -> Failure | None:
        """Warm the engine up; what happened to it meanwhile, if anything."""
        warming = asyncio.ensure_future(self._warm_up(self._engine))
        watching = asyncio.create_task(self._pulse.failure())
        try:
            await asyncio.wait({warming, watching}, return_when=asyncio.FIRST_COMPLETED)
            if warming.done():
                warming.result()
                return None
            return watching.result()
        finally:
            warming.cancel()
            watching.cancel()
            await asyncio.gather(warming, watching, return_exceptions=True)

    def _new_pulse(self) -> Pulse:
        timeout = self._policy.stall_timeout or self._engine.longest_step
        return Pulse(self._engine, timeout, clock=self._clock, sleep=self._sleep)

    def _enter(self, state: EngineState) -> None:
        if state is EngineState.RUNNING:
            self._running_since = self._clock()
        self._state = state
        metrics.UP.set(state is EngineState.RUNNING)
        if self._follower is not None:
            self._follower(state)
