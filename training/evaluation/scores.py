"""The figures of a report: each a function of sums of columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from training.evaluation.chexpert import FIVE, OBSERVATIONS
from training.evaluation.columns import BINS, ORDERS
from training.evaluation.grounding import SIZES, THRESHOLDS
from training.evaluation.learned import CHEXBERT, LEARNED
from training.evaluation.sums import Figure, Sums, Table


@dataclass(frozen=True)
class Score:
    """A figure, and what it is called.

    Attributes
    ----------
    group
        ``report``, ``answer``, ``grounding``, ``reasoning``, ``confidence`` or ``run``.
    needs
        A column without which it is not defined.
    better
        Whether more is better; None where neither is.
    headline
        Whether it stands in the first table.
    """

    name: str
    group: str
    figure: Figure
    needs: str
    better: bool | None = True
    headline: bool = False


def ratio(above: str, below: str) -> Figure:
    """The sum of one column over that of another; NaN where there is nothing."""

    def figure(sums: Sums) -> np.ndarray:
        return _divide(sums[above], sums[below])

    return figure


def bleu(order: int) -> Figure:
    """Corpus BLEU of n-grams up to ``order`` (Papineni et al., 2002), not smoothed."""

    def figure(sums: Sums) -> np.ndarray:
        total = np.zeros_like(sums["reports"])
        with np.errstate(divide="ignore", invalid="ignore"):
            for n in ORDERS[:order]:
                total += np.log(sums[f"bleu {n} hits"] / sums[f"bleu {n} possible"])
            short = np.minimum(0, 1 - sums["reference"] / sums["length"])
            score = np.exp(total / order + short)
        return np.where(sums["reports"] > 0, np.nan_to_num(score), np.nan)

    return figure


def micro_f1(names: Sequence[str]) -> Figure:
    """F1 of the pooled counts of observations."""

    def figure(sums: Sums) -> np.ndarray:
        hits, wrong = _counts(sums, names)
        return _divide(2 * hits.sum(0), 2 * hits.sum(0) + wrong.sum(0))

    return figure


def macro_f1(names: Sequence[str]) -> Figure:
    """Mean F1 of observations; one that is neither named nor there counts 0, as in CheXbert."""

    def figure(sums: Sums) -> np.ndarray:
        hits, wrong = _counts(sums, names)
        each = np.nan_to_num(_divide(2 * hits, 2 * hits + wrong))
        return np.where(sums["reports"] > 0, each.mean(0), np.nan)

    return figure


def mean_average_precision(kinds: Sequence[str], threshold: float) -> Figure:
    """Mean over findings of precision times recall: boxes carry no score, so all rank alike."""

    def figure(sums: Sums) -> np.ndarray:
        each = []
        for kind in kinds:
            hits, said = sums[f"hits {threshold} {kind}"], sums[f"said {kind}"]
            true = sums[f"true {kind}"]
            precision = np.nan_to_num(_divide(hits, said))
            each.append(np.where(true > 0, precision * _divide(hits, true), np.nan))
        return _nan_mean(np.array(each))

    return figure


def mean_of_thresholds(kinds: Sequence[str]) -> Figure:
    """Mean average precision over all thresholds of IoU."""
    figures = [mean_average_precision(kinds, threshold) for threshold in THRESHOLDS]

    def figure(sums: Sums) -> np.ndarray:
        return np.mean([one(sums) for one in figures], axis=0)

    return figure


def calibration_error(sums: Sums) -> np.ndarray:
    """Expected calibration error over ten bins of confidence."""
    gaps = [np.abs(sums[f"bin {n} sure"] - sums[f"bin {n} right"]) for n in range(BINS)]
    return _divide(np.sum(gaps, axis=0), sums["rated"])


def scores_of(table: Table) -> list[Score]:
    """Every score that the table's examples allow."""
    kinds = sorted(
        name.removeprefix("true ")
        for name in table.names
        if name.startswith("true ") and name.removeprefix("true ") not in SIZES
    )
    return [score for score in _all(kinds) if score.needs in table]


