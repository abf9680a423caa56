"""Stage 2, cold start for reasoning: film and query to steps with boxes, then the answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.reading import Mode, Task
from training.data.ct_radiographs.examples import (
    comparison_example,
    question_examples,
    report_example,
    two_view_example,
)
from training.data.ct_radiographs.generate import FilmRecord
from training.data.example import Example

AT_ONCE = 0.12
"""Share of what is answered without reasoning, which keeps that mode alive beside it."""


def reasoning_examples(
    records: Sequence[FilmRecord], *, seed: int, questions: int = 1, reports_at_once: float = 0.0
) -> list[Example]:
    """For every film a reasoned report section and questions; a few are answered at once.

    Two films to compare are rare: they are asked about twice.

    Parameters
    ----------
    reports_at_once
        Share of report sections without reasoning.
    """
    by_id = {record.id: record for record in records}
    rng, of_reports = np.random.default_rng(seed), np.random.default_rng([seed, 8])
    examples: list[Example] = []
    for record in records:
        task = Task.FINDINGS if rng.random() < 0.75 else Task.IMPRESSION
        mode = Mode.ANSWER if of_reports.random() < reports_at_once else Mode.THINK
        examples.append(report_example(record, task, mode, seed=seed))
        mode = Mode.ANSWER if rng.random() < AT_ONCE else Mode.THINK
        examples += question_examples(record, mode, seed=seed, count=questions)
        if record.prior in by_id:
            pair = comparison_example(record, by_id[record.prior], Mode.THINK, seed=seed)
            examples += [pair, pair] if pair else []
        if record.frontal in by_id:
            frontal = by_id[record.frontal]
            examples.append(two_view_example(frontal, record, Mode.THINK, seed=seed))
    return examples
