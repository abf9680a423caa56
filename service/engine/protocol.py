"""What the other rooms know of an engine: one request in, a stream of text deltas out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from service.engine.manifest import Manifest
from service.problem import Problem

RETRY_AFTER = 5
"""Seconds after which asking an engine that could not take a request again may succeed."""


class EngineUnavailable(Problem):
    """The engine is not started, has died or takes no further request (503)."""

    def __init__(
        self, title: str = "The engine is not available.", *, retry_after: int = RETRY_AFTER
    ) -> None:
        super().__init__(
            "engine-unavailable",
            503,
            title,
            "Repeat the request after the time that Retry-After names.",
            retry_after=retry_after,
        )


class PromptTooLong(Problem):
    """The prompt and its images leave no room for a reply (422)."""

    def __init__(self) -> None:
        super().__init__(
            "prompt-too-long",
            422,
            "The text and the images together are longer than the model can read.",
            "Shorten the question or the clinical context, or send fewer images.",
        )


class TooManyImages(Problem):
    """More images than operator and checkpoint allow (422)."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            "too-many-images",
            422,
            "The request holds too many images.",
            f"Send at most {limit} in one request.",
        )


class RequestRefused(Problem):
    """The engine found a value of the request unusable (422)."""

    def __init__(self) -> None:
        super().__init__(
            "request-refused-by-engine",
            422,
            "The engine cannot work with the values of this request.",
            "Check temperature, max_tokens and seed, or leave them out.",
        )


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes
    ----------
    temperature
        0 takes the likeliest token; larger values vary more. At most 2.
    top_p
        Share of the probability that is kept, in (0, 1].
    max_tokens
        Most tokens of the generated text.
    seed
        Equal seeds give equal texts for the same request; ``None`` draws one.
    """

    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2:
            raise ValueError("temperature must lie in [0, 2]")
        if not 0 < self.top_p <= 1:
            raise ValueError("top_p must lie in (0, 1]")
        if self.max_tokens < 1:
            raise ValueError("max_tokens must be at least 1")
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise ValueError("seed must lie in [0, 2^63)")


@dataclass(frozen=True, slots=True, eq=False)
class GenerationRequest:
    """One text to generate.

    Attributes
    ----------
    request_id
        Name of the request, unique among those running.
    prompt
        Text of the user's turn, free of special tokens; the checkpoint's own chat template and
        the images' places are added by the engine.
    images
        Each ``(height, width, 3)`` uint8, RGB, already on the checkpoint's pixel grid.
    sampling
        How tokens are chosen.
    grammar
        EBNF that the text must follow; ``None`` leaves it free.
    trace_headers
        W3C trace context, handed on to the engine's own spans.
    """

    request_id: str
    prompt: str
    images: tuple[npt.NDArray[np.uint8], ...]
    sampling: Sampling
    grammar: str | None = None
    trace_headers: Mapping[str, str] | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read (text and images) and written."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the text.

    Attributes
    ----------
    text
        What was added; may be empty.
    finish_reason
        ``stop`` (the model ended its turn) or ``length`` on the last delta, else ``None``.
    usage
        Counted tokens, on the last delta.
    """

    text: str
    finish_reason: str | None = None
    usage: Usage | None = None


@runtime_checkable
class Engine(Protocol):
    """Anything that turns a prompt and images into a stream of text."""

    @property
    def manifest(self) -> Manifest:
        """Conventions and facts of the checkpoint that is served."""

    @property
    def manifest_sha256(self) -> str:
        """Digest of the manifest's bytes, in hexadecimal."""

    async def start(self) -> None:
        """Load the checkpoint; returns when requests can be taken."""

    async def stop(self) -> None:
        """Abort what runs and free everything; safe to call in any state.

        Raises
        ------
        EngineStuckError
            When a start cannot be given up.
        """

    def generate(self, request: GenerationRequest) -> AsyncIterator[Delta]:
        """Yield the text as it comes; closing or cancelling the iterator aborts the request.

        Raises
        ------
        EngineUnavailable
            When the engine is not started, has died or takes no further request.
        Problem
            When the request cannot be read by this checkpoint.
        """

    async def check_health(self) -> None:
        """Return when requests can be taken.

        Raises
        ------
        EngineUnavailable
            When they cannot.
        """


@runtime_checkable
class WatchedEngine(Engine, Protocol):
    """An engine whose work is done by processes of its own, which can die and hang.

    After ``stop`` it can be started again.
    """

    @property
    def longest_step(self) -> float:
        """Seconds within which any step ends on this machine, with room to spare."""

    @property
    def has_processes(self) -> bool:
        """Whether one of the processes is there, also while the engine still starts."""

    async def beat(self) -> None:
        """Return when the processes have answered, which they do between two steps."""

    async def ended(self) -> None:
        """Return when one of the processes has ended, for whatever reason."""

    @property
    def endings(self) -> str:
        """How the processes that have ended by themselves did, for the operator; may be empty."""

    def kill(self) -> None:
        """End the processes now, without asking them; ``stop`` then frees what they held.

        Whoever waits for text gets :class:`EngineUnavailable` from ``generate``.
        """
