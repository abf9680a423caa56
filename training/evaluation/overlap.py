"""How well boxes fit: IoU, one-to-one matching, and average precision of unranked boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = across * down
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0


def matched_overlaps(
    truth: Sequence[Sequence[float]], said: Sequence[Sequence[float]]
) -> list[float]:
    """IoU of every true box with the box matched to it (Hungarian); unmatched ones count 0.

    A box too many counts as another 0: boxes are not free.
    """
    size = max(len(truth), len(said))
    if size == 0:
        return []
    overlaps = np.zeros((size, size))
    for i, a in enumerate(truth):
        for j, b in enumerate(said):
            overlaps[i, j] = box_iou(a, b)
    rows, columns = linear_sum_assignment(-overlaps)
    return [float(overlaps[i, j]) for i, j in zip(rows, columns, strict=True)]


def average_precision(hits: int, said: int, truth: int) -> float:
    """Average precision of boxes that carry no score: precision times recall.

    Without scores all boxes rank alike, so the curve of precision over recall is one step: from
    recall 0 to that of all boxes, at the precision of all boxes. NaN where nothing is to be found.
    """
    if truth == 0:
        return float("nan")
    return hits / said * hits / truth if said else 0.0
