"""Every flag that reading a text can raise, with what it says; listed in docs/grounded-text.md."""

from __future__ import annotations

from service.notice import Notice

DETAILS = {
    "think-missing": (
        "The model did not mark its reasoning; what precedes a boxed answer was read as such."
    ),
    "think-unopened": (
        "The reasoning closes without having been opened; it was read from the start."
    ),
    "think-unclosed": "The model did not close its reasoning.",
    "think-unexpected": "The model reasoned although it was not asked to.",
    "text-before-think": "The model wrote something before its reasoning, which was left out.",
    "cut-off": "The text was cut off at the length limit.",
    "answer-not-boxed": "The answer is not in \\boxed{}; the text after the reasoning was taken.",
    "answer-unbalanced": "The answer's \\boxed{} never closes; the text up to the end was taken.",
    "answer-in-think": "The only \\boxed{} stands within the reasoning; it was taken from there.",
    "answer-empty": "The model gave no answer.",
    "text-beside-answer": "The model wrote more beside its boxed answer, which was left out.",
    "box-in-answer": "The answer holds a box, left as written in the model's own coordinates.",
    "box-malformed": "A bracket that was meant for a box does not hold four numbers.",
    "box-not-finite": "A box holds a number that is not finite.",
    "box-inverted": "A box had its corners the wrong way round; they were put in order.",
    "box-empty": "A box has no area.",
    "box-out-of-range": "A box was written partly or wholly outside the image.",
    "box-image-assumed": (
        "A box does not say which image it is on; that named last, else the first, was assumed."
    ),
    "box-clipped": "A box overshot the film and was clipped to it.",
    "box-outside-film": "A box lies wholly outside the film and is left out.",
}


def describe(code: str) -> Notice:
    """Return the notice of a code."""
    return Notice(code, DETAILS[code])
