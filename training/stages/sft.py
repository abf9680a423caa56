"""Stage 1, instruction fine-tuning: film and query to answer."""

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


def answer_examples(records: Sequence[FilmRecord], *, seed: int) -> list[Example]:
    """For every film a report section and a question, and all studies of two films."""
    by_id = {record.id: record for record in records}
    rng = np.random.default_rng(seed)
    examples: list[Example] = []
    for record in records:
        task = Task.FINDINGS if rng.random() < 0.6 else Task.IMPRESSION
        examples.append(report_example(record, task, Mode.ANSWER, seed=seed))
        examples += question_examples(record, Mode.ANSWER, seed=seed, count=1)
        if record.prior in by_id:
            pair = comparison_example(record, by_id[record.prior], Mode.ANSWER, seed=seed)
            examples += [pair] if pair else []
        if record.frontal in by_id:
            frontal = by_id[record.frontal]
            examples.append(two_view_example(frontal, record, Mode.ANSWER, seed=seed))
    return examples
