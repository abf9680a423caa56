"""Judges are asked in both orders, once; what they say makes matches, ties, or neither."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.training.small_store import Scripted, example, right
from training.arena.cli import arena
from training.arena.digest import digest
from training.arena.judge import Opinion, RuleJudge
from training.arena.leaderboard import Leaderboard
from training.arena.match import Outcome, read_matches
from training.arena.rubric import CRITERIA, Choice, Verdict, read_verdict
from training.arena.tournament import MATCHES, VERDICTS, Rules, agree, play
from training.chat.errors import ChatError
from training.data.store import write_examples
from training.evaluation.folder import Selection
from training.evaluation.folder import run as evaluate
from training.systems.prediction import PredictedStep, Prediction

EXAMPLES = [example(n) for n in range(10)]
GOOD = [right(e) for e in EXAMPLES]
FAIR = [replace(p, answer="The heart is enlarged.", steps=()) for p in GOOD]
BAD = [replace(p, answer="There is a mass.", steps=()) for p in GOOD]
ENTRANTS = {"good": GOOD, "fair": FAIR, "bad": BAD}


class Fixed(RuleJudge):
    """Says what it is told to, and counts."""

    def __init__(self, say, name: str = "fixed") -> None:
        super().__init__()
        self.name = name
        self.say = say
        self.asked = 0

    def key(self, asked, first: Prediction, second: Prediction) -> str:
        return self.name + super().key(asked, first, second)

    def most(self, asked, first: Prediction, second: Prediction) -> int:
        return 10

    async def judge(self, asked, first: Prediction, second: Prediction) -> Opinion:
        self.asked += 1
        return self.say(first, second)


def always(choice: Choice) -> Opinion:
    return Opinion(Verdict(choice, "because", "clarity"), tokens=10)


def played(judges: Sequence, out: Path, entrants=ENTRANTS, **rules):
    return asyncio.run(play(EXAMPLES, entrants, judges, out, Rules(**rules)))


def test_the_rule_judge_prefers_what_is_true_and_placed(tmp_path: Path) -> None:
    matches, tally = played([RuleJudge()], tmp_path, matches=30)
    assert tally.matches == len(matches) == 30
    assert tally.inconsistent == tally.unreadable == 0
    assert tally.stopped == "every match was played"
    for match in matches:
        order = ["good", "fair", "bad"]
        better = min(match.first, match.second, key=order.index)
        won = match.first if match.outcome is Outcome.FIRST else match.second
        assert match.outcome in (Outcome.FIRST, Outcome.SECOND)
        assert won == better
        assert match.decided_by in CRITERIA
    assert read_matches(tmp_path / MATCHES) == matches


NORMAL = replace(
    EXAMPLES[0],
    answer="The heart is normal in size. The lungs are clear.",
    labels=(),
    regions=(),
    structures=(("heart", (10, 20, 30, 50)),),
)
CALM = replace(right(NORMAL), answer=NORMAL.answer)
POINTS = replace(CALM, steps=(PredictedStep("There is a right nodule.", ((0, (1, 1, 9, 9)),)),))
ALARMED = replace(POINTS, answer="There is a right lung nodule.")


def ruled(first: Prediction, second: Prediction) -> Verdict:
    opinion = asyncio.run(RuleJudge().judge(NORMAL, first, second))
    assert opinion.verdict is not None
    return opinion.verdict


@pytest.mark.parametrize("worse", [ALARMED, POINTS])
def test_the_rule_judge_counts_a_box_where_nothing_is_against_who_draws_it(worse) -> None:
    there, back = ruled(CALM, worse), ruled(worse, CALM)
    assert (there.choice, back.choice) == (Choice.A, Choice.B)
    assert there.decided_by == back.decided_by


def test_the_rule_judge_says_what_set_two_texts_apart() -> None:
    told = ruled(POINTS, CALM)
    assert told.reason == "grounding: 0.00 against 1.00."
    assert told.decided_by == "grounding"


def test_the_rule_judge_weighs_the_answers_alone_where_nobody_boxes_anything() -> None:
    assert ruled(CALM, CALM).choice is Choice.TIE
    assert ruled(CALM, replace(ALARMED, steps=())).choice is Choice.A


def test_a_judge_that_looks_at_the_order_alone_makes_ties_and_is_found_out(tmp_path: Path) -> None:
    judge = Fixed(lambda one, other: always(Choice.A))
    matches, tally = played([judge], tmp_path, matches=12)
    assert {match.outcome for match in matches} == {Outcome.TIE}
    assert not any(match.consistent for match in matches)
    assert tally.first == tally.inconsistent == 12
    assert tally.second == 0


@pytest.mark.parametrize(
    ("there", "back", "outcome", "consistent"),
    [
        (Choice.A, Choice.B, Outcome.FIRST, True),
        (Choice.B, Choice.A, Outcome.SECOND, True),
        (Choice.TIE, Choice.TIE, Outcome.TIE, True),
        (Choice.BOTH_BAD, Choice.BOTH_BAD, Outcome.BOTH_BAD, True),
        (Choice.A, Choice.A, Outcome.TIE, False),
        (Choice.A, Choice.TIE, Outcome.TIE, False),
        (Choice.TIE, Choice.BOTH_BAD, Outcome.TIE, False),
    ],
)
def test_two_orders_make_one_outcome(there, back, outcome, consistent) -> None:
    assert agree(there, back) == (outcome, consistent)


def test_verdicts_that_cannot_be_read_are_dropped_and_counted(tmp_path: Path) -> None:
    judge = Fixed(lambda one, other: Opinion(None, tokens=5))
    matches, tally = played([judge], tmp_path, matches=8)
    assert matches == []
    assert tally.unreadable == 8


def test_an_interrupted_tournament_goes_on_without_asking_again(tmp_path: Path) -> None:
    whole, _ = played([Fixed(_prefers_longer)], tmp_path / "whole", matches=24, batch=6)

    calls = 0

    def dies(one: Prediction, other: Prediction) -> Opinion:
        nonlocal calls
        calls += 1
        if calls > 17:
            raise ChatError("gone")
        return _prefers_longer(one, other)

    out = tmp_path / "cut"
    with pytest.raises(ChatError):
        played([Fixed(dies)], out, matches=24, batch=6)
    with (out / VERDICTS).open("ab") as file:
        file.write('{"key": "half", "reason": "café'.encode()[:-1])  # cut inside a character
    again = Fixed(_prefers_longer)
    matches, tally = played([again], out, matches=24, batch=6)
    assert matches == whole
    assert tally.cached + tally.asked == 48
    assert again.asked == tally.asked <= 48 - 17


def _prefers_longer(one: Prediction, other: Prediction) -> Opinion:
    return always(Choice.A if len(one.answer) > len(other.answer) else Choice.B)


def test_the_budget_of_tokens_is_kept_and_counts_what_earlier_runs_spent(tmp_path: Path) -> None:
    judge = Fixed(_prefers_longer)
    budget = {"matches": 30, "batch": 2, "tokens": 105}
    matches, tally = played([judge], tmp_path, **budget)
    assert tally.stopped.startswith("tokens are spent")
    # Ten tokens a verdict, two verdicts a match.
    assert tally.tokens == 100
    assert len(matches) == 5
    again = Fixed(_prefers_longer)
    assert played([again], tmp_path, **budget)[0] == matches
    assert again.asked == 0
    more, tally = played([again], tmp_path, **(budget | {"tokens": 205}))
    assert again.asked == 10
    assert tally.tokens == 200
    assert len(more) == 10


def test_a_budget_below_the_first_verdicts_ends_at_once(tmp_path: Path) -> None:
    judge = Fixed(_prefers_longer)
    matches, tally = played([judge], tmp_path, matches=30, batch=20, concurrency=8, tokens=5)
    assert matches == []
    assert judge.asked == tally.tokens == 0
    assert tally.unplayed == 20


def test_the_budget_is_one_for_all_runs_into_a_folder(tmp_path: Path) -> None:
    for seed in range(4):
        rules = {"matches": 30, "batch": 2, "tokens": 105, "pairing": "uniform", "seed": seed}
        _, tally = played([judge := Fixed(_prefers_longer)], tmp_path, **rules)
        assert tally.tokens == 100
        assert judge.asked == (10 if seed == 0 else 0)


def test_many_at_once_stay_within_the_budget_and_use_it(tmp_path: Path) -> None:
    judge = Slow(_prefers_longer)
    judge.most = lambda *asked: 40  # the upper estimate; each takes ten
    _, tally = played([judge], tmp_path, matches=30, concurrency=64, batch=30, tokens=120)
    assert tally.tokens == 90  # a tenth might have gone beyond
    assert tally.tokens == 10 * judge.asked


def test_what_was_asked_when_a_run_was_interrupted_counts_as_spent(tmp_path: Path) -> None:
    def interrupts(one: Prediction, other: Prediction) -> Opinion:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        played([Fixed(interrupts)], tmp_path, matches=1, tokens=1000)
    judge = Fixed(_prefers_longer)
    _, tally = played([judge], tmp_path, matches=1, tokens=1000)
    assert judge.asked == 2
    assert 20 < tally.tokens == 20 + tally.estimated


def test_a_judge_that_fails_is_asked_again_and_is_not_called_unreadable(tmp_path: Path) -> None:
    judge = Fixed(lambda one, other: Opinion(None, failure="HTTP 400"))
    matches, tally = played([judge], tmp_path, matches=4)
    assert matches == []
    assert (tally.failed, tally.unreadable, tally.asked) == (4, 0, 0)
    assert tally.failures == {"HTTP 400": 8}
    well = Fixed(_prefers_longer)
    matches, tally = played([well], tmp_path, matches=4)
    assert len(matches) == 4
    assert (tally.failed, well.asked) == (0, 8)


def test_a_verdict_that_could_not_be_read_is_not_asked_again(tmp_path: Path) -> None:
    for again in (False, True):
        judge = Fixed(lambda one, other: Opinion(None, tokens=5))
        _, tally = played([judge], tmp_path, matches=4)
        assert (tally.unreadable, judge.asked) == (4, 0 if again else 8)


def test_a_reason_that_utf_8_cannot_hold_stops_nothing(tmp_path: Path) -> None:
    said = Opinion(Verdict(Choice.TIE, "half a pair \ud83d", "clarity"), tokens=10)
    for _ in range(2):  # as it is said, and as it was kept
        matches, _ = played([Fixed(lambda one, other: said)], tmp_path, matches=3)
        assert {match.reason for match in matches} == {"half a pair \ufffd"}
        assert read_matches(tmp_path / MATCHES) == matches
        Leaderboard.of(matches, resamples=2).write(tmp_path, more=digest(matches, [*ENTRANTS]))


def test_intervals_know_which_matches_are_of_one_patient(tmp_path: Path) -> None:
    examples = [replace(e, subject=f"patient-{n % 2}") for n, e in enumerate(EXAMPLES)]
    rules = Rules(matches=30)
    matches, _ = asyncio.run(play(examples, ENTRANTS, [RuleJudge()], tmp_path, rules))
    board = Leaderboard.of(matches, resamples=2)
    assert (board.studies, board.patients) == (10, 2)
    assert "10 examples of 2 patients" in board.markdown()


def test_matches_tell_how_the_texts_differ_in_style(tmp_path: Path) -> None:
    listed = [
        replace(p, answer="Two findings. They are:\n- a mass;\n2. an effusion.", steps=p.steps[:1])
        for p in GOOD
    ]
    entrants = {"a": listed, "b": BAD}
    (match,), _ = played([RuleJudge()], tmp_path, entrants, matches=1)
    side = 1 if match.first == "a" else -1
    # Against "There is a mass.": a step of six words with a box, and ten words more.
    assert match.contrasts == {
        "length": side * (6 + 10 - 4),
        "boxes": side,
        "steps": side,
        "sentences": side * 2,
        "lists": side * 2,
    }


class Slow(Fixed):
    """Lets others ask while it thinks."""

    async def judge(self, asked, first: Prediction, second: Prediction) -> Opinion:
        await asyncio.sleep(0)
        return await super().judge(asked, first, second)


def test_equal_questions_at_once_are_put_once(tmp_path: Path) -> None:
    judge = Slow(lambda one, other: always(Choice.TIE))
    entrants = {"good": GOOD, "fair": FAIR, "alike": FAIR}
    matches, tally = played([judge], tmp_path, entrants, matches=30, concurrency=64, batch=30)
    assert len(matches) == 30
    # Of each study: good beside fair in both orders, fair beside its like.
    assert judge.asked == tally.asked == 3 * len(EXAMPLES)
    assert tally.cached == 60 - judge.asked
    assert tally.tokens == 10 * judge.asked


def test_a_judges_bias_for_a_side_is_told_beside_its_steadiness(tmp_path: Path) -> None:
    first = Fixed(lambda one, other: always(Choice.A), "first")
    matches, _ = played([RuleJudge(), first], tmp_path, matches=12)
    board = {judge.name: judge for judge in Leaderboard.of(matches, resamples=2).judges}
    assert (board["first"].consistent, board["first"].favours_first) == (0, 1)
    assert (board["rules"].consistent, board["rules"].favours_first) == (1, None)


def test_several_judges_see_the_same_matches(tmp_path: Path) -> None:
    one, other = RuleJudge(), Fixed(_prefers_longer)
    matches, tally = played([one, other], tmp_path, matches=10)
    assert tally.by_judge == {"rules": 10, "fixed": 10}
    pairs = {
        name: {(m.study, m.first, m.second) for m in matches if m.judge == name}
        for name in ("rules", "fixed")
    }
    assert pairs["rules"] == pairs["fixed"]


@pytest.mark.parametrize("judges", [[], [RuleJudge(), RuleJudge()]])
def test_a_tournament_needs_judges_with_names(judges, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="judges"):
        played(judges, tmp_path)


def test_a_tournament_needs_two_systems(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two systems"):
        played([RuleJudge()], tmp_path, entrants={"good": GOOD})


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ('{"reason": "r", "decided_by": "harm", "verdict": "A"}', Choice.A),
        ('Thus:\n```json\n{"verdict": "both bad", "reason": ""}\n```', Choice.BOTH_BAD),
        ('<think>{"verdict": "A"}</think>{"verdict": "tie"}', Choice.TIE),
        ('{"verdict": "A"} or {"verdict": "B"}', None),
        ('{"verdict": "C"}', None),
        ("A is better", None),
        ("", None),
        ("{{{", None),
    ],
)
def test_a_verdict_is_read_or_it_is_none(text: str, choice: Choice | None) -> None:
    said = read_verdict(text)
    assert (said and said.choice) == choice


def test_why_one_won_is_told_by_criterion_in_the_judges_words(tmp_path: Path) -> None:
    matches, _ = played([RuleJudge()], tmp_path, matches=30)
    told = digest(matches, ["good", "fair", "bad"])
    assert "### good against fair" in told
    assert "Won 10, lost 0, tied 0." in told
    assert "good won by" in told
    # The reason speaks of A before B, whoever that was.
    won = next(m for m in matches if {m.first, m.second} == {"good", "fair"} and m.reason)
    assert f"- {won.reason} (A is {won.first}, B is {won.second}; rules)" in told


def test_the_command_rates_the_systems_of_an_evaluation(films: Path, tmp_path: Path) -> None:
    write_examples(tmp_path / "store", EXAMPLES, images_root=films)
    by_id = {e.id: n for n, e in enumerate(EXAMPLES)}
    systems = [
        (name, "in the test", Scripted(lambda e, f, some=some: some[by_id[e.id]], name))
        for name, some in ENTRANTS.items()
    ]
    evaluate(Selection(tmp_path / "store"), systems, tmp_path / "evaluation")
    arguments = ["run", str(tmp_path / "evaluation"), "--out", str(tmp_path / "arena")]
    done = CliRunner().invoke(arena, [*arguments, "--matches", "60", "--resamples", "20"])
    assert done.exit_code == 0, done.output
    ranked = [line.split(" | ")[1] for line in done.output.splitlines() if re.match(r"\| \d", line)]
    assert ranked == ["good", "fair", "bad"]  # and not the majority answer, a control
    assert "## Why" in done.output
    some = ["--entrant", "bad", "--entrant", "majority answer"]
    done = CliRunner().invoke(arena, [*arguments, *some, "--resamples", "20"])
    assert done.exit_code == 0, done.output
    # The majority is the reference here: all of the films have the same.
    assert "### majority answer against bad" in done.output
    for more, words in (
        (["--judge", "nobody"], "is none"),
        (["--control", "lenght"], "length, boxes, steps, sentences, lists, style"),
        (["--entrant", "nobody"], "good, fair, bad, majority answer"),
    ):
        wrong = CliRunner().invoke(arena, [*arguments, *more])
        assert wrong.exit_code == 2
        assert words in wrong.output


def test_a_reason_may_hold_braces():
    said = '{"reason": "a } and a { in words", "decided_by": "harm", "verdict": "tie"}'
    assert read_verdict(f"Well: {{}} {said}") == Verdict(Choice.TIE, "a } and a { in words", "harm")


def test_a_reason_may_quote_the_end_of_thoughts() -> None:
    said = '{"reason": "A says </think>. The answer", "decided_by": "clarity", "verdict": "B"}'
    assert read_verdict(said) == Verdict(Choice.B, "A says </think>. The answer", "clarity")
    thought = '<think>{"verdict": "A"}</think> {"reason": "none", "verdict": "tie"}'
    assert read_verdict(thought) == Verdict(Choice.TIE, "none")
