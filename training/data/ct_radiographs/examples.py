"""Examples of a simulated film: its report sections, questions about it, and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.reading import Mode, Task
from training.data.ct_radiographs.generate import FilmRecord
from training.data.ct_radiographs.language import KINDS, Narrator
from training.data.example import Example, ReasoningTarget, Role


def _example(
    narrator: Narrator,
    number: str,
    task: Task,
    mode: Mode,
    answer: str,
    steps: Sequence[ReasoningTarget],
    question: str | None = None,
    kind: str | None = None,
) -> Example:
    record = narrator.record
    return Example(
        id=f"{record.id}/{number}",
        images=(record.path,),
        sizes=((record.width, record.height),),
        task=task,
        mode=mode,
        answer=answer,
        steps=tuple(steps) if mode is Mode.THINK else (),
        split=record.split,
        subject=record.subject,
        view=record.view,
        question=question,
        question_type=kind,
        labels=narrator.labels(),
        regions=narrator.regions(),
    )


def report_example(record: FilmRecord, task: Task, mode: Mode, *, seed: int) -> Example:
    """The findings or impression of a film."""
    rng = np.random.default_rng([seed, *record.id.encode(), len(task)])
    narrator = Narrator(record, rng)
    steps = narrator.steps()
    answer = narrator.findings() if task is Task.FINDINGS else narrator.impression()
    return _example(narrator, f"{task}-{mode}-{seed}", task, mode, answer, steps)


def question_examples(record: FilmRecord, mode: Mode, *, seed: int, count: int) -> list[Example]:
    """Some questions of different types about a film, rarer types first."""
    rng = np.random.default_rng([seed, *record.id.encode(), 7])
    narrator = Narrator(record, rng)
    asked = narrator.questions()
    order = rng.permutation(len(asked))
    # One of each type before a second of any: most of what can be asked is about presence.
    seen: dict[str, int] = {}
    ranked = []
    for i in order:
        kind = asked[i][0]
        seen[kind] = seen.get(kind, 0) + 1
        ranked.append((seen[kind], rng.random(), i))
    chosen = [asked[i] for _, _, i in sorted(ranked)[:count]]
    return [
        _example(narrator, f"vqa-{mode}-{seed}-{n}", Task.VQA, mode, answer, steps, question, kind)
        for n, (kind, question, answer, steps) in enumerate(chosen)
    ]


def comparison_example(
    record: FilmRecord, prior: FilmRecord, mode: Mode, *, seed: int
) -> Example | None:
    """A question about the change between two films of one patient, the later film first."""
    if not record.change:
        return None
    rng = np.random.default_rng([seed, *record.id.encode(), 11])
    named, change = list(record.change.items())[int(rng.integers(len(record.change)))]
    side, kind = named.split(" ", 1)
    lateral = record.view == "LATERAL"
    boxes = [
        next((f.box for f in film.findings if f.kind == kind and f.side == side), None)
        for film in (record, prior)
    ]
    name = kind if lateral else named
    steps = [
        ReasoningTarget(f"Image {n + 1} shows the {name}", ((n, box),))
        for n, box in enumerate(boxes)
        if box is not None
    ]
    example = _example(
        Narrator(record, rng),
        f"comparison-{mode}-{seed}",
        Task.VQA,
        mode,
        change.capitalize(),
        steps,
        f"Compared with image 2, is the {name} larger, smaller or unchanged?",
        "comparison",
    )
    return _beside(example, prior, "prior")


def two_view_example(record: FilmRecord, lateral: FilmRecord, mode: Mode, *, seed: int) -> Example:
    """The findings of a study of two films, the frontal first.

    The lateral's steps say which of the findings it shows, without a side.
    """
    example = report_example(record, Task.FINDINGS, mode, seed=seed)
    beside = Narrator(lateral, np.random.default_rng([seed, *lateral.id.encode()]))
    named = {finding.kind for finding in record.findings}
    steps = tuple(
        ReasoningTarget(
            f"Image 2 shows {'' if kind == 'cardiomegaly' else 'the '}{kind}",
            tuple((1, item.box) for item in items),
        )
        for kind in (*KINDS, "cardiomegaly")
        if kind in named and (items := beside.of(kind))
    )
    both = replace(example, id=f"{example.id}-two-views", steps=example.steps + steps)
    return _beside(both if mode is Mode.THINK else replace(both, steps=()), lateral, "lateral")


def _beside(example: Example, other: FilmRecord, role: Role) -> Example:
    """The same with another film after the first."""
    return replace(
        example,
        images=(*example.images, other.path),
        sizes=(*example.sizes, (other.width, other.height)),
        roles=("current", role),
        regions_by_image=(example.regions, Narrator(other, np.random.default_rng(0)).regions()),
    )
