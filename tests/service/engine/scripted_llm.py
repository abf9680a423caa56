"""Stands in for vLLM's ``AsyncLLM``: plays a script of outputs, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any


def output(text: str, tokens: int = 1, finish_reason: str | None = None) -> Any:
    """One of vLLM's request outputs, as far as the engine reads it."""
    completion = SimpleNamespace(
        text=text, token_ids=list(range(tokens)), finish_reason=finish_reason
    )
    return SimpleNamespace(
        outputs=[completion], finished=finish_reason is not None, prompt_token_ids=[0] * 9
    )


class ScriptedLLM:
    """Plays ``script``: outputs are yielded, exceptions raised, ``None`` waits for ever."""

    def __init__(self, *script: Any) -> None:
        self.script = script
        self.calls: list[tuple[Any, Any, str]] = []
        self.aborted: list[str] = []
        self.waiting = asyncio.Event()
        self.errored = False
        self.shut_down = 0
        self.output_handler = None
        self.output_processor = self
        self._error: asyncio.Future[None] = asyncio.Future()

    async def generate(
        self, prompt: Any, params: Any, name: str, *, trace_headers: Any = None
    ) -> AsyncIterator[Any]:
        self.calls.append((prompt, params, name))
        for item in self.script:
            if item is None:
                self.waiting.set()
                await self._error
            if isinstance(item, BaseException):
                raise item
            yield item

    def propagate_error(self, error: Exception) -> None:
        self._error.set_exception(error)
        self._error.exception()  # seen, whether or not anybody waits

    async def abort(self, name: str) -> None:
        self.aborted.append(name)

    async def check_health(self) -> None:
        if self.errored:
            raise RuntimeError("dead")

    def shutdown(self) -> None:
        self.shut_down += 1


class ScriptedTokenizer:
    """One token for each character, and one for each of Qwen's special tokens."""

    SPECIAL = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>")

    def get_vocab(self) -> dict[str, int]:
        return {token: 1_000_000 + i for i, token in enumerate(self.SPECIAL)}

    def convert_tokens_to_ids(self, token: str) -> int:
        return self.get_vocab()[token]

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        ids = []
        while text:
            token = next((t for t in self.SPECIAL if text.startswith(t)), text[0])
            ids.append(self.get_vocab().get(token, ord(token[0])))
            text = text[len(token) :]
        return ids

    def apply_chat_template(
        self, messages: Any, *, chat_template: str, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        from jinja2 import Template

        return Template(chat_template).render(messages=messages)
