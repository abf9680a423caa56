"""Our figures beside those of the reference packages, to 1e-6."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score
from torchvision.ops import box_iou as reference_iou

from tests.training.small_store import example
from training.evaluation.agreement import cohens_kappa
from training.evaluation.chexpert import FIVE, OBSERVATIONS, present
from training.evaluation.columns import columns_of
from training.evaluation.overlap import box_iou
from training.evaluation.scores import macro_f1, micro_f1
from training.evaluation.sums import Table
from training.review.summary import alpha_of
from training.systems.prediction import Prediction

CLOSE = 1e-6
SENTENCES = (
    "The heart is enlarged.",
    "There is a left pleural effusion.",
    "No pleural effusion or pneumothorax.",
    "Right lower lobe consolidation, possibly pneumonia.",
    "Mild interstitial edema.",
    "A fracture of the left seventh rib.",
)
TEXTS = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4).map(" ".join)
EDGES = st.tuples(st.integers(0, 900), st.integers(1, 200))
BOXES = st.tuples(EDGES, EDGES).map(
    lambda edges: (edges[0][0], edges[1][0], sum(edges[0]), sum(edges[1]))
)


@settings(deadline=None)
@given(st.lists(BOXES, min_size=1, max_size=6), st.lists(BOXES, min_size=1, max_size=6))
def test_iou_is_torchvisions(some: list, others: list) -> None:
    ours = [[box_iou(a, b) for b in others] for a in some]
    boxes, other_boxes = (torch.tensor(each, dtype=torch.float64) for each in (some, others))
    assert np.array(ours) == pytest.approx(reference_iou(boxes, other_boxes).numpy(), abs=CLOSE)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
def test_micro_and_macro_f1_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    rows = [
        columns_of(
            example(n, answer=truth, regions=(), labels=()),
            Prediction("", "", text=said, answer=said, complete=True),
        )
        for n, (said, truth) in enumerate(pairs)
    ]
    found = Table([str(n) for n in range(len(rows))], rows)
    for names in (OBSERVATIONS, FIVE):
        said, truth = (
            np.array([[name in present(pair[side]) for name in names] for pair in pairs])
            for side in (0, 1)
        )
        macro = f1_score(truth, said, average="macro", zero_division=0)
        assert found.value(macro_f1(names)) == pytest.approx(macro, abs=CLOSE)
        if said.any() or truth.any():  # ours is not defined where there is nothing
            micro = f1_score(truth, said, average="micro", zero_division=0)
            assert found.value(micro_f1(names)) == pytest.approx(micro, abs=CLOSE)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=30))
def test_kappa_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    if len({name for pair in pairs for name in pair}) == 1:
        assert cohens_kappa(pairs) == 1  # which scikit-learn does not define
        return
    one, other = zip(*pairs, strict=True)
    assert cohens_kappa(pairs) == pytest.approx(cohen_kappa_score(one, other), abs=CLOSE)


READERS = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5).map(float), min_size=1)


@settings(deadline=None)
@given(st.lists(READERS, min_size=2, max_size=10))
def test_alpha_is_that_of_krippendorffs_definition(units: list[dict[str, float]]) -> None:
    """Disagreement within units over that between any two values, squared distance."""
    shared = [list(unit.values()) for unit in units if len(unit) > 1]
    pooled = [value for unit in shared for value in unit]
    if len(set(pooled)) < 2:
        return
    within = sum(
        sum((a - b) ** 2 for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in shared
    )
    between = sum((a - b) ** 2 for a, b in permutations(pooled, 2)) / (len(pooled) - 1)
    assert alpha_of(units) == pytest.approx(1 - within / between, abs=CLOSE)
