"""Results as Markdown, CSV and LaTeX: the same tables, the same numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from math import isnan

from training.evaluation.controls import MAJORITY, Films
from training.evaluation.fairness import gaps_of
from training.evaluation.published import QUESTIONS, REPORT_FIGURES, REPORTS
from training.evaluation.results import Results, Row
from training.evaluation.sight import Sight, sight_of
from training.evaluation.sums import Difference

_SPECIAL = {letter: f"\\{letter}" for letter in "&%_#${}"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


@dataclass(frozen=True)
class Grid:
    """A table: a title, names of columns, and lines of cells, the first of each its name."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@lru_cache(maxsize=1)  # page, files and terminal ask for the same
def grids_of(results: Results) -> tuple[Grid, ...]:
    """Headlines by stratum, then everything by stratum and group, then sub-groups, then tests."""
    grids = []
    strata = list(dict.fromkeys(row.stratum for row in results.rows))
    for stratum in strata:
        some = [row for row in results.rows if row.stratum == stratum]
        grids.append(_grid(stratum, [row for row in some if row.headline]))
    grids += _pointing(results)
    grids += _sight(results)
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
    grids += _fairness(results)
    if results.compared:
        grids.append(_comparisons(results))
    return tuple(grids)


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
        lines = [f"## {_one_line(grid.title)}", "", _markdown_row(grid.columns)]
        lines.append("|" + "---|" * len(grid.columns))
        lines += map(_markdown_row, grid.lines)
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def latex(grids: Sequence[Grid]) -> str:
    """A ``tabular`` for each table (booktabs)."""
    parts = []
    for grid in grids:
        columns = "l" + "r" * (len(grid.columns) - 1)
        lines = [f"% {_one_line(grid.title)}", rf"\begin{{tabular}}{{{columns}}}"]
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


def tables_as_csv(grids: Sequence[Grid]) -> str:
    """The tables as they stand: under each title its columns, then its lines."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for grid in grids:
        writer.writerows([(grid.title,), grid.columns, *grid.lines, ()])
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


def _pointing(results: Results) -> list[Grid]:
    """Whose boxes are scored where questions are asked."""
    lines = [
        (system, stratum, "yes" if asked else "no: its boxes are not scored")
        for stratum, systems in results.pointing.items()
        for system, asked in systems.items()
        if system != MAJORITY
    ]
    columns = ("system", "films and task", "asked to point, or did")
    return [Grid("Boxes of questions: whose are scored", columns, tuple(lines))][: len(lines)]


def _sight(results: Results) -> list[Grid]:
    """What a system has over itself shown blank films; what of a gain over another is sight."""
    known = {(row.contender, row.stratum, row.score): row for row in results.rows}

    def value(contender: str, item: Sight) -> str:
        row = known.get((contender, item.stratum, item.score))
        return f"{row.value:.3f}" if row else ""

    own, gains = [], []
    for item in sight_of(results):
        if item.blank is None:
            controls = (f"{item.one}, {shown} films" for shown in (Films.BLANK, Films.SHUFFLED))
            cells = [value(name, item) for name in (item.one, *controls, MAJORITY)]
            line = (item.one, item.stratum, item.score, *cells, _span(item.films), item.verdict)
            own.append(line)
        else:
            spans = (_span(item.films), _span(item.blank))
            names = (f"{item.one} over {item.other}", item.stratum, item.score)
            gains.append((*names, *spans, item.verdict))
    head = ("films and task", "figure")
    columns = ("system", *head, "films", "blank", "shuffled", MAJORITY, "films less blank", "sight")
    both = ("systems", *head, "gain", "gain on blank films", "sight")
    grids = [
        Grid("What sight adds: each system beside its controls", columns, tuple(own)),
        Grid("What of a gain blank films share", both, tuple(gains)),
    ]
    return [grid for grid in grids if grid.lines]


def _fairness(results: Results) -> list[Grid]:
    lines = [
        (
            *(gap.system, gap.stratum, gap.kind, gap.score),
            *(f"{name} {value:.3f}" for name, value in (gap.best, gap.worst)),
            f"{gap.value:.3f} ({gap.low:+.3f} to {gap.high:+.3f})",
            gap.verdict,
        )
        for gap in gaps_of(results)
    ]
    columns = ("system", "films and task", "by", "figure", "best", "worst", "gap", "")
    return [Grid("Fairness: the best and the worst sub-group", columns, tuple(lines))][: len(lines)]


def _span(told: Difference) -> str:
    return f"{told.value:+.3f} ({told.low:+.3f} to {told.high:+.3f})"


def _comparisons(results: Results) -> Grid:
    lines = []
    for item in results.compared:
        told = item.difference
        names = (f"{item.one} less {item.other}", item.stratum, item.score)
        lines.append((*names, _span(told), f"{told.p:.4f}"))
    columns = ("systems", "films and task", "figure", "difference", "p")
    title = "Differences on the same studies (paired bootstrap; paired randomisation test)"
    return Grid(title, columns, tuple(lines))


def _escaped(text: str) -> str:
    """For LaTeX."""
    return "".join(_SPECIAL.get(letter, letter) for letter in _one_line(text))


def _markdown_row(cells: Sequence[str]) -> str:
    told = (_one_line(cell).replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(told) + " |"


def _one_line(text: str) -> str:
    return " ".join(text.split())
