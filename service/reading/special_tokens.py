"""Qwen2.5-VL's special tokens, and how they are kept out of callers' text."""

from __future__ import annotations

import re

SPECIAL_TOKENS: tuple[str, ...] = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""In the order of Qwen2.5-VL's tokenizer."""

_MARK = re.compile("([<>|])")
_MARKS = frozenset("<>|")
_LONGEST_TAG = 24
_THINK = re.compile(r"\s*/?\s*think\s*", re.IGNORECASE)


def strip_special_tokens(text: str) -> str:
    """Remove every ``<|…|>`` and every think tag, and what removing one puts together.

    The whole family goes, whether the tokenizer at hand knows the token or not. Takes time in
    proportion to the text, however deep tokens are put into one another: every token ends with
    ``>``, so it is enough to look back there, at the two marks before it.
    """
    kept: list[str] = []
    marks: list[int] = []  # where <, > and | stand in what is kept
    for piece in _MARK.split(text):
        kept.append(piece)
        if piece not in _MARKS:
            continue
        marks.append(len(kept) - 1)
        if piece != ">":
            continue
        start = _token_start(kept, marks)
        if start is not None:
            del kept[start:]
            while marks and marks[-1] >= start:
                marks.pop()
    return "".join(kept)


def _token_start(kept: list[str], marks: list[int]) -> int | None:
    """Where the token begins that the ``>`` just read ends, if it ends one."""
    if len(marks) >= 4:
        opening, first, last, end = marks[-4:]
        signs = kept[opening] + kept[first] + kept[last]
        if signs == "<||" and not _between(kept, opening, first) and not _between(kept, last, end):
            return opening
    if len(marks) >= 2:
        opening, end = marks[-2:]
        inner = _between(kept, opening, end) if kept[opening] == "<" else ""
        if len(inner) <= _LONGEST_TAG and _THINK.fullmatch(inner):
            return opening
    return None


def _between(kept: list[str], first: int, last: int) -> str:
    return "".join(kept[first + 1 : last])
