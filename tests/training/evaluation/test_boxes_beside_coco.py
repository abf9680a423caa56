"""Figures of boxes beside those of COCO's own evaluation (pycocotools), to 1e-6.

What is compared, and why not all:

* IoU: the same number for any boxes.
* Recall and precision at an IoU: we match one to one for the largest sum of IoU, COCO takes boxes
  by their score and gives each the best that is left. The two may differ in a crowd. Where no box
  has two true ones to choose from they must not, however many say the same: so are the films that
  are drawn here.
* Average precision: our boxes carry no score, so all rank alike and the curve is one step:
  precision times recall. COCO breaks such ties by the order of the file, takes the largest
  precision to the right, and reads it at 101 recalls. Its curve is our step where the misses come
  first: so are they scored here. Read at the middle of each of its treads the two are one; at
  COCO's own 101 recalls they lie within one part of 101.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.training.small_store import example
from training.evaluation.columns import columns_of
from training.evaluation.grounding import THRESHOLDS
from training.evaluation.overlap import average_precision, box_iou, matched_overlaps
from training.evaluation.scores import mean_average_precision, ratio
from training.evaluation.sums import Table
from training.systems.prediction import PredictedStep, Prediction

CLOSE = 1e-6
COCOS = tuple(np.arange(50, 100, 5) / 100)
CELL, SIDE = 100, 300
KINDS = ("mass", "pneumothorax")
Corners = tuple[float, float, float, float]
Cell = tuple[list[Corners], list[Corners]]
"""One true box or none, and the boxes said there."""


@st.composite
def corners(draw: Any) -> Corners:
    """Within a cell, on a coarse grid: IoUs of all sizes, and some on a threshold."""
    x, y, width, height = (
        10 * draw(st.integers(low, high)) for low, high in ((0, 4), (0, 4), (1, 5), (1, 5))
    )
    return x, y, x + width, y + height


def cells(most: int) -> st.SearchStrategy[list[Cell]]:
    """Nine cells of a film."""
    cell = st.tuples(st.lists(corners(), max_size=1), st.lists(corners(), max_size=most))
    return st.lists(cell, min_size=9, max_size=9)


def placed(film: Sequence[Cell]) -> tuple[list[Corners], list[Corners]]:
    """True boxes and said ones of a film, each in its cell."""
    moved: tuple[list[Corners], list[Corners]] = ([], [])
    for n, cell in enumerate(film):
        x, y = CELL * (n % 3), CELL * (n // 3)
        for into, boxes in zip(moved, cell, strict=True):
            into += [(a + x, b + y, c + x, d + y) for a, b, c, d in boxes]
    return moved


def by_extent(box: Corners) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def data_set(boxes: Sequence[Sequence[Corners]], scores: Sequence[Sequence[float]]) -> COCO:
    found = COCO()
    found.dataset = {
        "images": [{"id": n} for n in range(len(boxes))],
        "categories": [{"id": 1}],
        "annotations": [
            {"image_id": n, "category_id": 1, "bbox": by_extent(box), "score": score}
            for n, (some, of) in enumerate(zip(boxes, scores, strict=True))
            for box, score in zip(some, of, strict=True)
        ],
    }
    for number, annotation in enumerate(found.dataset["annotations"], 1):
        width, height = annotation["bbox"][2:]
        annotation |= {"id": number, "area": width * height, "iscrowd": 0}
    found.createIndex()
    return found


def judged(
    films: Sequence[tuple[list[Corners], list[Corners]]],
    thresholds: Sequence[float],
    recalls: Sequence[float],
) -> COCOeval:
    """COCO's evaluation of one finding, those boxes scored highest that fit least."""
    scores = []
    for truth, said in films:
        fit = mask.iou(
            [by_extent(b) for b in said], [by_extent(b) for b in truth], [0] * len(truth)
        )
        best = np.max(fit, axis=1) if len(truth) and len(said) else np.zeros(len(said))
        scores.append([float(value) for value in 1 - best])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = data_set([truth for truth, _ in films], [[1.0] * len(truth) for truth, _ in films])
        found = COCOeval(truth, data_set([said for _, said in films], scores), "bbox")
        found.params.iouThrs, found.params.recThrs = np.array(thresholds), np.array(recalls)
        found.params.areaRng, found.params.areaRngLbl = [[0, 1e10]], ["all"]
        found.params.maxDets = [1000]
        found.evaluate()
        found.accumulate()
    return found


def hits_of(found: COCOeval) -> np.ndarray:
    """Of each threshold the boxes that COCO matched."""
    matches = [film["dtMatches"] for film in found.evalImgs if film]
    return sum((each > 0).sum(axis=1) for each in matches)


def treads(count: int) -> list[float]:
    """The middles between the recalls that so many true boxes allow."""
    return [(n + 0.5) / count for n in range(count)]


