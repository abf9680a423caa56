"""Ratings find what made the verdicts: skill, ties, position and length, with honest intervals."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import evalica
import numpy as np
import pytest

from training.arena.match import Match, Outcome, read_matches, write_matches
from training.arena.pairing import next_pairs, uniform_pairs
from training.arena.ratings import ELO, Arena
from training.arena.simulation import World, matches_to_rank, measure_saving

FOUR = {"a": 850.0, "b": 950.0, "c": 1050.0, "d": 1150.0}


def played(world: World, count: int, *, seed: int, studies: int = 400) -> list[Match]:
    pairs = uniform_pairs(sorted(world.ratings), count, seed=seed)
    return world.judge(pairs, np.random.default_rng([seed, 7]), studies)


def test_without_ties_the_ratings_are_bradley_and_terrys() -> None:
    matches = played(World(FOUR, tie=0.0), 800, seed=1)
    winners = {Outcome.FIRST: evalica.Winner.X, Outcome.SECOND: evalica.Winner.Y}
    reference = evalica.bradley_terry(
        [m.first for m in matches],
        [m.second for m in matches],
        [winners[m.outcome] for m in matches],
        tolerance=1e-10,
    ).scores
    fit = Arena(matches, position=False).fit
    for one, other in combinations(FOUR, 2):
        difference = ELO * np.log(reference[one] / reference[other])
        assert fit.rating(one) - fit.rating(other) == pytest.approx(difference, abs=0.1)


def test_skills_lie_within_the_interval_as_often_as_it_says() -> None:
    within = []
    for seed in range(50):
        intervals = Arena(played(World(FOUR), 400, seed=seed)).intervals(resamples=100, seed=seed)
        within += [low <= FOUR[name] <= high for name, (low, high) in intervals.items()]
    # 200 intervals, those of one tournament not independent: three standard errors about 95%.
    assert 0.89 <= np.mean(within) <= 0.995


def test_ties_and_the_judges_liking_for_the_first_are_found() -> None:
    fit = Arena(played(World(FOUR, tie=0.8, position=0.4), 6000, seed=3)).fit
    assert fit.tie == pytest.approx(0.8, abs=0.1)
    assert fit.position == pytest.approx(0.4, abs=0.1)
    for name, rating in FOUR.items():
        assert fit.rating(name) == pytest.approx(rating, abs=25)
    assert sum(fit.chances("a", "d")) == pytest.approx(1)
    assert fit.chances("a", "d")[:2] == pytest.approx(fit.chances("d", "a")[1::-1])


def test_a_verbose_system_gains_nothing_once_length_is_controlled() -> None:
    talkative = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0} | {"b": 2.0}
    matches = played(World(FOUR, length=0.8, lengths=talkative), 4000, seed=5)
    plain = Arena(matches).fit
    fair = Arena(matches, covariates=["length"]).fit
    assert plain.rating("b") > plain.rating("d")
    assert sorted(FOUR, key=fair.rating) == sorted(FOUR)
    assert fair.slopes["length"] > 0.3


def test_a_contrast_that_no_match_tells_is_refused_with_those_there_are() -> None:
    matches = played(World(FOUR), 20, seed=1)
    with pytest.raises(ValueError, match="'lenght' to control for: length"):
        Arena(matches, covariates=["lenght"])


def test_intervals_resample_patients_where_they_are_known() -> None:
    # Ten studies of one patient for a, ten of another for b: as good as two matches.
    won = [Match(f"s{n}", "a", "b", Outcome.FIRST, subject="one") for n in range(10)]
    lost = [Match(f"t{n}", "a", "b", Outcome.SECOND, subject="two") for n in range(10)]
    by_patient = Arena(won + lost).intervals(resamples=50)["a"]
    by_study = Arena([replace(m, subject="") for m in won + lost]).intervals(resamples=50)["a"]
    assert by_patient[0] < by_study[0] - 200
    assert by_patient[1] > by_study[1] + 200


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    line = (
        '{"study": "s", "first": "a", "second": "b", "outcome": "tie", "reason": "x\x85y\u2028z"}'
    )
    (tmp_path / "matches.jsonl").write_text(f"{line}\n\n{line}\n")
    reasons = [match.reason for match in read_matches(tmp_path / "matches.jsonl")]
    assert reasons == ["x\x85y\u2028z"] * 2


def test_who_never_lost_has_a_rating_all_the_same() -> None:
    fit = Arena([Match(str(n), "a", "b", Outcome.FIRST) for n in range(9)]).fit
    assert np.isfinite(fit.strengths).all()
    assert fit.rating("a") > fit.rating("b")


def test_a_resample_without_a_system_tells_nothing_of_it() -> None:
    matches = [Match("1", "a", "b", Outcome.FIRST), Match("2", "c", "d", Outcome.FIRST)]
    intervals = Arena(matches, position=False).intervals()
    assert all(intervals[winner][0] > 1000 for winner in "ac")
    assert all(intervals[loser][1] < 1000 for loser in "bd")
    few = [Arena(matches).intervals(resamples=1, seed=seed)["a"] for seed in range(8)]
    assert any(np.isnan(low) and np.isnan(high) for low, high in few)


def test_what_cannot_be_rated_is_refused() -> None:
    with pytest.raises(ValueError, match="no matches"):
        Arena([])
    with pytest.raises(ValueError, match="with itself"):
        Arena([Match("1", "a", "a", Outcome.TIE)])
    with pytest.raises(ValueError, match="no finite number"):
        Arena(
            [Match("1", "a", "b", Outcome.TIE, contrasts={"length": np.nan})], covariates=["length"]
        )


def test_matches_are_read_as_written(tmp_path: Path) -> None:
    matches = played(World(FOUR), 20, seed=2)
    write_matches(tmp_path / "matches.jsonl", matches)
    assert read_matches(tmp_path / "matches.jsonl") == matches
    with (tmp_path / "matches.jsonl").open("a") as file:
        file.write('{"study": "1"}\n')
    with pytest.raises(ValueError, match=r"matches\.jsonl:21 is no match"):
        read_matches(tmp_path / "matches.jsonl")


def test_the_next_matches_are_where_the_order_is_least_sure() -> None:
    world = World({"far": 1600.0, "near": 1010.0, "nearer": 1000.0, "low": 400.0}, tie=0.3)
    fit = Arena(played(world, 600, seed=1), position=False).fit
    for pair in next_pairs(sorted(world.ratings), fit, 5):
        assert set(pair) == {"near", "nearer"}


def test_a_system_without_matches_is_met_first() -> None:
    fit = Arena(played(World(FOUR), 600, seed=1), position=False).fit
    for pair in next_pairs([*FOUR, "new"], fit, 4):
        assert "new" in pair


def test_uniform_pairing_meets_every_pair_as_often() -> None:
    pairs = [frozenset(pair) for pair in uniform_pairs(list(FOUR), 60)]
    assert {pairs.count(pair) for pair in pairs} == {10}


def test_adaptive_pairing_needs_fewer_matches() -> None:
    world = World({f"s{n}": 1000.0 + 60 * n for n in range(6)})
    saving = measure_saving(world, runs=8, budget=1600, batch=40)
    assert saving.adaptive < saving.uniform
    assert saving.share == 1 - saving.adaptive / saving.uniform


def test_a_ranking_that_cannot_be_told_is_not_claimed() -> None:
    world = World({"a": 1000.0, "b": 1000.5}, tie=2.0)
    found = [matches_to_rank(world, "uniform", budget=80, batch=40, seed=n) for n in range(12)]
    assert None in found
