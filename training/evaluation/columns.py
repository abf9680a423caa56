"""What one prediction contributes to every figure: numbers whose sums over studies are enough.

Every figure of a report is a function of sums over its examples, so that a bootstrap of a thousand
resamples is one product of matrices, and paired tests take seconds on thousands of reports.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from nltk.translate.bleu_score import modified_precision

from service.reading import Task
from training.data.example import Example
from training.evaluation.chexpert import OBSERVATIONS, present
from training.evaluation.overlap import box_iou, matched_overlaps
from training.evaluation.wording import meteor, rouge_l
from training.labels import finding_labels, kind_of, labels_of_source
from training.rewards.equivalence import answer_worth
from training.systems.prediction import Corners, Prediction

THRESHOLDS = (0.3, 0.4, 0.5, 0.75)
"""IoU from which a box counts as found."""
SIZES = ("small", "medium", "large")
ORDERS = (1, 2, 3, 4)
BINS = 10
"""Of confidence."""
_FOUND = 0.5
_WORD = re.compile(r"\w+")
_SMALL, _LARGE = (32 / 1024) ** 2, (96 / 1024) ** 2
"""Shares of the film's area up to which a region is small, and from which it is large: COCO's sizes
on a film of 1024 pixels."""

Columns = dict[str, float]


def columns_of(example: Example, prediction: Prediction) -> Columns:
    """All columns of one example; what does not apply to it is left out.

    A mean is the sum of its column over the sum of the column that counts what it is a mean of:
    ``n``, ``questions``, ``reports``, ``boxes``, ...
    """
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
    else:
        columns |= _report_columns(prediction.answer, example.answer)
    if example.task is Task.FINDINGS and _marked(example):
        columns |= _grounding_columns(example, prediction)
    if prediction.steps:
        columns |= _reasoning_columns(example, prediction)
    return columns


def _marked(example: Example) -> bool:
    """Whether somebody marked what is there: then a film without regions has none to be found."""
    regions = example.regions or example.regions_by_image
    return bool(regions or example.structures or example.grounded_sentences)


def _answer_columns(example: Example, prediction: Prediction) -> Columns:
    said, truth = _items(prediction.answer), _items(example.answer)
    right = float(said == truth)
    asked = finding_labels(example.question or "")
    columns: Columns = {
        "questions": 1,
        "exact": float(prediction.answer.strip() == example.answer.strip()),
        "normalised": right,
        "equivalent": answer_worth(prediction.answer, example.answer, asked),
        "set f1": 2 * len(said & truth) / (len(said) + len(truth)) if said or truth else 1.0,
    }
    if prediction.confidence is not None:
        sure = min(max(prediction.confidence, 0.0), 1.0)
        bin_ = min(int(sure * BINS), BINS - 1)
        columns |= {"rated": 1, "brier": (sure - right) ** 2}
        columns |= {f"bin {bin_} sure": sure, f"bin {bin_} right": right}
    return columns


def _items(answer: str) -> frozenset[str]:
    """Answers divided by ``|``: lower case, words only."""
    items = (" ".join(_WORD.findall(item.lower())) for item in answer.split("|"))
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
    if not said.strip():
        found = frozenset()  # silence does not say "No Finding"
    for name in OBSERVATIONS:
        columns[f"{name} tp"] = float(name in found & there)
        columns[f"{name} fp"] = float(name in found - there)
        columns[f"{name} fn"] = float(name in there - found)
    return columns


def _grounding_columns(example: Example, prediction: Prediction) -> Columns:
    """Boxes by film and finding, sides aside: matched one to one, missing and surplus count 0."""
    true: dict[tuple[int, str], list[Corners]] = defaultdict(list)
    for image in range(len(example.images)):
        for label, (x0, y0, x1, y1) in example.regions_of(image):
            for kind in _kinds_of_region(label):
                true[image, kind].append((x0, y0, x1, y1))
    said: dict[tuple[int, str], list[Corners]] = defaultdict(list)
    total: dict[str, float] = defaultdict(float, grounded=1)
    for step in prediction.steps:
        for kind in kinds([step.text]):
            covered = []
            for image, box in step.boxes:
                said[image, kind].append(box)
                there = true.get((image, kind), ())
                total["points"] += 1
                total["pointed"] += any(_holds(other, _middle(box)) for other in there)
                covered.append(_covered(box, there) > 0.5)
            total["claims"] += 1
            total["supported"] += bool(covered) and all(covered)
    for image, kind in sorted(set(true) | set(said)):
        wanted, given = true.get((image, kind), []), said.get((image, kind), [])
        matched = matched_overlaps(wanted, given)
        for end in ("", f" {kind}"):
            total[f"boxes{end}"] += len(matched)
            total[f"iou{end}"] += sum(matched)
        total[f"said {kind}"] += len(given)
        total[f"true {kind}"] += len(wanted)
        total["said"] += len(given)
        total["true"] += len(wanted)
        for threshold in THRESHOLDS:
            hits = sum(value >= threshold for value in matched)
            total[f"hits {threshold}"] += hits
            total[f"hits {threshold} {kind}"] += hits
        width, height = example.sizes[image]
        for box in wanted:
            size = size_of(box, width * height)
            total[f"true {size}"] += 1
            total[f"found {size}"] += any(box_iou(box, other) >= _FOUND for other in given)
    return dict(total)


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


def kinds(texts: Iterable[str]) -> frozenset[str]:
    """Findings that texts affirm, sides aside."""
    return frozenset(kind_of(label) for text in texts for label in finding_labels(text))


def size_of(box: Sequence[float], area: float) -> str:
    """Small, medium or large, by the share of the film's area."""
    share = (box[2] - box[0]) * (box[3] - box[1]) / area
    return "small" if share < _SMALL else "large" if share >= _LARGE else "medium"


def _kinds_of_region(label: str) -> frozenset[str]:
    found = frozenset(kind_of(name) for name in labels_of_source(label) | finding_labels(label))
    return found or frozenset((label.lower(),))


def _middle(box: Corners) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _holds(box: Corners, point: tuple[float, float]) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _covered(box: Corners, others: Sequence[Corners]) -> float:
    """Share of a box's pixels that lie in the union of others, as RadFact counts evidence."""
    own = (box[2] - box[0]) * (box[3] - box[1])
    if own <= 0 or not others:
        return 0.0
    columns = sorted({box[0], box[2], *(x for o in others for x in (o[0], o[2]))})
    rows = sorted({box[1], box[3], *(y for o in others for y in (o[1], o[3]))})
    area = 0.0
    for x0, x1 in pairwise(columns):
        for y0, y1 in pairwise(rows):
            point = ((x0 + x1) / 2, (y0 + y1) / 2)
            if _holds(box, point) and any(_holds(other, point) for other in others):
                area += (x1 - x0) * (y1 - y0)
    return area / own
