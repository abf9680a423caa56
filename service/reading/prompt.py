"""The text of the user's turn."""

from __future__ import annotations

import re

from service.problem import Problem
from service.reading.conventions import ClinicalContext, Conventions, Mode, Task
from service.reading.special_tokens import strip_special_tokens

_CONTEXT = ("indication", "technique", "comparison", "prior_report")
MOST_IMAGES = 4
"""Of one request, as DeepMedix-R1 was trained."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def build_prompt(
    conventions: Conventions,
    task: Task,
    mode: Mode,
    *,
    question: str | None = None,
    context: ClinicalContext | None = None,
    images: int = 1,
) -> str:
    """Return the text of the user's turn, exactly as the checkpoint's manifest states it.

    Images come before it, as the chat template places them. Lines of clinical context come first,
    then the question, then the instruction to think, where it is asked for. Callers' text is
    cleaned of special tokens, think tags, control characters and unpaired surrogates.

    Parameters
    ----------
    conventions
        Of the checkpoint.
    task, mode
        What is asked, and whether to reason first.
    question
        For ``Task.VQA``, and used there alone.
    context
        What the caller knows of the patient; what is missing or blank leaves no line.
    images
        How many images are shown, 1 to 4.

    Raises
    ------
    Problem
        ``invalid-field`` where nothing of the question is left.
    ValueError
        When there are no images, or more than four.
    """
    if not 1 <= images <= MOST_IMAGES:
        raise ValueError(f"images must number 1 to {MOST_IMAGES}")
    prompts = conventions.prompts
    if task is Task.VQA:
        asked = _clean(question)
        if not asked:
            raise Problem(
                "invalid-field",
                422,
                "The question holds no words.",
                "Ask in words; special tokens and control characters are taken out of a question.",
            )
    else:
        asked = prompts.findings if task is Task.FINDINGS else prompts.impression
    known = [(name, _clean(getattr(context, name))) for name in _CONTEXT] if context else []
    lines = [getattr(prompts, name).replace("{text}", text) for name, text in known if text]
    prompt = "\n".join([*lines, asked])
    return f"{prompt}\n{prompts.think_instruction}\n" if mode is Mode.THINK else prompt


def _clean(text: str | None) -> str:
    """What of a caller's text reaches the model.

    Control characters go first, so that taking one out cannot make a token; a tokenizer cannot
    encode an unpaired surrogate.
    """
    visible = _SURROGATE.sub("\ufffd", _CONTROL.sub("", text or ""))
    return strip_special_tokens(visible).strip()
