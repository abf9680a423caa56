"""Find the answer: the last balanced ``\\boxed{…}``, or what stands in for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.reading.brackets import find_brackets

# A brace counts unless a backslash stands before it that is not itself escaped.
# Without groups, so that the engine leaps from one such character to the next.
_TOKEN = re.compile(r"\\boxed\s{0,3}\{|\\\\(?!boxed)|\\\{|\\\}|\{|\}")
_PREFIX = re.compile(
    r"\s*(?:(?:so|therefore|thus|hence)[,\s]{1,3})?(?:the\s{1,3})?(?:final\s{1,3})?"
    r"answer(?:\s{1,3}is\b\s{0,3}:?|\s{0,3}:)\s*",
    re.IGNORECASE,
)
_ANNOUNCEMENT = re.compile(
    r"(?<![^\s.;,:!?])(?:(?:so|therefore|thus|hence)[,\s]{1,3})?(?:the\s{1,3})?(?:final\s{1,3})?"
    r"answer(?:\s{1,3}is)?[\s:]{0,4}$",
    re.IGNORECASE,
)
_LONGEST_ANNOUNCEMENT = 64
_MARKS = re.compile(r"(?:[ \t\r\n,:;]|\.(?!\d))*")
_ANNOUNCING = frozenset(["so", "therefore", "thus", "hence", "the", "final", "answer", "is"])
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """An answer and where it was found.

    Attributes
    ----------
    text
        Readable.
    start, end
        Where it lies in what was searched, ``\\boxed{`` and brace included.
    codes
        ``answer-not-boxed``, ``answer-unbalanced``, ``box-in-answer``.
    """

    text: str
    start: int
    end: int
    codes: tuple[str, ...] = ()


def find_answer(text: str) -> FoundAnswer:
    """Return the answer that a text holds, or that it is.

    The last ``\\boxed{}`` whose braces balance, by where it begins; nested in another, it is the
    inner one, as in the published reward. Where none balances, what follows the last that is left
    open; where there is none, the text without ``The answer is:``.
    """
    balanced, left_open = _scan(text)
    if balanced is not None:
        start, inner, close = balanced
        return _found(text[inner:close], start, close + 1)
    if left_open is not None:
        start, inner = left_open
        return _found(text[inner:], start, len(text), "answer-unbalanced")
    return _found(without_announcement(text), 0, len(text), "answer-not-boxed")


def has_boxed(text: str, *, balanced: bool = False) -> bool:
    """Whether there is a ``\\boxed{``, or one whose braces balance."""
    whole, left_open = _scan(text)
    return whole is not None or (left_open is not None and not balanced)


def without_announcement(text: str) -> str:
    """Return an unboxed answer without ``The answer is:`` before it."""
    return text[match.end() :].strip() if (match := _PREFIX.match(text)) else text.strip()


def before_announcement(text: str) -> str:
    """Return reasoning without the ``The answer is:`` that it ends with."""
    match = _ANNOUNCEMENT.search(text[-_LONGEST_ANNOUNCEMENT:].rstrip())
    if match is None:
        return text
    return text[: max(len(text) - _LONGEST_ANNOUNCEMENT, 0) + match.start()]


def after_reasoning(text: str) -> str:
    """Return what follows a think-block without the marks that close its sentence."""
    return _MARKS.sub("", text, count=1)


def only_announces(text: str) -> bool:
    """Whether there is nothing but ``The answer is`` and marks around an answer."""
    return all(word.lower() in _ANNOUNCING for word in _WORD.findall(text.replace("\\boxed", " ")))


def _found(answer: str, start: int, end: int, *codes: str) -> FoundAnswer:
    answer = answer.strip()
    if find_brackets(answer):
        codes = (*codes, "box-in-answer")
    return FoundAnswer(answer, start, end, codes)


def _scan(text: str) -> tuple[tuple[int, int, int] | None, tuple[int, int] | None]:
    """Find the last ``\\boxed{}`` that balances and the last that does not, in one pass.

    Returns
    -------
    tuple
        Begin, begin of the contents and place of the closing brace; begin and begin of the
        contents.
    """
    balanced: tuple[int, int, int] | None = None
    opened: list[tuple[int, int] | None] = []
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token.startswith("\\boxed"):
            opened.append(match.span())
        elif token == "{":
            opened.append(None)
        elif token == "}" and opened:
            boxed = opened.pop()
            if boxed is not None and (balanced is None or boxed[0] > balanced[0]):
                balanced = (*boxed, match.start())
    left_open = next((boxed for boxed in reversed(opened) if boxed is not None), None)
    return balanced, left_open
