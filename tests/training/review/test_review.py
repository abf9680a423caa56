"""Readers see pairs without names, and what they say is counted for the right system."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.training.small_store import Scripted, example, right
from training.arena.match import read_matches
from training.evaluation.controls import Films
from training.evaluation.folder import Selection, run
from training.evaluation.results import Contender, Results
from training.review.cases import (
    PREFERRED,
    RATED,
    ReaderAnswer,
    Sides,
    matches_of,
    read_answers,
    read_key,
    sample,
    write_lines,
)
from training.review.cli import review
from training.review.summary import alpha_of, summarise
from training.systems.prediction import Prediction


@pytest.fixture
def evaluation(store: Path, tmp_path: Path) -> Path:
    out = tmp_path / "evaluation"
    poor = Prediction("", "", text="A mass.", answer="A mass.", complete=True)
    systems = [
        ("Zebra-7B", "line", Scripted(lambda e, f: right(e), "z")),
        ("Yak-32B", "line", Scripted(lambda e, f: poor, "y")),
    ]
    run(Selection(store), systems, out)
    return out


@pytest.fixture
def sampled(evaluation: Path, tmp_path: Path) -> Path:
    out = tmp_path / "review"
    arguments = ["sample", str(evaluation), "--systems", "Zebra-7B,Yak-32B", "--out", str(out)]
    done = CliRunner().invoke(review, [*arguments, "--cases", "20", "--training", "2"])
    assert done.exit_code == 0, done.output
    return out


def test_nothing_that_a_reader_gets_tells_the_system(sampled: Path) -> None:
    for name in ("review.html", "cases.jsonl"):
        text = (sampled / name).read_text()
        assert "Zebra" not in text
        assert "Yak" not in text
    page = (sampled / "review.html").read_text()
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert page.count("<form data-case=") == 22
    assert page.count("for practice") == 2
    assert "default-src 'none'" in page


def test_cases_are_balanced_over_tasks_and_sides(sampled: Path) -> None:
    key = read_key(sampled / "key.jsonl")
    tasks = [sides.example.partition("-")[0] for sides in key.values()]
    assert tasks.count("findings") == tasks.count("vqa") == 11
    assert 5 <= sum(sides.left == "Zebra-7B" for sides in key.values()) <= 17


def answer_for(sides: Sides, reader: str, best: str = "Zebra-7B") -> ReaderAnswer:
    left = float(sides.left == best)
    return ReaderAnswer(
        reader,
        sides.id,
        dict.fromkeys(RATED, left),
        dict.fromkeys(RATED, 1 - left),
        dict.fromkeys(PREFERRED, "left" if left else "right"),
    )


def test_answers_come_back_to_the_systems(sampled: Path, tmp_path: Path) -> None:
    key = read_key(sampled / "key.jsonl")
    for reader in ("anna", "bert"):
        lines = [json.dumps(asdict(answer_for(sides, reader))) for sides in key.values()]
        (sampled / "answers" / f"{reader}.jsonl").write_text("\n".join(lines))
    matches = tmp_path / "matches.jsonl"
    done = CliRunner().invoke(review, ["summarise", str(sampled), "--matches", str(matches)])
    assert done.exit_code == 0, done.output
    assert "40 answers of 2 readers on 20 cases" in done.output
    assert "| overall preference | 0.000 (0.000 to 0.000) | 1.000 (1.000 to 1.000) " in done.output
    assert "| anna, bert | 1.00 |" in done.output
    played = read_matches(matches)
    assert len(played) == 40
    assert {match.judge for match in played} == {"reader anna", "reader bert"}


def test_separators_of_lines_inside_a_text_are_no_ends_of_lines(sampled: Path) -> None:
    key = read_key(sampled / "key.jsonl")
    for name in ("key.jsonl", "cases.jsonl"):
        written = (sampled / name).read_text()
        more = {"more": "\x85 \u2028 \u2029 \x0c"}
        lines = [json.loads(line) | more for line in written.split("\n")[:-1]]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (sampled / name).write_text(text)
    said = [asdict(answer_for(sides, "anna")) for sides in key.values()]
    said[0]["comment"] = "one\u2028two\x85three"
    said[1]["comment"] = "half a pair: \ud83d"
    raw = [json.dumps(said[0], ensure_ascii=False), *map(json.dumps, said[1:])]
    (sampled / "answers" / "anna.jsonl").write_text("\r\n".join(raw), newline="")
    done = CliRunner().invoke(review, ["summarise", str(sampled)])
    assert done.exit_code == 0, done.output
    assert "20 answers of 1 readers on 20 cases" in done.output


def test_the_answer_that_was_saved_last_counts_whatever_its_file_is_called(tmp_path: Path) -> None:
    early, late = (
        ReaderAnswer("anna", "c", {}, {}, {}, comment=c, saved=s)
        for c, s in (("early", 1), ("late", 2))
    )
    for name, answer in (("answers-anna (1).jsonl", late), ("answers-anna.jsonl", early)):
        (tmp_path / name).write_text(json.dumps(asdict(answer)))
    (read,) = read_answers(sorted(tmp_path.glob("*.jsonl")))
    assert read == late


def test_a_text_that_utf_8_cannot_hold_is_reviewed_all_the_same(tmp_path: Path) -> None:
    examples = [example(n) for n in range(4)]
    broken = replace(right(examples[0]), answer="A mass \udc80.")
    systems = [Contender(name, Films.SHOWN, (broken,) * 4) for name in ("one", "other")]
    cases, _ = sample(Results(examples, systems), ("one", "other"), 3, training=1)
    write_lines(tmp_path / "cases.jsonl", cases)
    assert (tmp_path / "cases.jsonl").read_text().count("A mass \ufffd.") == 8


def test_intervals_resample_patients_not_cases() -> None:
    # Twenty cases of two patients: one is all for a, one all for b.
    key = {f"c{n}": Sides(f"c{n}", f"e{n}", "a", "b", f"patient-{n % 2}") for n in range(20)}
    answers = [answer_for(sides, "anna", "ab"[n % 2]) for n, sides in enumerate(key.values())]
    won = summarise(answers, key, frozenset()).wins["a", "overall preference"]
    assert (won.value, won.low, won.high) == (0.5, 0, 1)
    matches = matches_of(answers, key)
    assert {match.subject for match in matches} == {"patient-0", "patient-1"}


def test_alpha_is_krippendorffs_of_his_example() -> None:
    # "Computing Krippendorff's Alpha-Reliability" (2011), D: interval metric.
    observers = {
        "a": "123321412...",
        "b": "1233224125.3",
        "c": ".3332342251.",
        "d": "12332441251.",
    }
    units = [
        {name: float(said[n]) for name, said in observers.items() if said[n] != "."}
        for n in range(12)
    ]
    assert alpha_of(units) == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_one_less_the_disagreement_seen_over_that_by_chance() -> None:
    rng = np.random.default_rng(4)
    units = [
        {f"reader-{r}": float(rng.choice([0, 0.5, 1])) for r in rng.permutation(5)[:count]}
        for count in rng.integers(2, 6, size=40)
    ]

    def apart(values: Sequence[float]) -> float:
        return sum((a - b) ** 2 for a in values for b in values)

    every = [value for unit in units for value in unit.values()]
    seen = sum(apart([*unit.values()]) / (len(unit) - 1) for unit in units) / len(every)
    by_chance = apart(every) / len(every) / (len(every) - 1)
    assert alpha_of(units) == pytest.approx(1 - seen / by_chance, abs=1e-9)


def test_readers_who_say_the_opposite_do_not_agree() -> None:
    key = {f"c{n}": Sides(f"c{n}", f"e{n}", "a", "b") for n in range(12)}
    answers = [
        answer_for(sides, reader, best)
        for n, sides in enumerate(key.values())
        for reader, best in (("anna", "ab"[n % 2]), ("bert", "ba"[n % 2]))
    ]
    told = summarise(answers, key, frozenset())
    assert told.alpha["overall preference"] < -0.5
    assert told.kappa["anna", "bert"] == -1
    assert told.wins["a", "overall preference"].value == 0.5
    alone = summarise([a for a in answers if a.reader == "anna"], key, frozenset())
    assert alone.alpha["correctness"] != alone.alpha["correctness"]  # NaN: nobody to agree with
    assert alone.kappa == {}


def test_neither_counts_half_and_practice_not_at_all() -> None:
    key = {f"c{n}": Sides(f"c{n}", f"e{n}", "a", "b") for n in range(4)}
    neither = [
        ReaderAnswer("anna", name, {}, {}, {"overall preference": "neither"}) for name in key
    ]
    wins = summarise(neither, key, frozenset()).wins
    assert wins["a", "overall preference"].value == wins["b", "overall preference"].value == 0.5
    with pytest.raises(ValueError, match="no answers"):
        summarise(neither, key, frozenset(key))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"reader": "anna"}', "no reader's answer"),
        (
            '{"reader": "a", "case": "case-001", "left": {"beauty": 1}, "right": {}, '
            '"preferred": {}}',
            "no rating",
        ),
        (
            '{"reader": "a", "case": "case-001", "left": {}, "right": {}, '
            '"preferred": {"overall preference": "up"}}',
            "left, right or neither",
        ),
        (
            '{"reader": "a", "case": "case-999", "left": {}, "right": {}, "preferred": {}}',
            "knows no case-999",
        ),
    ],
)
def test_what_is_no_answer_is_said_in_words(sampled: Path, line: str, words: str) -> None:
    (sampled / "answers" / "anna.jsonl").write_text(line + "\n")
    done = CliRunner().invoke(review, ["summarise", str(sampled)])
    assert done.exit_code == 2
    assert words in done.output


def test_a_key_is_never_written_over(sampled: Path, evaluation: Path) -> None:
    arguments = ["sample", str(evaluation), "--systems", "Zebra-7B,Yak-32B", "--out", str(sampled)]
    done = CliRunner().invoke(review, arguments)
    assert done.exit_code == 2
    assert "holds a review already" in done.output


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--systems", "Zebra-7B,Nobody"], "names two of"),
        (["--systems", "Zebra-7B,Zebra-7B"], "names two of"),
        (["--systems", "Zebra-7B,Yak-32B", "--cases", "400"], "more than the 48"),
    ],
)
def test_a_review_needs_two_systems_and_cases(evaluation, tmp_path, more, words) -> None:
    arguments = ["sample", str(evaluation), "--out", str(tmp_path / "new"), *more]
    done = CliRunner().invoke(review, arguments)
    assert done.exit_code == 2
    assert words in done.output
