"""What a store holds, counted. Patients appear as numbers alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import median, median_low
from typing import Any

from training.data.example import SPLITS, Example
from training.data.groups import AGE_BANDS, age_band

_MOST_LABELS = 40


def count_examples(examples: Iterable[Example]) -> dict[str, Any]:
    """Counts by split, each a table of what and how many; lengths in words, areas as fractions.

    Parameters
    ----------
    examples
        Read once.

    Returns
    -------
    dict
        By split: ``examples``, ``subjects``, ``images``, ``films_per_example``, ``sources``,
        ``tasks``, ``question_types``, ``views``, ``roles``, ``labels``, ``boxes`` by label,
        ``answer_words`` (least, median, most), and ``box_area`` (median); where they are known
        ``studies``, and ``sexes``, ``ages`` in bands, ``devices`` and ``sites`` of examples.
    """
    by_split: dict[str, _Counts] = defaultdict(_Counts)
    for example in examples:
        by_split[example.split].add(example)
    return {split: by_split[split].table() for split in SPLITS if split in by_split}


class _Counts:
    def __init__(self) -> None:
        self.examples = 0
        self.subjects: set[str] = set()
        self.studies: set[str] = set()
        self.images: set[str] = set()
        self.tables: dict[str, Counter[str]] = defaultdict(Counter)
        self.words: list[int] = []
        self.areas: list[float] = []

    def add(self, example: Example) -> None:
        self.examples += 1
        self.subjects.add(example.subject)
        self.images.update(example.images)
        count = self.tables
        count["sources"][example.source] += 1
        count["tasks"][f"{example.task}, {example.mode}"] += 1
        if example.question_type:
            count["question_types"][example.question_type] += 1
        count["views"][example.view] += 1
        if example.study is not None:
            self.studies.add(example.study)
        known = {"sexes": example.sex, "devices": example.device, "sites": example.site}
        for name, value in known.items():
            if value is not None:
                count[name][value] += 1
        if example.age is not None:
            count["ages"][age_band(example.age)] += 1
        count["roles"].update(example.roles)
        count["labels"].update(example.labels)
        count["films_per_example"][str(len(example.images))] += 1
        for image, (width, height) in enumerate(example.sizes):
            for label, box in example.regions_of(image):
                count["boxes"][label] += 1
                area = (box[2] - box[0]) * (box[3] - box[1])
                self.areas.append(area / (width * height))
        self.words.append(len(example.answer.split()))

    def table(self) -> dict[str, Any]:
        return {
            "examples": self.examples,
            "subjects": len(self.subjects),
            **({"studies": len(self.studies)} if self.studies else {}),
            "images": len(self.images),
            **{name: _in_order(table) for name, table in self.tables.items()},
            "answer_words": {
                "least": min(self.words),
                "median": median_low(self.words),
                "most": max(self.words),
            },
            "box_area": {"median": round(median(self.areas), 4)} if self.areas else {},
        }


def _in_order(table: Counter[str]) -> dict[str, int]:
    """The commonest first; ages from young to old."""
    if set(table) <= set(AGE_BANDS):
        return {band: table[band] for band in AGE_BANDS if band in table}
    return dict(table.most_common(_MOST_LABELS))


def print_statistics(counted: dict[str, Any]) -> None:
    """The counts as tables, one column for each split."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", *counted, box=None, pad_edge=False)
    for name in ("examples", "subjects", "studies", "images"):
        if any(name in split for split in counted.values()):
            table.add_row(name, *(str(split.get(name, "")) for split in counted.values()))
    names = [name for split in counted.values() for name in split if isinstance(split[name], dict)]
    for name in dict.fromkeys(names):
        table.add_section()
        table.add_row(f"[bold]{name.replace('_', ' ')}[/bold]")
        rows = dict.fromkeys(row for split in counted.values() for row in split.get(name, {}))
        for row in rows:
            cells = (str(split.get(name, {}).get(row, "")) for split in counted.values())
            table.add_row(f"  {escape(row)}", *cells)
    Console().print(table)
