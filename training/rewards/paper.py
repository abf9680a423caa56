"""The published reward of DeepMedix-R1, its quirks included.

The rule is that of the project's public repository (``src/reward.py``): 0.9 times accuracy, 0.1
times format, and up to 0.15 for boxes. It is here to reproduce the paper and to be compared with;
what it pays for without wanting to is in ``docs/rewards.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer

from training.rewards.protocol import Rollout

FORMAT_WEIGHT = 0.1
COORDINATE_LIMIT = 512
_ACCURACY_SCALE = 1.5
_PER_BOX, _PER_BOX_OUTSIDE, _MOST_FOR_BOXES = 0.05, -0.2, 0.15
_MOST_WORDS_OF_A_LIST, _MOST_WORDS_OF_A_LABEL = 20, 2

_MARKUP = re.compile(r"([<>/])")
_IN_ORDER = ("<think>", "</think>", "\\boxed{", "}")
_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)"
"""The same numbers as ``[-+]?\\d*\\.?\\d+`` finds, without its ways to try one again."""
_BOX = re.compile(rf"\[({_NUMBER}(?:,\s*{_NUMBER}){{3}})\]")
_BOXED = "\\boxed{"
_SMOOTHING = SmoothingFunction().method2
_ROUGE_1 = RougeScorer(["rouge1"], use_stemmer=True)


def score(completion: str, reference: str) -> dict[str, float]:
    """Score one completion against its reference answer.

    Parameters
    ----------
    completion
        The whole text: think-block and answer.
    reference
        The answer wanted: a report section, a word or two, or a list separated by ``|``.

    Returns
    -------
    dict
        ``overall`` (at most 1.6), ``format`` (0 or 1), ``accuracy`` (0 to 1.5) and ``coordinate``
        (at most 0.15, without a floor).
    """
    text = without_space_around_markup(completion)
    parts = {
        "format": float(in_form(text)),
        "accuracy": _ACCURACY_SCALE * accuracy(boxed_answer(text), reference),
        "coordinate": coordinate(text),
    }
    overall = (
        (1 - FORMAT_WEIGHT) * parts["accuracy"]
        + FORMAT_WEIGHT * parts["format"]
        + parts["coordinate"]
    )
    return {"overall": overall, **parts}


def paper(rollouts: Sequence[Rollout]) -> list[Mapping[str, float]]:
    """:func:`score` of every rollout against its example's answer."""
    return [score(rollout.completion, rollout.example.answer) for rollout in rollouts]


def without_space_around_markup(text: str) -> str:
    """The text without white space beside ``<``, ``>`` and ``/``, wherever they stand."""
    first, *others = _MARKUP.split(text)
    if not others:
        return text
    *others, last = others
    return "".join((first.rstrip(), *(piece.strip() for piece in others), last.lstrip()))


def in_form(text: str) -> bool:
    r"""Whether a text begins with a think-block, and ``\boxed{``, then a brace, follow it.

    What the original's pattern ``<think>.*</think>.*\boxed{.*}.*`` finds of the whole text, in one
    pass: a pattern takes seconds over a long text of tags.
    """
    if not text.startswith(_IN_ORDER[0]):
        return False
    position = 0
    for mark in _IN_ORDER:
        found = text.find(mark, position)
        if found < 0:
            return False
        position = found + len(mark)
    return True


def boxed_answer(text: str) -> str:
    r"""Content of the last ``\boxed{}``, braces counted, stripped.

    ``None`` as a word where there is none or it is never closed; one space where it is empty.
    """
    start = text.rfind(_BOXED)
    if start < 0:
        return "None"
    content, depth = text[start + len(_BOXED) :], 0
    for index, character in enumerate(content):
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return content[:index].strip() or " "
    return "None"


def accuracy(answer: str, reference: str) -> float:
    """Agreement of an answer with its reference, 0 to 1, by the kind of reference."""
    words = len(reference.split())
    if "|" in reference and words <= _MOST_WORDS_OF_A_LIST:
        return _list_f1(answer, reference)
    if words <= _MOST_WORDS_OF_A_LABEL:
        return float(answer.lower() == reference.lower())
    # Strings, not words: BLEU counts characters here, as the original does.
    bleu_1, bleu_4 = (
        float(sentence_bleu([reference], answer, weights=weights, smoothing_function=_SMOOTHING))
        for weights in ((1, 0, 0, 0), (0.25, 0.25, 0.25, 0.25))
    )
    rouge_1 = float(_ROUGE_1.score(answer, reference)["rouge1"].fmeasure)
    return (bleu_1 + bleu_4 + rouge_1) / 3


def coordinate(text: str) -> float:
    """What the boxes of the first think-block earn; where they lie does not matter."""
    _, _, after = text.partition("<think>")
    thought, closed, _ = after.partition("</think>")
    value = 0.0
    for numbers in _BOX.findall(thought) if closed else ():
        # Stripped, as float() itself does not take every white space that the pattern does.
        inside = max(float(number.strip()) for number in numbers.split(",")) <= COORDINATE_LIMIT
        value += _PER_BOX if inside else _PER_BOX_OUTSIDE
    return min(value, _MOST_FOR_BOXES)


def _list_f1(answer: str, reference: str) -> float:
    """F1 of two lists; an item named twice counts twice in its list and once as right."""
    said, wanted = (
        [item.strip().lower() for item in text.strip().split("|")] for text in (answer, reference)
    )
    right = len(set(said) & set(wanted))
    precision, recall = right / len(said), right / len(wanted)
    return 2 * (precision * recall) / (precision + recall) if right else 0.0
