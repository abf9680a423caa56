"""Metrics that are models: CheXbert, RadGraph, BERTScore, RaTEScore, GREEN, RadCliQ (``radeval``).

They need an extra of the install (``metrics``) and weights from a hub, so they run where those are
and are never in the way where they are not: what cannot be measured is said, with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.reading import Task
from training.data.example import Example
from training.evaluation.columns import Columns
from training.systems.prediction import Prediction

CHEXBERT = "CheXbert"
Pairs = Sequence[tuple[str, str]]
"""Texts and their references."""


@dataclass(frozen=True)
class Learned:
    """A metric.

    Attributes
    ----------
    module
        Its name in ``radeval``.
    key
        Of its value for each text; empty for CheXbert, which gives labels.
    better
        Whether more is better: of RadCliQ's distance, less is.
    """

    module: str
    key: str = ""
    better: bool = True


LEARNED: dict[str, Learned] = {
    CHEXBERT: Learned("f1chexbert"),
    "F1-RadGraph": Learned("radgraph", "radgraph_partial"),
    "BERTScore": Learned("bertscore", "bertscore"),
    "RaTEScore": Learned("ratescore", "ratescore"),
    "GREEN": Learned("green", "green"),
    "RadCliQ-v1": Learned("radcliq", "radcliq_v1", better=False),
}
"""By the name that reports use."""


class UnavailableError(Exception):
    """A metric that cannot be measured here; says why, and what would do."""


def measure(name: str, pairs: Pairs) -> list[Columns]:
    """Columns of one metric for each text.

    Raises
    ------
    UnavailableError
        When its package or its weights are not here.
    """
    metric = LEARNED[name]
    try:
        from radeval.metrics._registry import get_metric_class
    except ImportError as error:
        raise UnavailableError(
            f"{name} needs radeval: pip install 'deepmedix[metrics]' in an environment of its own."
        ) from error
    try:
        scorer = get_metric_class(metric.module)()
        if name == CHEXBERT:
            return _labels(scorer._scorer, pairs)
        said, truth = [s for s, _ in pairs], [t for _, t in pairs]
        found = scorer.compute(truth, said, per_sample=True, on_progress=lambda *_: None)
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise UnavailableError(f"{name} cannot run here: {reason[0]}") from error
    return [{f"{name} of": 1, name: float(value)} for value in found[metric.key]]


def _labels(scorer: Any, pairs: Pairs) -> list[Columns]:
    """Of each observation whether it was rightly named; uncertain counts as present."""
    names = scorer.TARGET_NAMES
    said, truth = (scorer.get_labels([pair[n] for pair in pairs]) for n in (0, 1))
    return [
        {f"{CHEXBERT} of": 1}
        | {f"{CHEXBERT} {n} tp": float(a and b) for n, a, b in zip(names, one, other, strict=True)}
        | {f"{CHEXBERT} {n} fp": float(a > b) for n, a, b in zip(names, one, other, strict=True)}
        | {f"{CHEXBERT} {n} fn": float(b > a) for n, a, b in zip(names, one, other, strict=True)}
        for one, other in zip(said, truth, strict=True)
    ]


def measure_all(
    examples: Sequence[Example],
    predictions: Mapping[str, Sequence[Prediction]],
    names: Sequence[str],
    folder: Path,
    *,
    measured: Callable[[str, Pairs], list[Columns]] = measure,
) -> dict[str, str]:
    """Measure metrics on every contender's reports, and keep the columns in ``folder``.

    What is there already is not measured again. Returns, of each metric that could not be
    measured, the reason.

    Parameters
    ----------
    predictions
        Of each contender, in the examples' order.
    """
    reports = [number for number, example in enumerate(examples) if example.task is not Task.VQA]
    missing: dict[str, str] = {}
    for name in names:
        path = folder / f"{name}.json"
        known: dict[str, Columns] = json.loads(path.read_text()) if path.exists() else {}
        pairs = {
            _key(predictions[who][n].answer, examples[n].answer): (
                predictions[who][n].answer,
                examples[n].answer,
            )
            for who in predictions
            for n in reports
        }
        new = {key: pair for key, pair in pairs.items() if key not in known}
        if new:
            try:
                columns = measured(name, list(new.values()))
            except UnavailableError as error:
                missing[name] = str(error)
                continue
            known |= dict(zip(new, columns, strict=True))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(known))
    return missing


def columns_in(folder: Path) -> Callable[[Example, Prediction], Columns]:
    """What :func:`measure_all` kept, by example and prediction."""
    known: dict[str, Columns] = {}
    for name in LEARNED:
        path = folder / f"{name}.json"
        if path.exists():
            for key, columns in json.loads(path.read_text()).items():
                known.setdefault(key, {}).update(columns)

    def find(example: Example, prediction: Prediction) -> Columns:
        if example.task is Task.VQA:
            return {}
        return known.get(_key(prediction.answer, example.answer), {})

    return find


def _key(said: str, truth: str) -> str:
    return hashlib.sha256(json.dumps([said, truth]).encode()).hexdigest()
