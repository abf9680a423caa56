"""Metrics that are models join the report where they can run, and are named where they cannot."""

import builtins
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.reading import Task
from tests.training.small_store import Scripted, example, right
from training.evaluation.chexpert import OBSERVATIONS
from training.evaluation.cli import evaluate
from training.evaluation.folder import Selection, read, run
from training.evaluation.learned import (
    CHEXBERT,
    LEARNED,
    UnavailableError,
    columns_in,
    measure,
    measure_all,
)

EXAMPLES = [example(n, task) for n in range(4) for task in (Task.FINDINGS, Task.VQA)]
SAID = {"one": [right(e) for e in EXAMPLES]}


@pytest.fixture
def without_radeval(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *more, **others):
        if name.startswith("radeval"):
            raise ImportError(name)
        return imported(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize("name", LEARNED)
def test_without_the_package_the_metric_says_what_would_do(without_radeval, name: str) -> None:
    with pytest.raises(UnavailableError, match=r"deepmedix\[metrics\]"):
        measure(name, [("a", "b")])


def test_equal_texts_are_measured_once_and_never_again(tmp_path: Path) -> None:
    seen: list[int] = []

    def measured(name: str, pairs):
        seen.append(len(pairs))
        return [{f"{name} of": 1, name: 0.5} for _ in pairs]

    for _ in range(2):
        missing = measure_all(EXAMPLES, SAID, ["GREEN"], tmp_path, measured=measured)
        assert missing == {}
    assert seen == [1]  # all of the films have one report; questions are not asked about
    find = columns_in(tmp_path)
    assert find(EXAMPLES[0], SAID["one"][0]) == {"GREEN of": 1, "GREEN": 0.5}
    assert find(EXAMPLES[1], SAID["one"][1]) == {}


def test_one_that_cannot_run_does_not_keep_the_others(tmp_path: Path) -> None:
    def measured(name: str, pairs):
        if name == "GREEN":
            raise UnavailableError("no weights")
        return [{f"{name} of": 1, name: 1.0} for _ in pairs]

    missing = measure_all(EXAMPLES, SAID, ["GREEN", "RaTEScore"], tmp_path, measured=measured)
    assert missing == {"GREEN": "no weights"}
    assert (tmp_path / "RaTEScore.json").exists()


def test_what_was_measured_stands_in_the_report(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(Selection(store), [("a", "line", Scripted(lambda e, f: right(e)))], out)

    def measured(name: str, pairs):
        if name != CHEXBERT:
            return [{f"{name} of": 1, name: 0.25} for _ in pairs]
        wrong = {f"{CHEXBERT} {o} fn": 1.0 for o in OBSERVATIONS}
        hit = {f"{CHEXBERT} Cardiomegaly tp": 1.0, f"{CHEXBERT} Cardiomegaly fn": 0.0}
        return [{f"{CHEXBERT} of": 1} | wrong | hit for _ in pairs]

    results, _ = read(out)
    said = {c.label: c.predictions for c in results.contenders}
    measure_all(results.examples, said, list(LEARNED), out / "learned", measured=measured)
    rows = {r.score: r for r in read(out)[0].rows if r.contender == "a"}
    assert rows["RadCliQ-v1"].value == 0.25
    assert rows["RadCliQ-v1"].better is False
    assert rows["CheXbert micro-F1, 14"].value == pytest.approx(2 / (2 + 13))
    assert rows["CheXbert macro-F1, 5"].value == pytest.approx(1 / 5)


def test_the_command_names_what_is_missing_and_fails_where_nothing_ran(
    without_radeval, store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(Selection(store), [("a", "line", Scripted(lambda e, f: right(e)))], out)
    done = CliRunner().invoke(evaluate, ["learned", str(out), "--metric", "GREEN"])
    assert done.exit_code == 1
    assert "GREEN: GREEN needs radeval" in done.output
    wrong = CliRunner().invoke(evaluate, ["learned", str(out), "--metric", "CIDEr"])
    assert wrong.exit_code == 2
    assert "is none of" in wrong.output
    assert json.loads((out / "run.json").read_text())["examples"] == 48
