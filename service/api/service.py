"""What the routes share: decoder, engine, admission, and the state of the whole."""

from __future__ import annotations

import asyncio
import logging
from enum import StrEnum

from service.api.admission import Admission, Bounds
from service.api.problems import not_ready, shutting_down, start_failed
from service.api.reply_store import ReplyStore
from service.api.warm_up import warm_up
from service.engine import (
    Engine,
    EngineStartTimeoutError,
    EngineState,
    EngineStuckError,
    SupervisedEngine,
)
from service.problem import Problem
from service.radiograph import RadiographDecoder
from service.settings import Settings

LOG = logging.getLogger("deepmedix")


class EngineGivenUpError(Exception):
    """The engine failed so often that it is not started again; the text says how often."""


class State(StrEnum):
    """Where the service stands between its start and its stop."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    DRAINING = "draining"


class Service:
    """The running parts behind the routes, started and stopped as one.

    Parameters
    ----------
    settings
        Limits and waiting times.
    decoder
        Opens films, in processes of its own.
    engine
        Runs the model.
    """

    def __init__(self, settings: Settings, decoder: RadiographDecoder, engine: Engine) -> None:
        self.settings = settings
        self.decoder = decoder
        self.engine = engine
        self.state = State.STARTING
        self.failure: BaseException | None = None
        self.started = asyncio.Event()
        self.failed = asyncio.Event()
        self.stuck = False
        self._supervised = engine if isinstance(engine, SupervisedEngine) else None
        if self._supervised is not None:
            self._supervised.follow(self._follow_engine)
        bounds = Bounds.shared(
            concurrency=settings.max_concurrency,
            queue=settings.max_queue,
            tokens=settings.max_admitted_tokens,
            share=settings.caller_share,
            body_bytes=settings.max_admitted_bytes,
            largest_body=settings.max_body_bytes,
        )
        self.admission = Admission(bounds, retry_after=settings.retry_after)
        # A repeat of what has been answered waits for no work, however much there is.
        self.repeats = Admission(bounds, retry_after=settings.retry_after)
        self.replies = ReplyStore(
            entries=settings.idempotency_entries,
            max_bytes=settings.idempotency_bytes,
            expiry=settings.idempotency_expiry,
        )

    @property
    def max_images(self) -> int:
        """Most films of one request: as set, and as the checkpoint reads at once."""
        return min(self.settings.limit_images, self.engine.manifest.max_images)

    @property
    def why_failed(self) -> str:
        """Why the service failed, for the operator; the engine's errors say how to mend it."""
        if isinstance(self.failure, EngineGivenUpError):
            return str(self.failure)
        if isinstance(self.failure, Problem):
            return f"{self.failure.title} {self.failure.advice}"
        return f"{type(self.failure).__name__}: {self.failure}"

    async def start(self) -> None:
        """Start decoder and engine, read one blank film, and declare the service ready.

        A failure is kept in ``failure`` rather than raised: the service goes on to answer
        ``/livez``, and 503 elsewhere, until whoever runs it decides.
        """
        try:
            LOG.info("starting the film decoder")
            await self.decoder.start()
            await self._start_engine()
        except Exception as error:
            self.failure = error
            self.state = State.FAILED
            self.failed.set()
        else:
            if self.state is State.STARTING:
                self.state = State.READY
        finally:
            self.started.set()

    async def _start_engine(self) -> None:
        limit = asyncio.timeout(self.settings.engine_start_timeout)
        try:
            async with limit:
                LOG.info("starting the engine with %s", self.engine.manifest.name)
                await self.engine.start()
                LOG.info("warming up with one blank film")
                await warm_up(self.engine, self.decoder)
        except TimeoutError as error:
            if not limit.expired():  # the engine's own
                raise
            raise EngineStartTimeoutError(self.settings.engine_start_timeout) from error

    def _follow_engine(self, state: EngineState) -> None:
        """Be ready only while the supervised engine runs; stop for good when it is given up."""
        if state is EngineState.RESTARTING and self.state is State.READY:
            self.state = State.RESTARTING
        elif state is EngineState.RUNNING and self.state is State.RESTARTING:
            self.state = State.READY
        elif state is EngineState.GIVEN_UP and self._supervised is not None:
            self.failure = EngineGivenUpError(self._supervised.why_given_up)
            self.failed.set()
            self.drain()

    def drain(self) -> None:
        """Take no new request, and send those waiting away; those at work go on.

        Repeats, which wait for no work, get their replies until the end. An engine that dies from
        now on stays dead.
        """
        self.state = State.DRAINING
        if self._supervised is not None:
            self._supervised.retire()
        self.admission.drain()

    async def finish(self, grace: float) -> None:
        """Drain, and return when no request is left; after ``grace`` seconds end those there are.

        They get ``shutting-down`` (503), in a stream as its last event.
        """
        self.drain()
        try:
            async with asyncio.timeout(grace):
                await self.admission.idle()
                await self.repeats.idle()
        except TimeoutError:
            left = self.admission.admitted + self.repeats.admitted
            LOG.warning("%d requests were not finished in time", left)
            self.end_all()

    def end_all(self) -> None:
        """End all that is admitted, at work or not."""
        self.admission.end_all()
        self.repeats.drain()

    async def stop(self) -> None:
        """Stop engine and decoder, whatever state they are in; ``stuck`` where that is no use."""
        self.drain()
        try:
            await self.engine.stop()
        except EngineStuckError as error:
            LOG.error("the engine could not be stopped: %s", error)
            self.stuck = True
        finally:
            await self.decoder.close()

    def check_state(self) -> None:
        """Raise the 503 that fits, unless the service takes requests.

        Raises
        ------
        Problem
            ``not-ready``, ``engine-unavailable``, ``start-failed`` or ``shutting-down``.
        """
        retry_after = self.settings.retry_after
        if self.state is State.STARTING:
            raise not_ready(retry_after)
        if self._supervised is not None and (
            self.state is State.RESTARTING or (self.state is State.READY and self._supervised.hangs)
        ):
            raise self._supervised.unavailable()
        if self.state is State.FAILED:
            raise start_failed(retry_after)
        if self.state is State.DRAINING:
            raise shutting_down(retry_after)

    async def check_ready(self) -> None:
        """Raise the 503 that fits, unless the engine is healthy and requests are taken.

        Raises
        ------
        Problem
            As ``check_state``.
        """
        self.check_state()
        await self.engine.check_health()
