"""Join what stands around brackets so that it reads as if they had never been there."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONNECTOR = re.compile(r"(?:[,;/&]|and|or|, ?and|& )?", re.I)
_LEAD = re.compile(
    r"(?<=[\w)%])[ ,]{1,2}(?:(?:at|in|within|with|around|inside|on|by|see)(?: (?:the )?(?:boxes|box"
    r"|bounding box(?:es)?|bbox|coordinates?))?|bounding box(?:es)?|bbox|coordinates?)[:=]?$"
    r"|(?<=\()see:?$",
    re.I,
)
_LOOK_BACK = 64
_GLUED = re.compile(r"[,;:!?)]|\.(?!\d)")
_LEFT_OVER = re.compile(r"(?:[ ,;:)\]\u2013\u2014]|\.(?!\d))*")
"""Marks that nothing stands before any more; the point of *.5 cm* is none."""


def readable(segments: Sequence[str]) -> str:
    """Join the text between removed brackets.

    Parameters
    ----------
    segments
        Text before the first bracket, between each and the next, and after the last.

    Returns
    -------
    str
        One line with single spaces: no space before a mark, no empty pair of brackets, no word
        such as ``at`` or ``and`` left hanging where a bracket was.
    """
    parts = [" ".join(segments[0].split())]
    spaced = [" ".join(segment.split()) for segment in segments[1:]]
    for index, after in enumerate(spaced):
        last = index == len(spaced) - 1
        if not last and _CONNECTOR.fullmatch(after):
            continue
        _join(parts, after)
    text = "".join(parts).strip()
    if spaced:
        text = text.rstrip(" ,:;([\u2013\u2014")
        text = text[:-2] if text.endswith(" -") else text
    return text


def _join(parts: list[str], after: str) -> None:
    """Append what follows a removed bracket, and mend the end of what stood before it."""
    before = parts[-1]
    end = before[-_LOOK_BACK:]
    lead = _LEAD.search(end)
    if lead is not None:
        before = before[: len(before) - len(end) + lead.start()]
    for opening, closing in ("()", "[]"):
        # An outer pair that held nothing else.
        if before.endswith(opening):
            if after.startswith(closing):
                before, after = before[:-1].rstrip(), after[1:].lstrip()
            else:
                after = after.lstrip(",;: ")
    if not before and len(parts) == 1:
        parts[:] = [_LEFT_OVER.sub("", after, count=1)]
        return
    if _GLUED.match(after):
        parts[-1] = before if after[0] == ")" else before.rstrip(" ,;:")
        parts.append(after)
        return
    parts[-1] = before
    tight = not after or not before or before[-1] in "([\"'"
    parts.append(after if tight else f" {after}")
