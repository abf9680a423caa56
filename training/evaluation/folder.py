"""The folder of an evaluation: what was asked, what every system said, and the report of it."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.data.example import Example
from training.data.store import images_folder, read_description, read_examples
from training.data.store.features import from_row, to_row
from training.evaluation.controls import (
    MAJORITY,
    Films,
    FilmViewer,
    exchanged,
    films_by_patient,
    majority,
)
from training.evaluation.learned import LEARNED, columns_in, measure_all
from training.evaluation.page import write_page
from training.evaluation.predict import predict_all
from training.evaluation.results import Contender, Results
from training.evaluation.tables import (
    comma_separated,
    grids_of,
    latex,
    markdown,
    published_grids,
    tables_as_csv,
)
from training.systems.prediction import Prediction, read_predictions
from training.systems.protocol import NoSystemError, System
from training.whole_file import write_whole

_HOW_TO_MEASURE = "deepmedix evaluate learned FOLDER"
RUN, EXAMPLES = "run.json", "examples.jsonl"
LEARNED_FOLDER = "learned"


@dataclass(frozen=True)
class Selection:
    """Which examples of a store are asked about.

    Attributes
    ----------
    limit
        Drawn at random, the same for the same seed; None: all of the split.
    """

    data: Path
    split: str = "test"
    limit: int | None = None
    seed: int = 0


def select(selection: Selection) -> list[Example]:
    """The examples, in the store's order.

    Raises
    ------
    training.data.store.DataError
        When the store cannot be read.
    ValueError
        When the split holds no examples.
    """
    examples = list(read_examples(selection.data, selection.split))
    if not examples:
        raise ValueError(f"{selection.data} holds no examples of the split {selection.split}.")
    if selection.limit is not None and selection.limit < len(examples):
        drawn = random.Random(selection.seed).sample(range(len(examples)), selection.limit)
        return [examples[number] for number in sorted(drawn)]
    return examples


def run(
    selection: Selection,
    systems: Sequence[tuple[str, str, System]],
    out: Path,
    *,
    conditions: Sequence[Films] = (Films.SHOWN,),
    concurrency: int = 8,
    timeout: float = 600.0,
) -> dict[str, str]:
    """Ask every system about every example, on the films themselves and on the controls.

    What was answered in an earlier run into the same folder is not asked for again. A system that
    cannot be asked, or not to the end, is left out: the others are reported. Returns, by its name,
    why; the report says so, too.

    Parameters
    ----------
    systems
        Of each its name, the line that describes it, and itself.

    Raises
    ------
    training.data.store.DataError
        When the examples cannot be read.
    training.systems.protocol.NoSystemError
        When none of the systems can be asked.
    ValueError
        When two systems have one name, there are no examples, or the shuffled control is asked
        for and all films are of one patient.
    """
    names = [name for name, _, _ in systems]
    if len(set(names)) < len(names) or MAJORITY in names:
        raise ValueError("Every system needs a name of its own: NAME=kind:location.")
    examples = select(selection)
    root = images_folder(selection.data)
    films = films_by_patient(examples)
    other = exchanged(films) if Films.SHUFFLED in conditions else None
    out.mkdir(parents=True, exist_ok=True)
    looks = {shown: FilmViewer(root, list(films), shown, other=other) for shown in conditions}
    trained = "train" in read_description(selection.data).splits
    known = list(read_examples(selection.data, "train")) if trained else examples
    commonplaces = majority(known, examples, MAJORITY)
    about: dict[str, Any] = {
        "data": str(selection.data),
        "films": str(root.resolve()),
        "split": selection.split,
        "examples": len(examples),
        "seed": selection.seed,
        "systems": {},
        "left out": {},
        "conditions": [str(shown) for shown in conditions],
        "majority of": "train" if trained else f"{selection.split} itself",
    }
    for name, line, system in systems:
        try:
            asyncio.run(_ask(name, system, examples, looks, out, concurrency, timeout))
        except NoSystemError as error:
            about["left out"][name] = str(error)
        else:
            about["systems"][name] = line
        if about["systems"]:  # what is done can be reported, whatever becomes of the rest
            _settle(out, about, examples, commonplaces)
    left_out: dict[str, str] = about["left out"]
    if not about["systems"]:
        raise NoSystemError("\n".join(left_out.values()))
    return left_out


def _settle(
    out: Path, about: dict[str, Any], examples: Sequence[Example], commonplaces: list[Prediction]
) -> None:
    _write(out / "predictions" / f"{_stem(MAJORITY, Films.SHOWN)}.jsonl", commonplaces)
    lines = [json.dumps(to_row(example), ensure_ascii=False) for example in examples]
    write_whole(out / EXAMPLES, "\n".join(lines) + "\n")
    write_whole(out / RUN, json.dumps(about, indent=1) + "\n")


async def _ask(
    name: str,
    system: System,
    examples: Sequence[Example],
    looks: Mapping[Films, FilmViewer],
    out: Path,
    concurrency: int,
    timeout: float,
) -> None:
    async with AsyncExitStack() as entered:
        try:
            await entered.enter_async_context(system)
        except NoSystemError:
            raise
        except Exception as error:  # whatever keeps one system from starting, others may start
            raise NoSystemError(
                f"{name} does not start: {type(error).__name__}: {error}"
            ) from error
        for shown, look in looks.items():
            stem = _stem(name, shown)
            said = await predict_all(
                name,
                system,
                examples,
                look,
                out / "cache" / f"{stem}.jsonl",
                concurrency=concurrency,
                timeout=timeout,
            )
            _write(out / "predictions" / f"{stem}.jsonl", said)


def read(out: Path, groups: Path | None = None) -> tuple[Results, dict[str, Any]]:
    """The results of a folder, from its files alone, and what was run.

    Parameters
    ----------
    groups
        CSV with a column ``subject`` or ``example`` and one for each sub-group: sex, age, device...

    Raises
    ------
    OSError, ValueError
        When the folder holds no finished evaluation, or a file is not what it should be.
    """
    about = json.loads((out / RUN).read_text())
    rows = (out / EXAMPLES).read_text(encoding="utf-8").split("\n")  # U+2028 ends no line
    examples = [from_row(json.loads(row)) for row in rows if row]
    contenders = []
    for name in about["systems"]:
        for shown in map(Films, about["conditions"]):
            contenders.append(_contender(out, name, shown, examples))
    contenders.append(_contender(out, MAJORITY, Films.SHOWN, examples))
    known = read_groups(groups) if groups else None
    return Results(examples, contenders, known, columns_in(out / LEARNED_FOLDER)), about


def measure_learned(out: Path, names: Sequence[str]) -> dict[str, str]:
    """Measure metrics that are models on all of a folder's reports, and say which could not be.

    Raises
    ------
    OSError, ValueError
        As :func:`read`; or for a metric that there is none of.
    """
    unknown = set(names) - set(LEARNED)
    if unknown:
        raise ValueError(f"--metric {', '.join(unknown)} is none of {', '.join(LEARNED)}.")
    results, _ = read(out)
    said = {contender.label: contender.predictions for contender in results.contenders}
    return measure_all(results.examples, said, names, out / LEARNED_FOLDER)


def write_report(out: Path, groups: Path | None = None, *, worst: int = 6) -> Results:
    """Write ``report.html``, ``report.md``, ``report.csv``, ``tables.csv`` and ``report.tex``.

    No model is needed for it.

    Raises
    ------
    OSError, ValueError
        As :func:`read`.
    """
    results, about = read(out, groups)
    films = Path(about["films"])
    grids = [*grids_of(results), *published_grids()]
    (out / "report.md").write_text(markdown(grids), encoding="utf-8")
    (out / "report.tex").write_text(latex(grids), encoding="utf-8")
    (out / "report.csv").write_text(comma_separated(results), encoding="utf-8")
    (out / "tables.csv").write_text(tables_as_csv(grids), encoding="utf-8")
    unmeasured = [name for name in LEARNED if not (out / LEARNED_FOLDER / f"{name}.json").exists()]
    shown = {
        "films": f"{about['data']}, split {about['split']}, {about['examples']} examples",
        **{f"system {name}": line for name, line in about["systems"].items()},
        **{f"left out: {name}": why for name, why in about.get("left out", {}).items()},
        MAJORITY: f"the commonest answer and report of the split {about['majority of']}",
    }
    if unmeasured:
        shown["not measured"] = f"{', '.join(unmeasured)}: they need weights ({_HOW_TO_MEASURE})"
    drawn = films if films.is_dir() else None
    write_page(out / "report.html", results, drawn, about=shown, worst=worst)
    return results


def read_groups(path: Path) -> Mapping[str, Mapping[str, str]]:
    """Sub-groups by subject or example.

    Raises
    ------
    ValueError
        When the table has neither column.
    """
    found: dict[str, dict[str, str]] = {}
    with path.open(newline="", encoding="utf-8-sig") as lines:
        for row in csv.DictReader(lines):
            key = row.pop("subject", None) or row.pop("example", None)
            if not key:
                raise ValueError(f"{path} needs a column `subject` or `example`.")
            found[key] = {name: value for name, value in row.items() if name and value}
    return found


def _contender(out: Path, name: str, shown: Films, examples: Sequence[Example]) -> Contender:
    path = out / "predictions" / f"{_stem(name, shown)}.jsonl"
    by_example = {prediction.example: prediction for prediction in read_predictions(path)}
    missing = [example.id for example in examples if example.id not in by_example]
    if missing:
        raise ValueError(f"{path} lacks {len(missing)} of {len(examples)} examples.")
    return Contender(name, shown, tuple(by_example[example.id] for example in examples))


def _stem(name: str, shown: Films) -> str:
    """A file's name, another one for every name and condition."""
    safe = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name)
    if safe != name or name.endswith(tuple(f".{control}" for control in Films)):
        safe += f"~{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return safe if shown is Films.SHOWN else f"{safe}.{shown}"


def _write(path: Path, predictions: Sequence[Prediction]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in predictions)
    write_whole(path, "".join(lines))
