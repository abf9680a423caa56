"""Our figures beside those of the reference packages, to 1e-6."""

import re
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.meteor_score import meteor_score
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import bootstrap, permutation_test
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, cohen_kappa_score, f1_score
from torchvision.ops import box_iou as reference_iou

from service.reading import Task
from tests.training.small_store import example, right
from training.evaluation.agreement import cohens_kappa
from training.evaluation.chexpert import FIVE, OBSERVATIONS, present
from training.evaluation.columns import columns_of
from training.evaluation.overlap import box_iou
from training.evaluation.scores import calibration_error, macro_f1, micro_f1, ratio
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


def table_of(pairs: list[tuple[str, str]]) -> Table:
    """Of reports said, each with the true one."""
    rows = [
        columns_of(
            example(n, answer=truth, regions=(), labels=()),
            Prediction("", "", text=said, answer=said, complete=True),
        )
        for n, (said, truth) in enumerate(pairs)
    ]
    return Table([str(n) for n in range(len(rows))], rows)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
def test_micro_and_macro_f1_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    found = table_of(pairs)
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


class NoSynonyms:
    """As WordNet where its data are not at hand."""

    def synsets(self, word: str) -> list[object]:
        return []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_rouge_and_meteor_are_the_means_of_the_packages(pairs: list[tuple[str, str]]) -> None:
    found = table_of(pairs)
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    rouge = [scorer.score(truth, said)["rougeL"].fmeasure for said, truth in pairs]
    assert found.value(ratio("rouge_l", "reports")) == pytest.approx(np.mean(rouge), abs=CLOSE)
    words = [[re.findall(r"\w+", text.lower()) for text in pair] for pair in pairs]
    meteor = [meteor_score([truth], said, wordnet=NoSynonyms()) for said, truth in words]
    assert found.value(ratio("meteor", "reports")) == pytest.approx(np.mean(meteor), abs=CLOSE)


SURE = st.integers(0, 99).map(lambda n: (n + 0.5) / 100)
"""Never on the edge of a bin, where scikit-learn takes the lower one and we the upper."""


@settings(deadline=None)
@given(st.lists(st.tuples(SURE, st.booleans()), min_size=1, max_size=40))
def test_brier_and_calibration_are_scikit_learns(told: list[tuple[float, bool]]) -> None:
    rows = []
    for n, (sure, correct) in enumerate(told):
        asked = example(n, Task.VQA, answer="Yes")
        said = replace(right(asked), answer="Yes" if correct else "No", confidence=sure)
        rows.append(columns_of(asked, said))
    found = Table([str(n) for n in range(len(rows))], rows)
    sure, correct = np.array(told, dtype=float).T
    brier = brier_score_loss(correct, sure, pos_label=1)
    assert found.value(ratio("brier", "rated")) == pytest.approx(brier, abs=CLOSE)
    rates, means = calibration_curve(correct, sure, n_bins=10)
    counts = np.histogram(sure, bins=np.linspace(0, 1, 11))[0]
    error = np.abs(rates - means) @ counts[counts > 0] / len(told)
    assert found.value(calibration_error) == pytest.approx(error, abs=CLOSE)


def some_rates(seed: int, count: int) -> tuple[np.ndarray, Table]:
    values = np.random.default_rng(seed).random(count)
    rows = [{"n": 1.0, "right": float(value)} for value in values]
    return values, Table([str(n) for n in range(count)], rows)


@pytest.mark.parametrize("seed", range(4))
def test_intervals_are_those_of_scipys_percentile_bootstrap(seed: int) -> None:
    """Both draw at random: they agree as far as so many resamples tell."""
    values, found = some_rates(seed, 80)
    ours = found.estimate(ratio("right", "n"))
    theirs = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=seed
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.08 * width)


@pytest.mark.parametrize("seed", range(4))
def test_the_paired_test_is_scipys_randomisation_of_samples(seed: int) -> None:
    """Theirs runs through all 4096 ways of swapping; ours draws 2000 of them."""
    (one, mine), (other, theirs) = some_rates(seed, 12), some_rates(seed + 100, 12)
    exact = permutation_test(
        (one, other),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    ).pvalue
    told = mine.difference(theirs, ratio("right", "n"))
    assert told.value == pytest.approx(np.mean(one - other))
    assert told.p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 2000) ** 0.5 + 1 / 2001)
