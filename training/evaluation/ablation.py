"""What each stage of training adds, on the same films, each also without looking at them."""

from __future__ import annotations

import asyncio
import glob
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

from service.engine import EngineSettings, VllmEngine, load_manifest
from service.reading import Mode
from training.checkpoint import data_hash
from training.evaluation.controls import Films
from training.evaluation.figures import HEADLINES, difference, figures_of
from training.evaluation.film_score import FilmScore, read_scores, write_scores
from training.evaluation.held_out import evaluate


@dataclass(frozen=True)
class Contestant:
    """A checkpoint to be measured.

    Attributes
    ----------
    name
        As the table names it.
    checkpoint
        Exported folder, with its manifest.
    mode
        How it is asked: a checkpoint before the cold start knows answers only.
    """

    name: str
    checkpoint: Path
    mode: Mode = Mode.THINK


@dataclass(frozen=True)
class Measured:
    """A contestant's scores under one condition."""

    contestant: str
    shown: Films
    scores: tuple[FilmScore, ...]


def run_ablation(
    contestants: Sequence[Contestant],
    films: Path,
    output: Path,
    *,
    count: int,
    control_count: int | None = None,
) -> list[Measured]:
    """Measure every contestant on the films and on both controls.

    Scores are kept in ``output``, one file for each contestant's weights, the films and the
    condition: what an earlier run has measured is not measured again, nor the first films where it
    measured fewer.

    Parameters
    ----------
    count, control_count
        Films shown as they are, and films of each control, if fewer.

    Raises
    ------
    service.engine.ManifestError
        When a checkpoint does not verify.
    FileNotFoundError
        When the test films were not generated.
    """
    measured = []
    counts = dict.fromkeys(Films, control_count or count) | {Films.SHOWN: count}
    seen = data_hash(films, "test")[:8]
    for contestant in contestants:
        manifest, _ = load_manifest(str(contestant.checkpoint))
        name = f"{contestant.checkpoint.name}-{manifest.revision}-{seen}"
        files = {shown: _File(output, f"{name}-{shown}", some) for shown, some in counts.items()}
        if missing := {s: file for s, file in files.items() if not file.path.exists()}:
            asyncio.run(_measure(contestant, films, missing))
        measured += [
            Measured(contestant.name, shown, tuple(read_scores(file.path)))
            for shown, file in files.items()
        ]
    return measured


@dataclass(frozen=True)
class _File:
    """Scores of the first so many films."""

    folder: Path
    name: str
    count: int

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}-{self.count}.jsonl"

    def known(self) -> list[FilmScore]:
        """Of the first films, from the largest file of fewer."""
        counts = (
            path.stem.removeprefix(f"{self.name}-")
            for path in self.folder.glob(f"{glob.escape(self.name)}-*.jsonl")
        )
        fewer = [int(some) for some in counts if some.isdecimal() and int(some) < self.count]
        return read_scores(replace(self, count=max(fewer)).path) if fewer else []


async def _measure(contestant: Contestant, films: Path, files: dict[Films, _File]) -> None:
    engine = VllmEngine(EngineSettings(str(contestant.checkpoint)))
    await engine.start()
    try:
        for shown, file in files.items():
            scores = file.known()
            scores += await evaluate(
                engine,
                films,
                films=file.count,
                skip=len(scores),
                shown=shown,
                mode=contestant.mode,
            )
            write_scores(scores, file.path)
    finally:
        await engine.stop()


def write_ablation(
    measured: Sequence[Measured], folder: Path, *, beside: str | None = None
) -> None:
    """``ablation.json`` with every figure and interval, ``ablation.md`` with tables of them.

    Parameters
    ----------
    measured
        All on the same films, in the same order.
    folder
        Receives both files.
    beside
        The contestant from which the others' differences are told, in a table and a
        ``differences.json`` of their own.
    """
    rows = []
    for item in measured:
        for name, figure in figures_of(item.scores).items():
            value, interval = figure(item.scores), figure.interval(item.scores)
            if isnan(value):  # boxes of findings rightly named, where none was
                continue
            rows.append(
                {
                    "contestant": item.contestant,
                    "shown": str(item.shown),
                    "figure": name,
                    "value": round(value, 4),
                    "interval": [round(bound, 4) for bound in interval],
                    "films": len(item.scores),
                }
            )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ablation.json").write_text(json.dumps(rows, indent=1) + "\n")
    tables = [headline_table(rows), detail_table(rows)]
    if beside is not None:
        found = differences(measured, beside)
        (folder / "differences.json").write_text(json.dumps(found, indent=1) + "\n")
        tables.append(difference_table(found, beside))
    (folder / "ablation.md").write_text("\n".join(tables))


def differences(measured: Sequence[Measured], beside: str) -> list[dict[str, Any]]:
    """What each contestant has more than one of them, film by film: figure, value, 95% interval.

    Resampled in pairs, so that what is hard in a film is hard for both: these intervals tell of a
    difference that those of the two figures, side by side, may hide.
    """
    shown = {item.contestant: item.scores for item in measured if item.shown is Films.SHOWN}
    base = shown.pop(beside)
    rows = []
    for contestant, scores in shown.items():
        for name, figure in figures_of(scores, base).items():
            if name not in HEADLINES and "with its lateral" not in name:
                continue
            value, (low, high) = difference(figure, scores, base)
            if isnan(value):
                continue
            rows.append(
                {
                    "contestant": contestant,
                    "shown": str(Films.SHOWN),
                    "figure": name,
                    "value": round(value, 4),
                    "interval": [round(low, 4), round(high, 4)],
                    "films": len(scores),
                }
            )
    return rows


def difference_table(rows: Sequence[dict[str, Any]], beside: str) -> str:
    """Markdown: a line for each figure, a column for each contestant."""
    return _table(rows, f"more than {beside}, film by film")


def detail_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: what is not a headline, on the films themselves; a column for each contestant."""
    shown = [r for r in rows if r["shown"] == Films.SHOWN and r["figure"] not in HEADLINES]
    return _table(shown, "")


def _table(rows: Sequence[dict[str, Any]], corner: str) -> str:
    contestants = list(dict.fromkeys(r["contestant"] for r in rows))
    cells = {(r["figure"], r["contestant"]): _cell(r) for r in rows}
    lines = [f"| {corner} | " + " | ".join(contestants) + " |", "|---|" + "---|" * len(contestants)]
    for figure in dict.fromkeys(r["figure"] for r in rows):
        line = [cells.get((figure, contestant), "none") for contestant in contestants]
        lines.append(f"| {figure} | " + " | ".join(line) + " |")
    return "\n".join(lines) + "\n"


def headline_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line for each contestant and condition, a column for each headline."""
    names = list(HEADLINES)
    lines = [
        "| checkpoint | films | " + " | ".join(names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    cells = {(r["contestant"], r["shown"], r["figure"]): r for r in rows}
    for contestant, shown in dict.fromkeys((r["contestant"], r["shown"]) for r in rows):
        line = [f"| {contestant} | {shown}"]
        for name in names:
            cell = cells.get((contestant, shown, name))
            line.append("none" if cell is None else _cell(cell))
        lines.append(" | ".join(line) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    digits = 0 if row["figure"] == "words" else 3
    return f"{row['value']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
