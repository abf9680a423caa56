"""The grounded text as a grammar, for vLLM's structured outputs (xgrammar's EBNF)."""

from __future__ import annotations

from collections.abc import Sequence

from service.reading.conventions import Mode

# No bracket, brace or backslash, so that neither a box nor \boxed{} can begin; no semicolon, which
# would end the step; "<" only where no tag can come of it. A first character is neither white space
# nor a mark, so that something is left of the text when it is read.
_SPACES = r"\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_STEP = r"\[\]{}<;\\\x00-\x20\x7f"
_ANSWER = r"\[\]{}<\\\x00-\x20\x7f"
_LONGEST_WORD = 32
_CHARACTERS_PER_WORD = 5


def grounded_text_grammar(
    mode: Mode,
    *,
    extents: Sequence[tuple[float, float]],
    max_steps: int = 24,
    max_step_characters: int = 200,
    max_boxes: int = 8,
    max_answer_characters: int = 2000,
) -> str:
    """EBNF of texts that always parse: everything is bounded, so every text comes to an end.

    Coordinates are whole numbers within the largest image. That x_min < x_max cannot be said in a
    grammar of useful size, nor which image a box is on: the parser orders and flags those.

    Text is bounded in words, one for every five characters allowed, each of at most 32: xgrammar
    counts words at no cost, where counting hundreds of characters takes it seconds to compile, and
    alternatives among them a tenth of a second for every token. A token limit that is lower can
    still cut a text off, which the parser flags.

    Parameters
    ----------
    mode
        With reasoning, or the answer alone as plain text.
    extents
        Width and height of each image in the checkpoint's box space.
    max_steps, max_step_characters, max_boxes, max_answer_characters
        Bounds of the text; ``max_boxes`` of each step.

    Raises
    ------
    ValueError
        When there is no image, an image without area, or a bound below 1.
    """
    bounds = (max_steps, max_step_characters, max_boxes, max_answer_characters)
    if min(bounds) < 1:
        raise ValueError("bounds must be at least 1")
    if not extents or min(min(extent) for extent in extents) <= 0:
        raise ValueError("extents must hold the size of at least one image")
    answer = _text("answer", _ANSWER, r"[ \n]{1,4}", max_answer_characters)
    if mode is Mode.ANSWER:
        return "\n".join(["root ::= answer", *answer, ""])
    width = int(max(extent[0] for extent in extents))
    height = int(max(extent[1] for extent in extents))
    return "\n".join(
        [
            'root ::= "<think> " steps " </think>. The answer is: \\\\boxed{" answer "}" "."?',
            f'steps ::= "" | step ("; " step){{0,{max_steps - 1}}}',
            f'step ::= text (" " box){{0,{max_boxes}}}',
            *_text("text", _STEP, '" "', max_step_characters),
            'box ::= "[" x ", " y ", " x ", " y "]"',
            f"x ::= {whole_numbers(width)}",
            f"y ::= {whole_numbers(height)}",
            *answer,
            "",
        ]
    )


def _text(name: str, excluded: str, gap: str, characters: int) -> list[str]:
    """Rules of a text of bounded words: the next character always says which word it is in."""
    more = max(characters // _CHARACTERS_PER_WORD, 1) - 1
    any_one, first = f"[^{excluded}]", f"[^{excluded}{_SPACES},.:]"
    return [
        f"{name} ::= {name}_first ({name}_gap {name}_word){{0,{more}}}",
        f"{name}_first ::= {first} {any_one}{{0,{_LONGEST_WORD - 1}}} | {name}_less",
        f"{name}_word ::= {any_one}{{1,{_LONGEST_WORD}}} | {name}_less",
        f'{name}_less ::= "<" [0-9=] {any_one}{{0,{_LONGEST_WORD - 2}}}',
        f"{name}_gap ::= {gap}",
    ]


def whole_numbers(most: int) -> str:
    """Alternatives of a rule that matches 0 to ``most`` without leading zeros.

    Raises
    ------
    ValueError
        For a negative bound.
    """
    if most < 0:
        raise ValueError("most must not be negative")
    digits = str(most)
    rules = []
    for length in range(1, len(digits)):
        first = "[0-9]" if length == 1 else "[1-9]"
        rules.append(" ".join([first] + ["[0-9]"] * (length - 1)))
    for place, digit in enumerate(digits):
        low = 1 if place == 0 and len(digits) > 1 else 0
        high = int(digit) - (place < len(digits) - 1)
        if high < low:
            continue
        span = f"[{low}-{high}]" if high > low else f'"{low}"'
        before = [f'"{digits[:place]}"'] if place else []
        rules.append(" ".join([*before, span] + ["[0-9]"] * (len(digits) - place - 1)))
    return " | ".join(rules)
