"""How much longer a completion is than what it says takes, in whatever signs.

Length is counted in bytes of UTF-8: words, signs, pictures, white space and words of a thousand
letters all cost a tokenizer about as many. A model that is paid for none of it has no reason to
write it, and one that pads is slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from service.reading import ParsedText

_WORDS_AND_SPACES = bytes(code for code in range(128) if chr(code).isalnum() or chr(code).isspace())
_SIGN = re.compile(r"[^\w\s]|_")
_STEEP = 4
"""Tricks that a text as long as its limit and once more counts."""
_TIMES, _BESIDE = 2.5, 320
"""An answer may have so many times the reference's bytes, or so many."""
_SHORT_TIMES, _SHORT_BESIDE = 3, 112
"""The same of an answer to a question: three times its bytes, and some sixteen words."""
_STEP_TIMES, _STEP = 3, 224
"""A step may have so many times the bytes of the reference's longest, or so many."""
_BLOCK_TIMES, _BLOCK_BESIDE, _OF_AN_UNKNOWN_STEP = 3, 320, 112
"""All steps may have so many times the bytes of the reference's and some; where it has none, so
many for each that is expected."""
_FREE_SIGNS, _BYTES_PER_SIGN = 12, 8
"""Bytes of signs that a text may have, and one more for so many bytes of words."""
_OF_A_BOX, _AROUND_A_STEP, _AROUND = 48, 12, 192
"""Bytes that four numbers in brackets take, a step's number and divider, and all the rest."""
_IDLE_STEP = 80
"""Bytes of a step that names nothing, up to which it counts as one."""


class Bulk(NamedTuple):
    """How long a text is.

    Attributes
    ----------
    size
        Bytes of UTF-8.
    signs
        Those of characters that are neither letter, number nor white space.
    """

    size: int
    signs: int


@lru_cache(maxsize=65_536)
def bulk_of(text: str) -> Bulk:
    """Measure a text."""
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) == len(text):
        return Bulk(len(text), len(encoded.translate(None, _WORDS_AND_SPACES)))
    signs = "".join(_SIGN.findall(text))
    return Bulk(len(encoded), len(signs.encode("utf-8", "surrogatepass")))


class BulkAllowed(NamedTuple):
    """How long a completion may be, in the reference's measure.

    Attributes
    ----------
    answer
        Bytes of the answer.
    answer_signs
        Bytes of the signs of the reference's answer.
    step, steps
        Bytes of one step, and of all together.
    step_signs
        The same of that step of the reference that has most.
    """

    answer: float
    answer_signs: int
    step: float
    steps: float
    step_signs: int


def bulk_allowed(answer: str, steps: Iterable[str], expected: int, report: bool) -> BulkAllowed:
    """What a reference allows.

    Parameters
    ----------
    answer, steps
        The reference's.
    expected
        How many steps a completion may have where the reference has none.
    report
        Whether a report's section is asked for, not an answer.
    """
    own = bulk_of(answer)
    most = max(_TIMES * own.size, _BESIDE) if report else _SHORT_TIMES * own.size + _SHORT_BESIDE
    told = [bulk_of(step) for step in steps]
    block = sum(step.size for step in told)
    return BulkAllowed(
        most,
        own.signs,
        max([_STEP, *(_STEP_TIMES * step.size for step in told)]),
        _BLOCK_TIMES * block + _BLOCK_BESIDE if told else expected * _OF_AN_UNKNOWN_STEP,
        max((step.signs for step in told), default=0),
    )


def padding(
    completion: str, parsed: ParsedText, said: Iterable[Bulk], allowed: BulkAllowed
) -> float:
    """How many tricks a completion's length counts; 0 where no part is longer than allowed.

    The answer, each step, all steps together and what stands around them are each held against
    their own limit, in bytes and in signs.

    Parameters
    ----------
    said
        Of each step, the size of its text.
    """
    most, own_signs, step_most, block_most, step_signs = allowed
    over = 0.0
    size, signs = bulk_of(parsed.answer)
    if size > most:
        over += size / most - 1
    if signs > _FREE_SIGNS:
        over += _signs_over(size, signs, own_signs)
    block = around = 0
    for step, (step_size, signs) in zip(parsed.steps, said, strict=True):
        block += step_size
        around += _AROUND_A_STEP + _OF_A_BOX * len(step.boxes)
        if step_size > step_most:
            over += step_size / step_most - 1
        if signs > _FREE_SIGNS:
            over += _signs_over(step_size, signs, step_signs)
    if block > block_most:
        over += block / block_most - 1
    whole = len(completion)
    if not completion.isascii():
        whole = len(completion.encode("utf-8", "surrogatepass"))
    around += _AROUND
    if (rest := whole - block - size) > around:
        over += rest / around - 1
    return _STEEP * over


def idle_steps_in(size: int) -> float:
    """How many steps a step of so many bytes is that names nothing."""
    return max(1.0, size / _IDLE_STEP)


def _signs_over(size: int, signs: int, own: int) -> float:
    most = _FREE_SIGNS + (size - signs) / _BYTES_PER_SIGN + 2 * own
    return signs / most - 1 if signs > most else 0.0
