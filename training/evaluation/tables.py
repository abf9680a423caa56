"""Results as Markdown, CSV and LaTeX: the same tables, the same numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import isnan

from training.evaluation.published import QUESTIONS, REPORT_FIGURES, REPORTS
from training.evaluation.results import Results, Row

_SPECIAL = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#"}


@dataclass(frozen=True)
class Grid:
    """A table: a title, names of columns, and lines of cells, the first of each its name."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def grids_of(results: Results) -> list[Grid]:
    """Headlines by stratum, then everything by stratum and group, then sub-groups, then tests."""
    grids = []
    strata = list(dict.fromkeys(row.stratum for row in results.rows))
    for stratum in strata:
        some = [row for row in results.rows if row.stratum == stratum]
        grids.append(_grid(stratum, [row for row in some if row.headline]))
    for stratum in results.strata:
        some = [row for row in results.rows if row.stratum == stratum and not row.headline]
        for group in dict.fromkeys(row.group for row in some):
            own = [row for row in some if row.group == group]
            grids.append(_grid(f"{stratum}: {group}", own))
    for title, rows in (("by question", results.question_types), ("by group", results.subgroups)):
        for stratum in dict.fromkeys(row.stratum for row in rows):
            own = [row for row in rows if row.stratum == stratum]
            grids += [
                _grid(f"{stratum}, {title}: {score}", [r for r in own if r.score == score], "part")
                for score in dict.fromkeys(row.score for row in own)
            ]
    if results.compared:
        grids.append(_comparisons(results))
    return grids


def published_grids() -> list[Grid]:
    """The paper's figures."""
    note = "Published (arXiv 2509.03906; other films, other labelers)"
    reports = [(name, *(f"{value:.3f}" for value in row)) for name, row in REPORTS.items()]
    answers = [(name, f"{value:.2f}") for name, value in QUESTIONS.items()]
    return [
        Grid(f"{note}: reports", ("model", *REPORT_FIGURES), tuple(reports)),
        Grid(f"{note}: questions", ("model", "VQA score"), tuple(answers)),
    ]


def markdown(grids: Sequence[Grid]) -> str:
    """Every table under its title."""
    parts = []
    for grid in grids:
        lines = [f"## {grid.title}", "", "| " + " | ".join(grid.columns) + " |"]
        lines.append("|" + "---|" * len(grid.columns))
        lines += ["| " + " | ".join(line) + " |" for line in grid.lines]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def latex(grids: Sequence[Grid]) -> str:
    """A ``tabular`` for each table (booktabs)."""
    parts = []
    for grid in grids:
        lines = [f"% {grid.title}", r"\begin{tabular}{l" + "r" * (len(grid.columns) - 1) + "}"]
        lines += [r"\toprule", " & ".join(map(_escaped, grid.columns)) + r" \\", r"\midrule"]
        lines += [" & ".join(map(_escaped, line)) + r" \\" for line in grid.lines]
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    return "\n\n".join(parts) + "\n"


def comma_separated(results: Results) -> str:
    """Every figure with its interval, one a line."""
    written = io.StringIO()
    writer = csv.DictWriter(written, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in (*results.rows, *results.question_types, *results.subgroups):
        writer.writerow(asdict(row))
    return written.getvalue()


def cell(row: Row) -> str:
    """Value and interval."""
    digits = 1 if row.score in ("words", "seconds", "steps") else 3
    if isnan(row.low):
        return f"{row.value:.{digits}f}"
    return f"{row.value:.{digits}f} ({row.low:.{digits}f} to {row.high:.{digits}f})"


def _grid(title: str, rows: Sequence[Row], first: str = "system") -> Grid:
    """Contenders down, figures across; or parts down and contenders across."""
    if first == "part":
        names = list(dict.fromkeys(row.contender for row in rows))
        found = {(row.subgroup, row.contender): row for row in rows}
        lines = []
        for part in dict.fromkeys(row.subgroup for row in rows):
            own = [found.get((part, name)) for name in names]
            studies = next(row.studies for row in own if row is not None)
            cells = [cell(row) if row else "" for row in own]
            lines.append((f"{part} (n = {studies})", *cells))
        return Grid(title, ("", *names), tuple(lines))
    scores = list(dict.fromkeys(row.score for row in rows))
    found = {(row.contender, row.score): row for row in rows}
    lines = []
    for name in dict.fromkeys(row.contender for row in rows):
        own = [found.get((name, score)) for score in scores]
        lines.append((name, *(cell(row) if row else "" for row in own)))
    return Grid(title, (first, *scores), tuple(lines))


def _comparisons(results: Results) -> Grid:
    lines = []
    for item in results.compared:
        told = item.difference
        span = f"{told.value:+.3f} ({told.low:+.3f} to {told.high:+.3f})"
        names = (f"{item.one} less {item.other}", item.stratum, item.score)
        lines.append((*names, span, f"{told.p:.4f}"))
    columns = ("systems", "films and task", "figure", "difference", "p")
    title = "Differences on the same studies (paired bootstrap; paired randomisation test)"
    return Grid(title, columns, tuple(lines))


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
