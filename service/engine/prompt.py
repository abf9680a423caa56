"""From the text of the user's turn to the token ids that the model reads."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from service.engine.manifest import Manifest, ManifestError
from service.engine.protocol import GenerationRequest, PromptTooLong, TooManyImages
from service.reading import SPECIAL_TOKENS

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
"""What stands for one image in the prompt; vLLM repeats the middle one for every visual token."""

IMAGE_PAD = "<|image_pad|>"
_SPECIAL = re.compile(r"<\|[^<>|]*\|>")
_TURN_ENDS = ("<|im_end|>", "<|endoftext|>")


class PromptBuilder:
    """Applies a checkpoint's own chat template: images first, then the text, as one user turn.

    Parameters
    ----------
    tokenizer
        The checkpoint's, of transformers; copied, since vLLM uses its own from another thread.
    chat_template
        The checkpoint's.
    manifest
        Of the checkpoint.
    max_images
        Most images of one request.
    max_model_len
        Tokens of prompt, images and reply together.

    Raises
    ------
    ManifestError
        When the template or the tokenizer is not what a Qwen2.5-VL checkpoint needs.
    """

    def __init__(
        self,
        tokenizer: Any,
        chat_template: str,
        manifest: Manifest,
        *,
        max_images: int,
        max_model_len: int,
    ) -> None:
        self._tokenizer = copy.deepcopy(tokenizer)
        self._template = chat_template
        self._side = manifest.pixels.patch_size * manifest.pixels.merge_size
        self._max_images = max_images
        self._max_model_len = max_model_len
        self.suppressed = self._special_ids()
        self._check_template()

    def encode(self, request: GenerationRequest) -> list[int]:
        """Return the prompt's token ids, with one placeholder for each image.

        Raises
        ------
        TooManyImages
            When the request holds more images than the checkpoint takes.
        PromptTooLong
            When no token is left for the reply.
        ValueError
            When an image is not an RGB image on the checkpoint's grid.
        """
        if len(request.images) > self._max_images:
            raise TooManyImages(self._max_images)
        text = self._render(len(request.images), _without_special_tokens(request.prompt))
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        if self.length(ids, request) >= self._max_model_len:
            raise PromptTooLong()
        return ids

    def length(self, ids: Sequence[int], request: GenerationRequest) -> int:
        """Return how many tokens the model reads once every image has its visual tokens."""
        tokens = len(ids) - len(request.images)
        for image in request.images:
            height, width, channels = image.shape
            if channels != 3 or height % self._side or width % self._side or image.dtype != "uint8":
                raise ValueError("an image must be RGB, 8 bit and on the checkpoint's pixel grid")
            tokens += (width // self._side) * (height // self._side)
        return tokens

    def _render(self, images: int, text: str) -> str:
        content = [{"type": "image"} for _ in range(images)] + [{"type": "text", "text": text}]
        rendered: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=True,
        )
        return rendered

    def _special_ids(self) -> tuple[int, ...]:
        """Ids that a text can have no use for: all special tokens but those that end a turn."""
        vocabulary = self._tokenizer.get_vocab()
        missing = [token for token in (IMAGE_PAD, *_TURN_ENDS[:1]) if token not in vocabulary]
        if missing:
            raise ManifestError(
                f"The checkpoint's tokenizer lacks {', '.join(missing)}. Restore tokenizer.json."
            )
        return tuple(
            vocabulary[token]
            for token in SPECIAL_TOKENS
            if token in vocabulary and token not in _TURN_ENDS
        )

    def _check_template(self) -> None:
        probe = "Is the heart enlarged?"
        try:
            whole = self._render(2, probe)
        except Exception as error:  # a template can fail in any way; the cause is kept
            raise ManifestError(
                "The checkpoint's chat template cannot be applied. Restore chat_template.jinja."
            ) from error
        pads = self._tokenizer.encode(whole, add_special_tokens=False).count(
            self._tokenizer.convert_tokens_to_ids(IMAGE_PAD)
        )
        if IMAGE * 2 + probe not in whole or pads != 2:
            raise ManifestError(
                "The checkpoint's chat template does not put one image placeholder for each image "
                "before the text. Restore chat_template.jinja."
            )


def _without_special_tokens(text: str) -> str:
    """Remove what the tokenizer could read as a special token.

    The rooms before have done so with callers' text. This is the last door, and it keeps the
    ``<think>`` tags of the prompt's own instruction, which are ordinary text to the tokenizer.
    """
    while (stripped := _SPECIAL.sub("", text)) != text:
        text = stripped
    return text
