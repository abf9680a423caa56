"""Films simulated from a CT (``training.data.ct_radiographs``) as a data set like any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from service.reading import Mode, Task
from training.data.adapters.options import choice
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.example import SPLITS, Example, Region
from training.data.store.errors import DataError

if TYPE_CHECKING:
    from training.data.ct_radiographs.film import FilmFinding
    from training.data.ct_radiographs.generate import FilmRecord

_MODES = {"answer": (Mode.ANSWER,), "think": (Mode.THINK,), "both": (Mode.ANSWER, Mode.THINK)}


class CtFilms:
    """Findings, impression, questions and comparisons of every film.

    Parameters
    ----------
    mode
        ``answer``, ``think`` (with steps), or ``both``.
    questions
        Questions on each film.
    seed
        Other seed, other words.
    split
        Films of one split, or of ``all``.
    """

    card: ClassVar[DataSetCard] = DataSetCard(
        "ct-radiographs",
        "Radiographs simulated from one CT",
        "made here: `make films`, or `deepmedix train embedded`",
        "MIT",
        ("train-0000.jsonl, validate-…, test-… and films/", "(runs/ct after `make checkpoint`)"),
        {
            "mode": "answer, think, or both (default)",
            "questions": "questions on each film (default 3)",
            "seed": "other seed, other words (default 0)",
            "split": "train, validate, test, or all (default)",
        },
    )

    def __init__(
        self,
        root: Path,
        *,
        images: Path | None = None,
        mode: str = "both",
        questions: str = "3",
        seed: str = "0",
        split: str = "all",
    ) -> None:
        from training.data.ct_radiographs.generate import read_records

        self.images = images or root
        self._modes = _MODES[choice("mode", mode, *_MODES)]
        if not (questions.isdigit() and seed.isdigit()):
            raise DataError("questions and seed are whole numbers.")
        self._questions, self._seed = int(questions), int(seed)
        wanted = SPLITS if choice("split", split, *SPLITS, "all") == "all" else (split,)
        found = [name for name in wanted if next(root.glob(f"{name}-*.jsonl"), None)]
        if not found:
            raise DataError(f"{root} has no films (train-0000.jsonl, ...). Make them first.")
        self._records = {r.id: r for name in found for r in read_records(root, name)}

    def studies(self) -> list[str]:
        """Films in order."""
        return list(self._records)

    def read(self, study: str, remark: Remark) -> Iterator[Example]:
        """All examples of one film, with the structures that the CT knows."""
        from training.data.ct_radiographs.examples import (
            comparison_example,
            question_examples,
            report_example,
        )

        record = self._records[study]
        prior = self._records.get(record.prior or "")
        structures = tuple((region.name, region.box) for region in record.structures)
        for mode in self._modes:
            examples = [
                report_example(record, task, mode, seed=self._seed)
                for task in (Task.FINDINGS, Task.IMPRESSION)
            ]
            examples += question_examples(record, mode, seed=self._seed, count=self._questions)
            compared = prior and comparison_example(record, prior, mode, seed=self._seed)
            examples += [compared] if compared else []
            for example in examples:
                yield _whole(example, structures, prior)


def _whole(example: Example, structures: tuple[Region, ...], prior: FilmRecord | None) -> Example:
    """The example with the anatomy that the CT knows and, of two films, the findings of both."""
    if len(example.images) == 1 or prior is None:
        return replace(example, structures=structures, roles=("current",))
    earlier = tuple((_named(finding, prior), finding.box) for finding in prior.findings)
    return replace(
        example,
        structures=structures,
        roles=("current", "prior"),
        regions_by_image=(example.regions, earlier),
    )


def _named(finding: FilmFinding, film: FilmRecord) -> str:
    """As the narrator names it: sides are not told on a lateral film."""
    sided = finding.side is not None and film.view != "LATERAL"
    return f"{finding.side} {finding.kind}" if sided else finding.kind
