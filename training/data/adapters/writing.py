"""From what an adapter read of a study to its examples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.reading import Mode, Task
from training.data.adapters.films import Film, view_name
from training.data.adapters.protocol import DataSetCard, Remark
from training.data.example import Example, ReasoningTarget
from training.data.groups import NOT_TOLD, Groups

NO_SECTIONS = "report with neither findings nor impression"
ONLY_GAPS = "section without a word beside gaps of de-identification: left out"
NO_ANSWER = "question without an answer"
GAP = re.compile(r"_{2,}|X{3,}")
"""What de-identification left in the place of a word."""
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Report:
    """Sections of a report; None for those that it has not."""

    findings: str | None = None
    impression: str | None = None
    indication: str | None = None
    technique: str | None = None
    comparison: str | None = None

    def fields(self) -> dict[str, str | None]:
        """The sections by the names that :class:`Example` has for them."""
        return dict(vars(self))

    def text(self) -> str:
        """Findings and impression as one text."""
        return "\n\n".join(filter(None, (self.findings, self.impression)))


@dataclass(frozen=True)
class Study:
    """What the examples of one study share.

    Attributes
    ----------
    study
        The study in its namespace; None where the source tells none.
    groups
        What the source's tables say of patient and equipment; the first film's header says the
        rest.
    """

    card: DataSetCard
    key: str
    subject: str
    split: str
    films: Sequence[Film]
    study: str | None = None
    groups: Groups = NOT_TOLD

    def example(self, name: str, task: Task, answer: str, **fields: Any) -> Example:
        """An example of this study, reasoning where steps are given."""
        steps: tuple[ReasoningTarget, ...] = tuple(fields.pop("steps", ()))
        return Example(
            id=f"{self.card.name}/{self.key}/{name}",
            images=tuple(film.path for film in self.films),
            sizes=tuple(film.size for film in self.films),
            roles=tuple(film.role for film in self.films),
            view=self.films[0].view if self.films else view_name(""),
            task=task,
            mode=Mode.THINK if steps else Mode.ANSWER,
            answer=answer,
            steps=steps,
            split=self.split,
            subject=self.subject,
            source=self.card.name,
            licence=self.card.licence,
            study=self.study,
            **vars(self.groups.over(self.films[0].groups) if self.films else self.groups),
            **fields,
        )

    def reports(self, report: Report, remark: Remark, **fields: Any) -> Iterator[Example]:
        """One example for each of findings and impression that the report has."""
        for name in ("findings", "impression"):
            text = getattr(report, name)
            if text and not _LETTER.search(GAP.sub("", text)):
                remark(ONLY_GAPS)
                report = replace(report, **{name: None})
        if not report.findings and not report.impression:
            remark(NO_SECTIONS)
            return
        shared = {**report.fields(), **fields}
        for task, section in (
            (Task.FINDINGS, report.findings),
            (Task.IMPRESSION, report.impression),
        ):
            if section:
                yield self.example(str(task), task, section, **shared)

    def question(
        self, name: str, question: str, answers: Sequence[str], kind: str, **fields: Any
    ) -> Example:
        """A question with its answer; several are written with `` | `` between them."""
        return self.example(
            name,
            Task.VQA,
            " | ".join(answers),
            question=question,
            question_type=kind,
            **fields,
        )
