"""A whole evaluation: asked, controlled, compared, written as a page that needs no network."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.engine import ManifestError
from service.reading import Task
from tests.training.scripted_server import completion
from tests.training.small_store import Scripted, example, right
from training.data.example import Example
from training.data.store import write_examples
from training.evaluation.cli import evaluate
from training.evaluation.controls import Films, majority
from training.evaluation.folder import MAJORITY, Selection, read, run, write_report
from training.evaluation.results import WEIGHTED, Contender, Results
from training.systems.prediction import Failure, PredictedStep, Prediction
from training.systems.protocol import NoSystemError


def seeing(asked: Example, films: Sequence[bytes]) -> Prediction:
    """Right where it is shown this very film, else at a loss."""
    from training.systems.protocol import FailedError

    said = right(asked)
    if asked.id == "findings-3":
        raise FailedError(Failure.REFUSED)
    if hash(films[0]) in KNOWN:
        return said
    return replace(said, answer="Normal.", text="Normal.", steps=())


KNOWN: set[int] = set()


@pytest.fixture
def folder(store: Path, films: Path, tmp_path: Path) -> Path:
    KNOWN.clear()
    KNOWN.update(hash(path.read_bytes()) for path in films.iterdir())
    out = tmp_path / "out"
    guessing = Scripted(lambda e, f: replace(right(e), answer="Yes", text="Yes", steps=()), "guess")
    run(
        Selection(store),
        [("seeing", "in the test", Scripted(seeing)), ("guessing", "in the test", guessing)],
        out,
        conditions=tuple(Films),
    )
    return out


def row_of(results: Results, contender: str, stratum: str, score: str):
    (found,) = [
        row
        for row in results.rows
        if (row.contender, row.stratum, row.score) == (contender, stratum, score)
    ]
    return found


def test_systems_controls_and_the_majority_stand_side_by_side(folder: Path) -> None:
    results, about = read(folder)
    assert [c.label for c in results.contenders] == [
        "seeing",
        "seeing, blank films",
        "seeing, shuffled films",
        "guessing",
        "guessing, blank films",
        "guessing, shuffled films",
        MAJORITY,
    ]
    assert about["examples"] == 48
    findings, questions = "made, findings", "made, vqa"
    shown = row_of(results, "seeing", findings, "matched IoU")
    assert shown.value == pytest.approx(23 / 24)
    assert shown.low < shown.value <= shown.high
    assert row_of(results, "seeing, blank films", findings, "matched IoU").value == 0
    assert row_of(results, "seeing", findings, "failed").value == pytest.approx(1 / 24)
    assert row_of(results, "seeing", questions, "VQA, normalised").value == 1
    yes = row_of(results, MAJORITY, questions, "VQA, normalised").value
    assert yes == row_of(results, "guessing", questions, "VQA, normalised").value == 16 / 24
    # As many of either task: weighted is the mean.
    parsed = [row_of(results, "seeing", s, "parsed").value for s in (findings, questions, WEIGHTED)]
    assert parsed[2] == pytest.approx((parsed[0] + parsed[1]) / 2)


def test_a_gain_that_a_blank_film_shares_is_shown_as_none(folder: Path) -> None:
    results, _ = read(folder)
    found = {(c.one, c.other, c.stratum, c.score): c.difference for c in results.compared}
    name = ("made, vqa", "VQA, normalised")
    blind = found["guessing", "guessing, blank films", *name]
    assert blind.value == blind.low == blind.high == 0
    assert blind.p == 1
    sighted = found["seeing", "guessing", *name]
    assert sighted.value == pytest.approx(8 / 24)
    assert sighted.p < 0.05


def test_subgroups_are_by_view_and_by_what_the_caller_knows(folder: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.csv"
    lines = ["subject,sex", *(f"patient-{n},{'F' if n < 12 else 'M'}" for n in range(24))]
    groups.write_text("\n".join(lines))
    results, _ = read(folder, groups)
    some = {row.subgroup: row for row in results.subgroups if row.score == "VQA, normalised"}
    assert set(some) == {"view: AP", "view: PA", "sex: F", "sex: M"}
    assert some["sex: F"].studies == 12
    assert {row.subgroup for row in results.question_types} == {"question: presence"}
    groups.write_text("\n".join(lines), encoding="utf-8-sig")  # as a spreadsheet writes it
    marked, _ = read(folder, groups)
    assert [row.subgroup for row in marked.subgroups] == [row.subgroup for row in results.subgroups]
    groups.write_text("patient,sex\n1,F\n")
    with pytest.raises(ValueError, match="column `subject`"):
        read(folder, groups)


def test_worst_cases_are_failures_first(folder: Path) -> None:
    results, _ = read(folder)
    cases = results.worst("seeing")
    assert [results.examples[case.number].id for case in cases] == ["findings-3"]
    assert cases[0].score == "failed"
    assert len(results.worst("guessing", 5)) == 5


def test_the_report_is_written_again_without_any_system(folder: Path) -> None:
    for path in (folder / "cache").iterdir():
        path.unlink()
    done = CliRunner().invoke(evaluate, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    page = (folder / "report.html").read_text()
    # No address but those of namespaces: nothing is fetched.
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "default-src 'none'" in page
    assert "made, findings" in page
    assert "DeepMedix-R1" in page
    assert page.count("<rect") > 20
    assert "data:image/jpeg;base64," in page
    table = (folder / "report.md").read_text()
    assert "| seeing |" in table
    assert r"\toprule" in (folder / "report.tex").read_text()
    with (folder / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [r for r in rows if (r["contender"], r["score"]) == ("seeing", "matched IoU")]
    assert float(found[0]["value"]) == pytest.approx(23 / 24)


def test_what_a_system_or_a_reference_says_cannot_break_the_page(store, films, tmp_path) -> None:
    nasty = "</script><script>alert(1)</script> Is | a & b < c?"
    out = tmp_path / "nasty"
    says = Scripted(lambda e, f: replace(right(e), answer=nasty, text=nasty))
    run(Selection(store, limit=4), [(nasty, "line", says)], out)
    write_report(out)
    assert "<script>alert" not in (out / "report.html").read_text()


def test_every_system_and_condition_has_a_file_of_its_own(store, tmp_path: Path) -> None:
    names = ["a/b", "a_b", "a b", "R1", "R1.blank", "R1.shuffled", "R1_blank", "R1.shown"]
    says = {
        name: Scripted(lambda e, f, name=name: replace(right(e), text=name, answer=name), name)
        for name in names
    }
    out = tmp_path / "out"
    run(
        Selection(store, limit=4),
        [(name, "", system) for name, system in says.items()],
        out,
        conditions=tuple(Films),
    )
    results, _ = read(out)
    for contender in results.contenders[:-1]:
        assert {p.answer for p in contender.predictions} == {contender.system}
    assert len(list((out / "predictions").iterdir())) == 3 * len(names) + 1


def test_a_reference_with_line_separators_in_it_is_read_again(films: Path, tmp_path: Path) -> None:
    odd = "No effusion.\N{LINE SEPARATOR}Heart\N{NEXT LINE}normal."
    some = [example(n, answer=odd, indication=odd) for n in range(3)]
    write_examples(tmp_path / "odd", some, images_root=films)
    out = tmp_path / "out"
    run(Selection(tmp_path / "odd"), [("a", "", Scripted(lambda e, f: right(e)))], out)
    results, _ = read(out)
    assert [e.answer for e in results.examples] == [odd] * 3
    assert {p.answer for p in results.contenders[0].predictions} == {odd}


class Dead(Scripted):
    """A system that dies when it is started, or at its fourth example."""

    def __init__(self, error: Exception, *, at_once: bool) -> None:
        super().__init__(lambda e, f: right(e))
        self.error = error
        self.at_once = at_once

    async def __aenter__(self) -> "Dead":
        if self.at_once:
            raise self.error
        return self

    async def predict(self, asked: Example, films: Sequence[bytes]) -> Prediction:
        if len(self.asked) == 3:
            raise NoSystemError(str(self.error))
        return await super().predict(asked, films)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("error", [NoSystemError("key?"), ManifestError("key?"), OSError("key?")])
def test_a_dead_system_takes_no_others_results_with_it(store, tmp_path, error, at_once) -> None:
    well = [Scripted(lambda e, f: right(e)) for _ in range(2)]
    systems = [("a", "", well[0]), ("dead", "", Dead(error, at_once=at_once)), ("b", "", well[1])]
    left_out = run(Selection(store, limit=6), systems, tmp_path / "out")
    assert list(left_out) == ["dead"]
    assert "key?" in left_out["dead"]
    results = write_report(tmp_path / "out")
    assert [c.label for c in results.contenders] == ["a", "b", MAJORITY]
    assert "left out: dead" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(NoSystemError, match=r"key\?"):
        run(Selection(store, limit=6), [systems[1]], tmp_path / "none")


def test_a_finished_system_is_reported_though_the_next_is_interrupted(store, tmp_path) -> None:
    def interrupts(e: Example, films: Sequence[bytes]) -> Prediction:
        raise KeyboardInterrupt

    systems = [("a", "", Scripted(lambda e, f: right(e))), ("b", "", Scripted(interrupts))]
    with pytest.raises(KeyboardInterrupt):
        run(Selection(store, limit=6), systems, tmp_path / "out")
    assert [c.label for c in read(tmp_path / "out")[0].contenders] == ["a", MAJORITY]


def test_the_command_reports_the_living_and_says_who_is_dead(store, server, tmp_path: Path) -> None:
    server.script = lambda request: (
        (401, {}, {}) if request["model"] == "b" else (200, {}, completion("Large heart."))
    )
    arguments = ["--data", str(store), "--out", str(tmp_path / "out"), "--no-controls"]
    for name in "ba":
        arguments += ["--system", f"{name}=endpoint:{server.url},model={name}"]
    done = CliRunner().invoke(evaluate, arguments)
    assert done.exit_code == 1
    assert "b is left out" in done.output
    assert "does not accept the key" in done.output
    assert "| a |" in (tmp_path / "out" / "report.md").read_text()


def test_the_page_says_which_metrics_were_not_run(folder: Path) -> None:
    write_report(folder)
    assert "not measured" in (folder / "report.html").read_text()
    assert "GREEN" in (folder / "report.html").read_text()


def test_a_box_on_a_film_that_there_is_not_breaks_no_report(store, tmp_path: Path) -> None:
    box = (1.0, 2.0, 30.0, 40.0)
    step = PredictedStep("There is a mass.", ((7, box), (-1, box), (0, (float("inf"),) * 4)))
    says = Scripted(lambda e, f: replace(right(e), steps=(step,), answer="Mass."))
    run(Selection(store, limit=6), [("a", "", says)], tmp_path / "out")
    results = write_report(tmp_path / "out")
    assert row_of(results, "a", "made, findings", "matched IoU").value == 0


def test_the_majority_is_counted_by_type_of_question() -> None:
    known = [
        example(n, Task.VQA, question_type="where", answer="left" if n < 3 else "right")
        for n in range(5)
    ]
    known += [example(n, Task.VQA, question_type="presence", answer="No") for n in range(9)]
    asked = [
        example(0, Task.VQA, question_type="where"),
        example(0, Task.VQA, question_type="presence"),
        example(0, Task.VQA, question_type="never seen"),
        example(0, Task.IMPRESSION),
    ]
    said = [p.answer for p in majority(known, asked, "m")]
    assert said == ["left", "No", "No", ""]


def test_predictions_made_elsewhere_are_scored_by_the_command(store, tmp_path: Path) -> None:
    said = {f"findings-{n}": "There is a left pleural effusion." for n in range(20)}
    (tmp_path / "llava.json").write_text(json.dumps(said))
    arguments = ["--system", f"LLaVA-Rad=predictions:{tmp_path / 'llava.json'},as=llava-rad"]
    arguments += ["--data", str(store), "--out", str(tmp_path / "out"), "--no-controls"]
    done = CliRunner().invoke(evaluate, arguments)
    assert done.exit_code == 0, done.output
    results, about = read(tmp_path / "out")
    assert about["conditions"] == ["shown"]
    assert row_of(results, "LLaVA-Rad", "made, findings", "failed").value == pytest.approx(4 / 24)
    assert row_of(results, "LLaVA-Rad", "made, vqa", "failed").value == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--system", "x=nothing:there"], "is none"),
        (["--system", "x=engine:embedded,wrong=1"], "no option wrong"),
        (["--system", "x=endpoint:http://127.0.0.1:1/v1"], "model=NAME"),
        (["--system", "x=endpoint:http://8.8.8.8/v1,model=m"], "public address"),
        (["--system", "x=predictions:/nowhere"], "is not there"),
        (["--system", "x=service:http://127.0.0.1:9"], "No service answers"),
    ],
)
def test_what_cannot_be_asked_is_said_in_words(store, tmp_path, arguments, words) -> None:
    done = CliRunner().invoke(
        evaluate, [*arguments, "--data", str(store), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 2
    assert words in done.output


def test_an_evaluation_that_did_not_finish_is_not_reported(tmp_path: Path) -> None:
    done = CliRunner().invoke(evaluate, ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "run.json" in done.output


def test_contenders_must_have_said_something_of_every_example() -> None:
    asked = [example(0), example(1)]
    short = Contender("short", Films.SHOWN, (right(asked[0]),))
    with pytest.raises(ValueError, match="1 predictions of 2"):
        Results(asked, [short])


def test_two_systems_of_one_name_are_refused(store: Path, tmp_path: Path) -> None:
    one = Scripted(lambda e, f: right(e))
    with pytest.raises(ValueError, match="name of its own"):
        run(Selection(store), [("a", "", one), ("a", "", one)], tmp_path / "out")


def test_a_store_without_a_training_split_counts_the_majority_on_itself(folder: Path) -> None:
    assert json.loads((folder / "run.json").read_text())["majority of"] == "test itself"


def test_a_training_split_is_where_the_majority_is_counted(films: Path, tmp_path: Path) -> None:
    data = tmp_path / "both"
    train = [
        example(n, Task.VQA, split="train", subject=f"t{n}", id=f"t{n}", answer="No")
        for n in range(3)
    ]
    write_examples(data, [*train, *(example(n, Task.VQA) for n in range(3, 6))], images_root=films)
    run(Selection(data), [("a", "", Scripted(lambda e, f: right(e)))], tmp_path / "out")
    results, about = read(tmp_path / "out")
    assert about["majority of"] == "train"
    assert {p.answer for p in results.contenders[-1].predictions} == {"No"}
