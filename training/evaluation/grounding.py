"""What the boxes of one prediction contribute to the figures of grounding."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from service.reading import Task
from training.data.example import Example, Region
from training.evaluation.overlap import box_iou, matched_overlaps
from training.labels import finding_labels, kind_of
from training.systems.prediction import Corners, Prediction
from training.unlisted import OTHER_NAMES, affirms, kinds_of_region, listed_kinds, own_name

THRESHOLDS = (0.3, 0.4, 0.5, 0.75)
"""IoU from which a box counts as found."""
SIZES = ("small", "medium", "large")
_FOUND = 0.5
_SMALL, _LARGE = (32 / 1024) ** 2, (96 / 1024) ** 2
"""Shares of the film's area up to which a region is small, and from which it is large: COCO's sizes
on a film of 1024 pixels."""


@dataclass(frozen=True)
class _Pointing:
    """Boxes by film and finding, and what each step claims."""

    boxes: dict[tuple[int, str], list[Corners]]
    claims: list[tuple[str, tuple[tuple[int, Corners], ...]]]


def kinds(texts: Iterable[str], labels: frozenset[str] = frozenset()) -> frozenset[str]:
    """Findings that texts affirm, sides aside.

    Parameters
    ----------
    labels
        Of a source that has findings of its own: they are looked for as they stand, too.
    """
    found: set[str] = set()
    for text in texts:
        found.update(kind_of(label) for label in finding_labels(text))
        found |= {label for label in labels if affirms(text, label)}
    return frozenset(found)


def marked(example: Example) -> bool:
    """Whether somebody marked what is there: then a film without regions has none to be found."""
    regions = example.regions or example.regions_by_image
    return bool(regions or example.structures or example.grounded_sentences)


def asked_for(example: Example) -> frozenset[str]:
    """Findings that a question names, sides aside; none of a report, and of *what is there?*"""
    if example.task is not Task.VQA:
        return frozenset()
    return kinds([example.question or ""], _own_labels(example))


def wanted_regions(example: Example) -> list[list[Region]]:
    """Of each film the regions that are to be pointed at.

    All of a report. Of a question those of the findings that it names, else of those that its
    answer names: a question on the view or the patient's age wants no boxes.
    """
    regions = [list(example.regions_of(image)) for image in range(len(example.images))]
    if example.task is not Task.VQA:
        return regions
    labels = _own_labels(example)
    named = asked_for(example) or kinds(re.split(r"\s*\|\s*", example.answer), labels)
    return [[r for r in of if named & kinds_of_region(r[0])] for of in regions]


def grounding_columns(example: Example, prediction: Prediction) -> dict[str, float]:
    """Boxes by film and finding, sides aside: matched one to one, missing and surplus count 0.

    A box on a film that there is not, or that holds no finite numbers, is one too many.
    """
    true: dict[tuple[int, str], list[Corners]] = defaultdict(list)
    for image, regions in enumerate(wanted_regions(example)):
        for label, (x0, y0, x1, y1) in regions:
            for kind in kinds_of_region(label):
                true[image, kind].append((x0, y0, x1, y1))
    told = _pointing(example, prediction)
    total: dict[str, float] = defaultdict(float, grounded=1)
    for kind, boxes in told.claims:
        covered = []
        for image, box in boxes:
            there = true.get((image, kind), ())
            total["points"] += 1
            total["pointed"] += any(_holds(other, _middle(box)) for other in there)
            covered.append(_covered(box, there) > 0.5)
        total["claims"] += 1
        total["supported"] += bool(covered) and all(covered)
    for image, kind in sorted(set(true) | set(told.boxes)):
        wanted, given = true.get((image, kind), []), told.boxes.get((image, kind), [])
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
        for box in wanted:  # of a film that there is: the example's own
            width, height = example.sizes[image]
            size = size_of(box, width * height)
            total[f"true {size}"] += 1
            total[f"found {size}"] += any(box_iou(box, other) >= _FOUND for other in given)
    return dict(total)


def size_of(box: Sequence[float], area: float) -> str:
    """Small, medium or large, by the share of the film's area."""
    share = (box[2] - box[0]) * (box[3] - box[1]) / area
    return "small" if share < _SMALL else "large" if share >= _LARGE else "medium"


def _pointing(example: Example, prediction: Prediction) -> _Pointing:
    labels, asked = _own_labels(example), asked_for(example)
    others = {
        kind
        for image in range(len(example.images))
        for label, _ in example.regions_of(image)
        for kind in kinds_of_region(label)
    } - asked
    boxes: dict[tuple[int, str], list[Corners]] = defaultdict(list)
    claims = []
    for step in prediction.steps:
        for kind in _meant(kinds([step.text], labels), asked, others, bool(step.boxes)):
            usable = tuple((image, _finite(box)) for image, box in step.boxes)
            claims.append((kind, usable))
            for image, box in usable:
                boxes[image, kind].append(box)
    return _Pointing(boxes, claims)


def _meant(
    named: frozenset[str], asked: frozenset[str], others: set[str], points: bool
) -> frozenset[str]:
    """Findings that a step's boxes are held against.

    Where a question names findings, those alone; a box of another finding that is marked on the
    film is none of its business. Asked where one finding is, a step that points and names it by
    other words (an opacity for a pneumonia) is taken to mean it.
    """
    if not asked:
        return named
    if named & asked or len(asked) > 1 or not points:
        return named & asked
    return frozenset() if named & others else asked


def _own_labels(example: Example) -> frozenset[str]:
    """Findings of the example's source that our vocabulary has none of."""
    own = {
        own_name(label)
        for image in range(len(example.images))
        for label, _ in example.regions_of(image)
        if not listed_kinds(label)
    }
    return frozenset(own | set(OTHER_NAMES if example.source == "vindr-cxr" else ()))


def _finite(box: Corners) -> Corners:
    return box if all(map(isfinite, box)) else (0.0, 0.0, 0.0, 0.0)


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
