"""Matches played: pairs chosen, both orders judged, verdicts kept, ratings told as they settle."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.arena.budget import Budget
from training.arena.judge import Judge, Opinion
from training.arena.lines import sound
from training.arena.match import Match, Outcome, write_matches
from training.arena.pairing import next_pairs, uniform_pairs
from training.arena.ratings import Arena, Fit
from training.arena.rubric import Choice, Verdict
from training.arena.style import contrasts
from training.arena.verdicts import Verdicts
from training.chat.errors import ChatError
from training.data.example import Example
from training.systems.prediction import Prediction

T = TypeVar("T")
VERDICTS, MATCHES = "verdicts.jsonl", "matches.jsonl"
Pairing = Literal["adaptive", "uniform"]
Entrants = Mapping[str, Sequence[Prediction]]
"""Of each system its predictions, in the examples' order."""


@dataclass(frozen=True)
class Rules:
    """How a tournament is played.

    Attributes
    ----------
    matches
        Pairs that each judge judges at most, each in both orders.
    tokens
        Most tokens that all judges together may use, earlier runs into the same folder included;
        None: no bound.
    batch
        Matches between two looks at the ratings.
    concurrency
        Requests at once.
    """

    matches: int = 200
    tokens: int | None = None
    pairing: Pairing = "adaptive"
    batch: int = 20
    concurrency: int = 8
    seed: int = 0


@dataclass
class Tally:
    """What became of the requests.

    Attributes
    ----------
    asked, cached
        Verdicts of this run, and those that were there: of earlier ones, or of an equal question.
    tokens, estimated
        What all runs into the folder have spent so far, and the part of it that no server counted.
    unplayed
        Matches left out because a verdict on them might have gone beyond the budget.
    failed, failures
        Matches left out because a judge could not be heard, and why, by verdict. The next run
        asks again.
    unreadable
        Matches dropped because a verdict on them could not be read; they are never ties.
    inconsistent
        Matches whose two orders disagree, which are ties.
    first, second
        Matches in which both orders favoured the text shown first, or second.
    """

    matches: int = 0
    asked: int = 0
    cached: int = 0
    tokens: int = 0
    estimated: int = 0
    unplayed: int = 0
    failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    inconsistent: int = 0
    first: int = 0
    second: int = 0
    stopped: str = ""
    by_judge: Counter[str] = field(default_factory=Counter)


async def play(
    examples: Sequence[Example],
    entrants: Entrants,
    judges: Sequence[Judge],
    folder: Path,
    rules: Rules,
) -> tuple[list[Match], Tally]:
    """Play until the matches or the budget are spent, or every text was compared with every other.

    Each judge plays the same matches. Which are played depends on the seed and the verdicts alone,
    so that an interrupted run goes on with what it has.

    Raises
    ------
    ValueError
        When there are fewer than two systems, or two of them or two judges have one name.
    training.chat.errors.ChatError
        When a judge cannot be asked; verdicts so far are kept.
    """
    if len(entrants) < 2:
        raise ValueError("A tournament needs two systems at least.")
    if len({judge.name for judge in judges}) < len(judges) or not judges:
        raise ValueError("A tournament needs judges, each with a name of its own.")
    verdicts = Verdicts(folder / VERDICTS)
    table = _Table(examples, entrants, judges, verdicts, rules)
    try:
        await table.play()
    finally:
        verdicts.close()
        write_matches(folder / MATCHES, table.matches)
    return table.matches, table.tally