def _all(kinds: Sequence[str]) -> Iterable[Score]:
    report = partial(Score, group="report", needs="reports")
    for order in ORDERS:
        yield report(f"BLEU-{order}", figure=bleu(order), headline=order == 4)
    yield report("ROUGE-L", figure=ratio("rouge_l", "reports"), headline=True)
    yield report("METEOR", figure=ratio("meteor", "reports"), headline=True)
    for names, count in ((OBSERVATIONS, 14), (FIVE, 5)):
        yield report(f"CheXpert micro-F1, {count}", figure=micro_f1(names), headline=True)
        yield report(f"CheXpert macro-F1, {count}", figure=macro_f1(names), headline=True)
    for name in OBSERVATIONS:
        yield report(f"F1, {name}", figure=micro_f1((name,)))
    for name, metric in LEARNED.items():
        learned = partial(Score, group="learned", needs=f"{name} of", better=metric.better)
        if name != CHEXBERT:
            yield learned(name, figure=ratio(name, f"{name} of"), headline=True)
            continue
        for names, count in ((OBSERVATIONS, 14), (FIVE, 5)):
            labels = [f"{name} {label}" for label in names]
            yield learned(f"{name} micro-F1, {count}", figure=micro_f1(labels), headline=True)
            yield learned(f"{name} macro-F1, {count}", figure=macro_f1(labels), headline=True)
    answer = partial(Score, group="answer", needs="questions")
    yield answer("VQA, normalised", figure=ratio("normalised", "questions"), headline=True)
    yield answer("VQA, exact", figure=ratio("exact", "questions"))
    yield answer("VQA, set F1", figure=ratio("set f1", "questions"))
    yield answer("VQA, equivalent", figure=ratio("equivalent", "questions"))
    box = partial(Score, group="grounding", needs="boxes")
    yield box("matched IoU", figure=ratio("iou", "boxes"), headline=True)
    for threshold in THRESHOLDS:
        yield box(f"box recall at {threshold}", figure=ratio(f"hits {threshold}", "true"))
        yield box(f"box precision at {threshold}", figure=ratio(f"hits {threshold}", "said"))
        yield box(
            f"mAP at {threshold}",
            figure=mean_average_precision(kinds, threshold),
            headline=threshold == 0.5,
        )
    yield box("pointing game", figure=ratio("pointed", "points"))
    yield box("step support", figure=ratio("supported", "claims"), headline=True)
    for kind in kinds:
        yield box(f"IoU, {kind}", figure=ratio(f"iou {kind}", f"boxes {kind}"))
    for size in SIZES:
        yield box(f"box recall at 0.5, {size}", figure=ratio(f"found {size}", f"true {size}"))
    yield box("mAP, mean of the thresholds", figure=mean_of_thresholds(kinds))
    reason = partial(Score, group="reasoning", needs="reasoned")
    yield reason("findings that a step claims", figure=ratio("there and claimed", "there"))
    yield reason("steps", figure=ratio("steps", "n"), better=None)
    yield reason("steps with a box", figure=ratio("boxed steps", "steps"), better=None)
    yield reason(
        "findings of the answer that a step claims",
        figure=ratio("claimed and concluded", "concluded"),
    )
    yield reason(
        "findings of the steps that the answer keeps",
        figure=ratio("claimed and concluded", "claimed"),
    )
    sure = partial(Score, group="confidence", needs="rated", better=False)
    yield sure("Brier score", figure=ratio("brier", "rated"))
    yield sure("expected calibration error", figure=calibration_error)
    run = partial(Score, group="run", needs="n")
    yield run("parsed", figure=ratio("parsed", "n"), headline=True)
    yield run("failed", figure=ratio("failed", "n"), better=False, headline=True)
    yield run("words", figure=ratio("words", "n"), better=None)
    yield run("seconds", figure=ratio("seconds", "n"), better=None)


def _counts(sums: Sums, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Of each observation: rightly named; named in vain or left out."""
    hits = np.array([sums[f"{name} tp"] for name in names])
    wrong = np.array([sums[f"{name} fp"] + sums[f"{name} fn"] for name in names])
    return hits, wrong


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def _nan_mean(values: np.ndarray) -> np.ndarray:
    there = ~np.isnan(values)
    return _divide(np.where(there, values, 0).sum(0), there.sum(0))
