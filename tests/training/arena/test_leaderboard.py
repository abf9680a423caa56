"""Ranking, win matrix, judges and pictures of matches whose outcome is known."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.arena.cli import arena
from training.arena.leaderboard import Leaderboard
from training.arena.match import Match, Outcome, read_matches, write_matches

_WON = [Match(f"s{n}", "strong", "weak", Outcome.FIRST, "anna") for n in range(8)]
_LOST = [Match(f"s{n}", "weak", "strong", Outcome.SECOND, "bert") for n in range(6)]
_TIED = [Match("s6", "weak", "strong", Outcome.TIE, "bert")]
_BAD = [Match("s7", "strong", "weak", Outcome.BOTH_BAD, "bert")]
_MATCHES = _WON + _LOST + _TIED + _BAD


def test_the_winner_leads_and_the_matrix_counts_either_side() -> None:
    board = Leaderboard.of(_MATCHES, resamples=20)
    assert board.order == ["strong", "weak"]
    assert board.wins["strong", "weak"] == (14, 2, 16)
    assert board.wins["weak", "strong"] == (0, 2, 16)
    assert (board.matches, board.studies) == (16, 8)


def test_agreement_of_judges_is_cohens_kappa_with_the_sides_brought_in_line() -> None:
    agreeing = Leaderboard.of(_WON[:6] + _LOST, resamples=2)
    assert [judge.agreement for judge in agreeing.judges] == [1, 1]
    # anna: A A A B, bert: A A B B of the same texts; observed 3/4, by chance 1/2.
    verdicts = {"anna": "AAAB", "bert": "AABB"}
    matches = [
        Match(f"s{n}", "x", "y", Outcome.FIRST if letter == "A" else Outcome.SECOND, judge)
        for judge, letters in verdicts.items()
        for n, letter in enumerate(letters)
    ]
    anna, bert = Leaderboard.of(matches, resamples=2).judges
    assert anna.agreement == bert.agreement == pytest.approx(0.5)
    assert anna.first == 0.75


def test_a_judge_alone_agrees_with_nobody() -> None:
    (judge,) = Leaderboard.of(_WON, resamples=2).judges
    assert judge.agreement is None
    assert judge.tie == judge.both_bad == 0


def test_tables_and_picture_are_written_from_a_file_of_matches(tmp_path: Path) -> None:
    write_matches(tmp_path / "matches.jsonl", _MATCHES)
    arguments = ["rate", str(tmp_path / "matches.jsonl"), "--resamples", "20"]
    done = CliRunner().invoke(arena, [*arguments, "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "| 1 | strong |" in done.output
    assert (tmp_path / "out" / "arena.md").read_text() == done.output
    with (tmp_path / "out" / "ratings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == ["strong", "weak"]
    for row in rows:
        assert float(row["low"]) <= float(row["rating"]) <= float(row["high"])
    assert (tmp_path / "out" / "ratings.png").stat().st_size > 1000


def test_what_is_no_match_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "matches.jsonl"
    write_matches(path, _WON[:2])
    with path.open("a") as file:
        file.write('{"study": "s", "first": "a", "second": "b", "outcome": "draw"}\n')
    with pytest.raises(ValueError, match=r"matches\.jsonl:3 is no match"):
        read_matches(path)
    done = CliRunner().invoke(arena, ["rate", str(path)])
    assert done.exit_code == 2
    assert ":3 is no match" in done.output


def test_no_matches_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").touch()
    done = CliRunner().invoke(arena, ["rate", str(tmp_path / "none.jsonl")])
    assert done.exit_code == 2
    assert "no matches" in done.output
