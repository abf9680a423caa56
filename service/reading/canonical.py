"""Read at once a text that is written as training's targets are, or with a line for each step.

Most texts of a trained checkpoint are, and a reward reads thousands of them. Anything out of the
ordinary, a single character even, is left to the parser that reads everything; where this one
answers, both give the same (property-tested).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from math import inf

from service.reading.boxes import ROUNDING
from service.reading.brackets import find_brackets
from service.reading.step_splitter import ends_in_an_abbreviation
from service.reading.text import ParsedBox, ParsedStep, ParsedText

_NUMBERS = r"\[\d{1,4}, \d{1,4}, \d{1,4}, \d{1,4}\]"
_STEP = rf"[A-Z][A-Za-z0-9 ,-]*[a-z](?: {_NUMBERS})*"
_SEPARATOR = r"(?:; |\.?\n(?:- )?)"
_WHOLE = re.compile(
    rf"<think>([ \n](?:- )?{_STEP}(?:{_SEPARATOR}{_STEP})*\.?[ \n])</think>\. The answer is: "
    r"\\boxed\{([A-Za-z0-9](?:[A-Za-z0-9 ,.|%:;/'()-]*[A-Za-z0-9.)%])?)\}\.?"
)
_APART = re.compile(r"; |\n")
_LEADS = "and or at in within with around inside on by see box boxes bbox coordinate coordinates"
_LOOK_BACK = 12
_LEADING_UP = frozenset(_LEADS.split())
"""What the readable text loses beside a box."""


@lru_cache(maxsize=4096)
def _leads_up(words: str) -> bool:
    return words.rpartition(" ")[2].rpartition(",")[2].lower() in _LEADING_UP


def read_canonical(
    text: str, *, extents: Sequence[tuple[float, float]] | None = None
) -> ParsedText | None:
    """Read a whole text of think mode over one image; None where the form is another.

    A text with a flag of any kind is left to the parser, too.
    """
    whole = _WHOLE.fullmatch(text)
    if whole is None:
        return None
    block, answer = whole.groups()
    if "(" in answer and find_brackets(answer):
        return None
    lower = block.lower()
    # What may name an image or an enumerator; runs of spaces.
    if "image" in lower or "film" in lower or "radiograph" in lower or "step" in lower:
        return None
    if "  " in block:
        return None
    right, bottom = extents[0] if extents else (inf, inf)
    right, bottom = right + ROUNDING, bottom + ROUNDING
    if block.endswith(". "):
        block = block[:-1]
        if ends_in_an_abbreviation(block[-_LOOK_BACK:]):
            return None
    steps = []
    # A separator keeps no white space, the block does.
    for raw in block.split("; ") if "\n" not in block else filter(None, _APART.split(block)):
        words, bracket, written = raw.strip().removeprefix("- ").partition(" [")
        if _leads_up(words):
            return None
        if not bracket:
            steps.append(ParsedStep(words, (), raw))
            continue
        if written[-1] == ".":
            written, words = written[:-1], f"{words}."
        boxes = []
        for numbers in written[:-1].split("] ["):
            left, top, far, low = numbers.split(", ")
            values = x0, y0, x1, y1 = float(left), float(top), float(far), float(low)
            if not (x0 < x1 <= right and y0 < y1 <= bottom):
                return None  # it has a flag
            boxes.append(ParsedBox(values, 0, (), values))
        steps.append(ParsedStep(words, tuple(boxes), raw))
    return ParsedText(tuple(steps), answer, (), complete=True)
