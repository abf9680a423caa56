"""What one prediction contributes to every figure: numbers whose sums over studies are enough.

Every figure of a report is a function of sums over its examples, so that a bootstrap of a thousand
resamples is one product of matrices, and paired tests take seconds on thousands of reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nltk.translate.bleu_score import modified_precision

from service.reading import Task
from training.data.example import Example
from training.evaluation.chexpert import NO_FINDING, OBSERVATIONS, observations, present
from training.evaluation.grounding import grounding_columns, kinds, marked, wanted_regions
from training.evaluation.wording import meteor, rouge_l
from training.labels import finding_labels, read_findings
from training.rewards.equivalence import answer_worth
from training.systems.prediction import Prediction

ORDERS = (1, 2, 3, 4)
BINS = 10
"""Of confidence."""
_WORD = re.compile(r"\w+")
_DENIES_DISEASE = re.compile(
    r"\b(?:no|without)\b[^.;]{0,60}?\b(?:abnormalit\w+|process|disease|findings|injury)\b", re.I
)
_BAR = re.compile(r"\|")
_BETWEEN = re.compile(r"[|,;\n]|\band\b|\bor\b")

Columns = dict[str, float]


@dataclass(frozen=True)
class Habits:
    """What decides how one prediction is scored, beside itself.

    Attributes
    ----------
    points
        Whether the system points at places where it is asked such questions.
    reasons
        Whether it writes steps: where it does, one that it leaves out is none that covers.
    located
        Whether the question is one about places, though this film has none to be shown.
    """

    points: bool
    reasons: bool
    located: bool = False


def columns_of(example: Example, prediction: Prediction, habits: Habits | None = None) -> Columns:
    """All columns of one example; what does not apply to it is left out.

    A mean is the sum of its column over the sum of the column that counts what it is a mean of:
    ``n``, ``questions``, ``reports``, ``boxes``, ...

    Parameters
    ----------
    habits
        What the rest of the evaluation says; where not given, what the prediction itself shows.
    """
    if habits is None:
        habits = Habits(points(prediction), bool(prediction.steps))
    columns: Columns = {
        "n": 1,
        "failed": float(prediction.failure is not None),
        "parsed": float(prediction.complete and prediction.failure is None),
        "words": len(prediction.text.split()),
        "steps": len(prediction.steps),
        "seconds": prediction.seconds,
    }
    if example.task is Task.VQA:
        columns |= _answer_columns(example, prediction)
        boxed = habits.points and (habits.located or any(wanted_regions(example)))
    else:
        columns |= _report_columns(prediction.answer, example.answer)
        boxed = example.task is Task.FINDINGS and marked(example)
    if boxed:
        columns |= grounding_columns(example, prediction)
    if habits.reasons:
        columns |= _reasoning_columns(example, prediction)
    return columns


def points(prediction: Prediction) -> bool:
    """Whether the system was asked to point, or did."""
    return prediction.pointing or any(step.boxes for step in prediction.steps)


def _answer_columns(example: Example, prediction: Prediction) -> Columns:
    said, truth = _divided(prediction.answer, example.answer)
    right = float(said == truth)
    question = example.question or ""
    columns: Columns = {
        "questions": 1,
        "exact": float(prediction.answer.strip() == example.answer.strip()),
        "normalised": right,
        "equivalent": answer_worth(
            prediction.answer, example.answer, finding_labels(question), question
        ),
        "set f1": 2 * len(said & truth) / (len(said) + len(truth)) if said or truth else 1.0,
    }
    if prediction.confidence is not None:
        sure = min(max(prediction.confidence, 0.0), 1.0)
        bin_ = min(int(sure * BINS), BINS - 1)
        columns |= {"rated": 1, "brier": (sure - right) ** 2}
        columns |= {f"bin {bin_} sure": sure, f"bin {bin_} right": right}
    return columns


def _divided(said: str, truth: str) -> tuple[frozenset[str], frozenset[str]]:
    """Items of either text: those divided by ``|``, unless only other signs make a list of both.

    Commas and *and* divide where a list is wanted, so that *a, b* is *a | b*; where one thing is
    wanted they do not, so that hedging between two earns nothing.
    """
    items = _items(said, _BAR), _items(truth, _BAR)
    if items[0] == items[1]:
        return items
    apart = _items(said, _BETWEEN), _items(truth, _BETWEEN)
    return apart if len(apart[1]) > 1 else items


def _items(answer: str, between: re.Pattern[str]) -> frozenset[str]:
    """Lower case, words only."""
    items = (" ".join(_WORD.findall(item)) for item in between.split(answer.lower()))
    return frozenset(item for item in items if item)


def _report_columns(said: str, truth: str) -> Columns:
    tokens, wanted = (_WORD.findall(text.lower()) for text in (said, truth))
    columns: Columns = {"reports": 1, "length": len(tokens), "reference": len(wanted)}
    for order in ORDERS:
        # NLTK's counts: a text shorter than the order counts as one n-gram that is wrong.
        share = modified_precision([wanted], tokens, order)
        columns[f"bleu {order} hits"] = share.numerator
        columns[f"bleu {order} possible"] = share.denominator
    columns["rouge_l"] = rouge_l(said, truth)
    columns["meteor"] = meteor(said, truth)
    found, there = present(said), present(truth)
    if not _speaks(said):
        found = frozenset()  # neither silence nor a refusal says "No Finding"
    for name in OBSERVATIONS:
        columns[f"{name} tp"] = float(name in found & there)
        columns[f"{name} fp"] = float(name in found - there)
        columns[f"{name} fn"] = float(name in there - found)
    return columns


def _speaks(text: str) -> bool:
    """Whether a text names a finding, affirmed or denied, or calls something normal."""
    read = read_findings(text)
    if read.normal or _DENIES_DISEASE.search(text):
        return True
    return bool(read.affirmed) or bool(set(observations(text)) - {NO_FINDING})


def _reasoning_columns(example: Example, prediction: Prediction) -> Columns:
    """Whether steps cover what is there, and tell the same findings as the answer."""
    claimed = kinds(step.text for step in prediction.steps)
    concluded = kinds([prediction.answer])
    there = frozenset() if example.task is Task.VQA else kinds([example.answer])
    return {
        "there": len(there),
        "there and claimed": len(there & claimed),
        "reasoned": 1,
        "boxed steps": sum(bool(step.boxes) for step in prediction.steps),
        "claimed": len(claimed),
        "concluded": len(concluded),
        "claimed and concluded": len(claimed & concluded),
    }