@settings(deadline=None)
@given(st.lists(corners(), min_size=1, max_size=6), st.lists(corners(), min_size=1, max_size=6))
def test_iou_is_cocos(some: list[Corners], others: list[Corners]) -> None:
    ours = [[box_iou(a, b) for b in others] for a in some]
    told = mask.iou([by_extent(a) for a in some], [by_extent(b) for b in others], [0] * len(others))
    assert np.array(ours) == pytest.approx(np.array(told), abs=CLOSE)


@settings(max_examples=40, deadline=None)
@given(st.lists(cells(most=3), min_size=1, max_size=3))
def test_recall_and_precision_are_cocos_at_all_its_thresholds(drawn: list[list[Cell]]) -> None:
    films = [placed(film) for film in drawn]
    true, given_ = (sum(len(film[side]) for film in films) for side in (0, 1))
    matched = [value for film in films for value in matched_overlaps(*film)]
    hits = [sum(value >= threshold for value in matched) for threshold in COCOS]
    if not true or not given_:
        assert hits == [0] * len(COCOS)
        return
    found = judged(films, COCOS, treads(true))
    assert hits == hits_of(found).tolist()
    recalls = found.eval["recall"][:, 0, 0, 0]
    assert [count / true for count in hits] == pytest.approx(recalls.tolist(), abs=CLOSE)


@settings(max_examples=40, deadline=None)
@given(st.lists(cells(most=1), min_size=1, max_size=3))
def test_average_precision_is_cocos_with_the_misses_first(drawn: list[list[Cell]]) -> None:
    films = [placed(film) for film in drawn]
    true, given_ = (sum(len(film[side]) for film in films) for side in (0, 1))
    if not true or not given_:
        return
    matched = [value for film in films for value in matched_overlaps(*film)]
    ours = [
        average_precision(sum(v >= threshold for v in matched), given_, true) for threshold in COCOS
    ]
    exact = judged(films, COCOS, treads(true)).eval["precision"][:, :, 0, 0, 0].mean(axis=1)
    assert ours == pytest.approx(exact.tolist(), abs=CLOSE)
    at_101 = judged(films, COCOS, np.linspace(0, 1, 101)).eval["precision"][:, :, 0, 0, 0]
    assert ours == pytest.approx(at_101.mean(axis=1).tolist(), abs=1 / 101 + CLOSE)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(cells(most=1), cells(most=1)), min_size=1, max_size=3))
def test_the_reports_map_recall_and_precision_are_cocos(
    drawn: list[tuple[list[Cell], list[Cell]]],
) -> None:
    films = [tuple(placed(cells_) for cells_ in film) for film in drawn]
    rows = []
    for n, film in enumerate(films):
        asked = example(
            n,
            sizes=((SIDE, SIDE),),
            regions=tuple(
                (kind, tuple(map(int, box)))
                for kind, (truth, _) in zip(KINDS, film, strict=True)
                for box in truth
            ),
            structures=(("heart", (0, 0, 9, 9)),),  # so that a film without findings counts
        )
        steps = tuple(
            PredictedStep(f"There is a {kind}.", tuple((0, box) for box in said))
            for kind, (_, said) in zip(KINDS, film, strict=True)
        )
        said = Prediction("", "", text="...", answer="...", steps=steps, complete=True)
        rows.append(columns_of(asked, said))
    table = Table([str(n) for n in range(len(rows))], rows)
    precisions, hits, true, given_ = [], np.zeros(len(THRESHOLDS)), 0, 0
    for kind in range(len(KINDS)):
        own = [film[kind] for film in films]
        count = sum(len(truth) for truth, _ in own)
        true, given_ = true + count, given_ + sum(len(said) for _, said in own)
        if count:
            found = judged(own, THRESHOLDS, treads(count))
            precisions.append(found.eval["precision"][:, :, 0, 0, 0].mean(axis=1))
            hits += hits_of(found)
    for n, threshold in enumerate(THRESHOLDS):
        mean = table.value(mean_average_precision(KINDS, threshold))
        wanted = float(np.mean([each[n] for each in precisions])) if precisions else float("nan")
        assert mean == pytest.approx(wanted, abs=CLOSE, nan_ok=True)
        for below, count in (("true", true), ("said", given_)):
            share = table.value(ratio(f"hits {threshold}", below))
            wanted = hits[n] / count if count else float("nan")
            assert share == pytest.approx(wanted, abs=CLOSE, nan_ok=True)


def test_in_a_crowd_the_largest_sum_of_iou_may_find_fewer_than_coco() -> None:
    """Where the two definitions part: one good match is given up for two middling ones."""
    truth: list[Corners] = [(0, 0, 100, 100), (100, 0, 200, 100)]
    said: list[Corners] = [(40, 0, 140, 100), (-60, 0, 40, 100)]
    matched = matched_overlaps(truth, said)
    found = judged([(truth, said)], [0.4], treads(2))
    assert (sum(value >= 0.4 for value in matched), hits_of(found).tolist()) == (0, [1])