class _Table:
    """A tournament as it is played."""

    def __init__(
        self,
        examples: Sequence[Example],
        entrants: Entrants,
        judges: Sequence[Judge],
        verdicts: Verdicts,
        rules: Rules,
    ) -> None:
        self._examples = examples
        self._entrants = entrants
        self._judges = judges
        self._verdicts = verdicts
        self._rules = rules
        self._gate = asyncio.Semaphore(rules.concurrency)
        self._systems = sorted(entrants)
        rng = np.random.default_rng([rules.seed, 5])
        # Every pair meets on the same studies in the same order, so far as it meets.
        order = rng.permutation(len(examples)).tolist()
        self._left = {pair: list(order) for pair in combinations(self._systems, 2)}
        self.matches: list[Match] = []
        self.tally = Tally(tokens=verdicts.spent, estimated=verdicts.estimated)
        self._budget = Budget(rules.tokens, verdicts.spent, verdicts.dearest)
        self._each: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._broken = False

    async def play(self) -> None:
        rules = self._rules
        possible = sum(map(len, self._left.values()))
        total = min(rules.matches, possible)
        uniform = uniform_pairs(self._systems, total, seed=rules.seed)
        for judge in self._judges:
            await judge.__aenter__()
        try:
            with _progress() as progress:
                task = progress.add_task("judging", total=total)
                done = 0
                while done < total and not self._budget.short:
                    size = min(rules.batch, total - done)
                    wanted = (
                        next_pairs(self._systems, self._fit(), size, seed=rules.seed * 7919 + done)
                        if rules.pairing == "adaptive"
                        else uniform[done : done + size]
                    )
                    await self._play_batch([self._draw(pair) for pair in wanted])
                    done += size
                    progress.update(task, completed=done)
        finally:
            for judge in self._judges:
                await judge.__aexit__(None, None, None)
        if self._budget.short:
            self.tally.stopped = (
                f"tokens are spent: one more verdict may take {self._budget.short:,}"
            )
        else:
            every = possible <= rules.matches
            self.tally.stopped = "every match was played" if every else "matches are spent"

    def _fit(self) -> Fit | None:
        return Arena(self.matches, position=False).fit if self.matches else None

    def _draw(self, pair: tuple[str, str]) -> tuple[str, str, int]:
        """A study on which the pair has not met; another pair where there is none left."""
        key = (min(pair), max(pair))
        if not self._left[key]:
            key = max(self._left, key=lambda other: len(self._left[other]))
            pair = key
        return (*pair, self._left[key].pop())

    async def _play_batch(self, drawn: Sequence[tuple[str, str, int]]) -> None:
        played = await _all_of(
            self._play_one(judge, *match) for match in drawn for judge in self._judges
        )
        self.matches += [match for match in played if match is not None]
        self.tally.matches = len(self.matches)

    async def _play_one(self, judge: Judge, first: str, second: str, number: int) -> Match | None:
        example = self._examples[number]
        one, other = self._entrants[first][number], self._entrants[second][number]
        there, back = await _all_of(
            (self._ask(judge, example, one, other), self._ask(judge, example, other, one))
        )
        if there is None or back is None:
            self.tally.unplayed += 1
            return None
        if there.failure or back.failure:
            self.tally.failed += 1
            return None
        if there.verdict is None or back.verdict is None:
            self.tally.unreadable += 1
            return None
        sides = ((first, one), (second, other))
        return self._match(judge, example, *sides, there.verdict, back.verdict)

    def _match(
        self,
        judge: Judge,
        example: Example,
        first: tuple[str, Prediction],
        second: tuple[str, Prediction],
        there: Verdict,
        back: Verdict,
    ) -> Match:
        outcome, consistent = agree(there.choice, back.choice)
        favoured = ""
        if there.choice is back.choice and there.choice in (Choice.A, Choice.B):
            favoured = "first" if there.choice is Choice.A else "second"
        self.tally.inconsistent += not consistent
        self.tally.first += favoured == "first"
        self.tally.second += favoured == "second"
        self.tally.by_judge[judge.name] += 1
        (name, one), (other_name, other) = first, second
        return Match(
            example.id,
            name,
            other_name,
            outcome,
            judge.name,
            contrasts(one, other),
            sound(there.reason),
            there.decided_by,
            consistent,
            favoured,
            example.subject,
        )

    async def _ask(
        self, judge: Judge, example: Example, first: Prediction, second: Prediction
    ) -> Opinion | None:
        """What the judge says; None where the budget allows no further question."""
        key = judge.key(example, first, second)
        async with self._each[key]:  # what is asked already is waited for, not asked again
            opinion = self._verdicts.find(key)
            if opinion is not None:
                self.tally.cached += 1
                return opinion
            async with self._gate:
                most = judge.most(example, first, second)
                aside = await self._budget.set_aside(judge.name, most)
                if aside is None:
                    return None
                try:
                    opinion = await judge.judge(example, first, second)
                except ChatError:
                    self._broken = True
                    raise
                except asyncio.CancelledError:
                    if not self._broken:  # the server was at it, and may have written it all
                        self._keep(key, judge, Opinion(None, most, bool(most), "interrupted"))
                    raise
                self._budget.settle(judge.name, aside, opinion.tokens)
                self._keep(key, judge, opinion)
        return opinion

    def _keep(self, key: str, judge: Judge, opinion: Opinion) -> None:
        self._verdicts.keep(key, judge.name, opinion)
        self.tally.tokens += opinion.tokens
        self.tally.estimated += opinion.tokens if opinion.estimated else 0
        if opinion.failure:
            self.tally.failures[opinion.failure] += 1
        else:
            self.tally.asked += 1


async def _all_of(some: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """What all come to; where one fails the others are ended before its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in some]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def agree(there: Choice, back: Choice) -> tuple[Outcome, bool]:
    """What two verdicts come to, the second of them with the sides exchanged.

    Disagreement counts as a tie; so does both bad beside a tie.
    """
    exchanged = {Choice.A: Choice.B, Choice.B: Choice.A}.get(back, back)
    if there is exchanged:
        outcomes = {
            Choice.A: Outcome.FIRST,
            Choice.B: Outcome.SECOND,
            Choice.TIE: Outcome.TIE,
            Choice.BOTH_BAD: Outcome.BOTH_BAD,
        }
        return outcomes[there], True
    return Outcome.TIE, False


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
