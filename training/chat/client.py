"""One question to a server, and what it answers: chat completions over HTTP, with patience."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import httpx

from training.chat.address import Endpoint
from training.chat.errors import (
    AwayError,
    ChatError,
    GarbledReplyError,
    RefusedError,
    SilentError,
    UnansweredError,
)
from training.chat.pace import Pace, retry_after
from training.chat.stopwatch import queueing

_FATAL = {
    401: "does not accept the key. Put it into {key}.",
    403: "does not accept the key, or not for this model.",
    404: "knows no such path or model. Check {option} (GET /v1/models lists models).",
}
_LIMIT, _LATER_LIMIT = "max_tokens", "max_completion_tokens"
"""The longest answer, as most servers name it, and as those name it that refuse the first."""
_MISWORDED = ("HTTP 400", "HTTP 422")
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """How often and how long a request is tried.

    Attributes
    ----------
    tries
        Times that one request is sent at most.
    first_wait, longest_wait
        Seconds before the second try, doubled before each further one, where the server names
        none itself; and at most.
    longest_pause
        Longest ``Retry-After`` that is waited for; a longer one ends the run, which resumes.
    timeout
        Seconds that one answer may take.
    """

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_pause: float = 900.0
    timeout: float = 600.0


@dataclass(frozen=True)
class Answer:
    """What the server wrote.

    Attributes
    ----------
    finish_reason
        ``stop``, or ``length`` where it was cut off.
    tokens
        Of prompt and completion, where the server counts them.
    reasoning
        What a server that parts the think-block from the text gave of it.
    """

    text: str
    finish_reason: str | None = None
    tokens: tuple[int, int] = (0, 0)
    reasoning: str = ""

    def joined(self) -> Answer:
        """The answer as the model wrote it: its reasoning as a think-block before the text.

        A text that has a think-block of its own is left as it is.
        """
        if not self.reasoning.strip() or "<think>" in self.text or "</think>" in self.text:
            return replace(self, reasoning="")
        thought = self.reasoning.replace("<think>", "").replace("</think>", "").strip()
        if self.text or self.finish_reason != "length":
            thought = f"{thought} </think>. {self.text.strip().lstrip('. ')}"
        return replace(self, text=f"<think> {thought}", reasoning="")


@dataclass
class ChatServer:
    """An OpenAI-compatible server, asked at a pace.

    Attributes
    ----------
    key
        Sent as a bearer token.
    remote
        Whether it may be reached through a proxy of the environment.
    role, option, key_variable
        What the server is to the caller, how its address and model were given, and where its key
        is looked for: errors speak of them.
    tell
        Told why, and for how long, no request is sent before a further try.

    Raises
    ------
    ChatError
        From :meth:`ask`: when no request can succeed (wrong key, unknown model); ``AwayError``
        when the server is gone, ``SilentError`` when it may be this request that it fails at.
    RefusedError
        From :meth:`ask`: when the server refuses this request; ``UnansweredError`` when it never
        answers it while it answers others, ``GarbledReplyError`` when the answer is none.
    """

    endpoint: Endpoint
    pace: Pace = field(default_factory=Pace)
    patience: Patience = field(default_factory=Patience)
    key: str | None = None
    remote: bool = False
    role: str = "server"
    option: str = "address and model"
    key_variable: str = "the settings"
    tell: Callable[[str], object] = lambda words: None
    sent: int = 0
    answered: int = 0
    _limit: str | None = field(default=None, init=False)
    """How this server names the longest answer; None until it has answered."""

    async def __aenter__(self) -> Self:
        headers = {"Host": self.endpoint.host}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        self._jitter = random.Random(0)
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(self.patience.timeout, connect=20),
            limits=httpx.Limits(max_connections=None),
            follow_redirects=False,
            # A proxy of the environment may lie outside the network.
            trust_env=self.remote,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def ask(self, request: dict[str, Any]) -> Answer:
        """Send a chat completion's request and return the answer.

        Parameters
        ----------
        request
            The body: model, messages, sampling.
        """
        limit = self._limit or _LIMIT
        try:
            answer = await self._ask(_limited(request, limit))
        except RefusedError as error:
            if self._limit or _LIMIT not in request or not _is_about_the_limit(error):
                raise
            limit = _LATER_LIMIT
            answer = await self._ask(_limited(request, limit))
        if _LIMIT in request:
            self._limit = limit
        return answer

    async def _ask(self, request: dict[str, Any]) -> Answer:
        last, before, is_there = "", self.answered, True
        for number in range(self.patience.tries):
            with queueing():
                await self.pace.turn()
            self.sent += 1
            wait = self._wait(number)
            try:
                reply = await self._client.post(
                    self.endpoint.url,
                    json=request,
                    extensions={"sni_hostname": self.endpoint.server_name},
                )
            except httpx.TransportError as error:
                last = f"{type(error).__name__} {error}".strip()
                is_there = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                self._hold(wait, number, last)
                continue
            if reply.status_code == 200:
                self.answered += 1
                return _read(reply)
            last, is_there = f"HTTP {reply.status_code}", True
            self._judge(reply)
            asked = retry_after(reply.headers.get("retry-after"))
            if asked is not None and asked > self.patience.longest_pause:
                raise AwayError(
                    f"The {self.role} asks to come back in {asked:.0f} seconds. Answers so far are "
                    "kept: run the same command then."
                )
            self._hold(wait if asked is None else asked, number, last)
        if self.answered > before:  # the server is well: it is this request
            raise UnansweredError(f"no answer in {self.patience.tries} tries ({last})")
        raise (SilentError if is_there else AwayError)(
            f"{self._who} did not answer in {self.patience.tries} tries "
            f"({last}). Answers so far are kept: run the same command when it is well again."
        )

    @property
    def _who(self) -> str:
        return f"The {self.role} at {self.endpoint.host}"

    def _hold(self, seconds: float, number: int, why: str) -> None:
        self.pace.hold(seconds)
        tries = f"try {number + 1} of {self.patience.tries}"
        self.tell(f"no answer ({why}), {tries}: waiting {seconds:.0f} s")

    def _wait(self, number: int) -> float:
        doubled: float = self.patience.first_wait * 2**number
        return min(doubled, self.patience.longest_wait) * self._jitter.uniform(0.75, 1.25)

    def _judge(self, reply: httpx.Response) -> None:
        status = reply.status_code
        if status in _FATAL:
            why = _FATAL[status].format(key=self.key_variable, option=self.option)
            raise ChatError(f"{self._who} {why}")
        if reply.is_redirect:
            raise ChatError(
                f"{self._who} redirects elsewhere, which is not followed. Name the address itself."
            )
        if status not in _AGAIN:
            raise RefusedError(f"HTTP {status}: {_message(reply)}")


def _read(reply: httpx.Response) -> Answer:
    try:
        content = reply.json()
        choice = content["choices"][0]
        usage = content.get("usage") or {}
        message = choice["message"]
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        return Answer(
            _whole(str(message.get("content") or "")),
            choice.get("finish_reason"),
            (int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)),
            _whole(reasoning) if isinstance(reasoning, str) else "",
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise GarbledReplyError("the reply is no chat completion") from error


def _whole(text: str) -> str:
    """JSON can hold half a character, a file cannot."""
    return text.encode(errors="replace").decode()


def _limited(request: dict[str, Any], name: str) -> dict[str, Any]:
    return {name if key == _LIMIT else key: value for key, value in request.items()}


def _is_about_the_limit(error: RefusedError) -> bool:
    said = str(error)
    return said.startswith(_MISWORDED) and _LIMIT in said


def _message(reply: httpx.Response) -> str:
    """The server's own words, one line of them."""
    try:
        content = reply.json()
        error = content.get("error") or content
        said = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        said = None
    words = "".join(c if c.isprintable() else " " for c in str(said or reply.text))
    return " ".join(words.split())[:200]
