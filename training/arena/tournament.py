"""Matches played: pairs chosen, both orders judged, verdicts kept, ratings told as they settle."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.arena.judge import Judge, Opinion
from training.arena.match import Match, Outcome, write_matches
from training.arena.pairing import next_pairs, uniform_pairs
from training.arena.ratings import Arena, Fit
from training.arena.rubric import Choice, Verdict
from training.data.example import Example
from training.systems.prediction import Prediction

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
    tokens
        Of both: what the tournament has cost so far.
    unplayed
        Matches left out because a verdict on them might have gone beyond the budget.
    unreadable
        Verdicts that could not be read; their matches are dropped, never ties.
    inconsistent
        Matches whose two orders disagree, which are ties.
    first, second
        Matches in which both orders favoured the text shown first, or second.
    """

    matches: int = 0
    asked: int = 0
    cached: int = 0
    tokens: int = 0
    unplayed: int = 0
    unreadable: int = 0
    inconsistent: int = 0
    first: int = 0
    second: int = 0
    stopped: str = ""
    by_judge: Counter[str] = field(default_factory=Counter)


class Verdicts:
    """Verdicts on disk: one JSON line each, found again by content."""

    def __init__(self, path: Path) -> None:
        self._found: dict[str, Opinion] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = True
        if path.exists():
            text = path.read_text()
            whole = not text or text.endswith("\n")
            for line in text.splitlines():
                self._remember(line)
        self._file = path.open("a")
        if not whole:
            self._file.write("\n")

    def find(self, key: str) -> Opinion | None:
        """The opinion with that key."""
        return self._found.get(key)

    def keep(self, key: str, judge: str, opinion: Opinion) -> None:
        """Write an opinion down at once."""
        self._found[key] = opinion
        verdict = opinion.verdict
        line = {
            "key": key,
            "judge": judge,
            "verdict": verdict and str(verdict.choice),
            "reason": verdict.reason if verdict else "",
            "decided_by": verdict.decided_by if verdict else "",
            "tokens": opinion.tokens,
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _remember(self, line: str) -> None:
        try:
            said = json.loads(line)
            verdict = None
            if said["verdict"] is not None:
                choice = Choice(said["verdict"])
                verdict = Verdict(choice, said["reason"], said["decided_by"])
            self._found[said["key"]] = Opinion(verdict, int(said["tokens"]))
        except (ValueError, KeyError, TypeError):
            return  # the line that was being written


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
        self.tally = Tally()
        self._asking = self._dearest = 0
        self._counted: set[str] = set()
        self._each: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._weighing = asyncio.Lock()

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
                while done < total and not self._spent():
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
        self.tally.stopped = self._spent() or (
            "every match was played" if possible <= rules.matches else "matches are spent"
        )

    def _spent(self) -> str:
        return "tokens are spent" if self._too_dear(1) else ""

    def _too_dear(self, more: int) -> bool:
        """Whether so many verdicts more, each as dear as the dearest so far, break the budget."""
        tokens, spent = self._rules.tokens, self.tally.tokens
        return tokens is not None and spent + max(1, more * self._dearest) > tokens

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
        played = await asyncio.gather(
            *(self._play_one(judge, *match) for match in drawn for judge in self._judges)
        )
        self.matches += [match for match in played if match is not None]
        self.tally.matches = len(self.matches)

    async def _play_one(self, judge: Judge, first: str, second: str, number: int) -> Match | None:
        example = self._examples[number]
        one, other = self._entrants[first][number], self._entrants[second][number]
        there, back = await asyncio.gather(
            self._ask(judge, example, one, other), self._ask(judge, example, other, one)
        )
        if there is None or back is None:
            self.tally.unplayed += 1
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
            {"length": float(_words(one) - _words(other)), "boxes": _boxes(one) - _boxes(other)},
            there.reason,
            there.decided_by,
            consistent,
            favoured,
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
                if key not in self._counted:
                    self._count(opinion)
            else:
                async with self._gate:
                    if self._rules.tokens is None or self._dearest:
                        opinion = await self._put(judge, example, first, second)
                    else:  # one at a time, until it is known what a verdict costs
                        async with self._weighing:
                            opinion = await self._put(judge, example, first, second)
                if opinion is None:
                    return None
                self._verdicts.keep(key, judge.name, opinion)
                self.tally.asked += 1
            self._counted.add(key)
        return opinion

    async def _put(
        self, judge: Judge, example: Example, first: Prediction, second: Prediction
    ) -> Opinion | None:
        if self._too_dear(self._asking + 1):
            return None
        self._asking += 1
        try:
            opinion = await judge.judge(example, first, second)
        finally:
            self._asking -= 1
        self._count(opinion)
        return opinion

    def _count(self, opinion: Opinion) -> None:
        self.tally.tokens += opinion.tokens
        self._dearest = max(self._dearest, opinion.tokens)


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


def _words(said: Prediction) -> int:
    return len(said.answer.split()) + sum(len(step.text.split()) for step in said.steps)


def _boxes(said: Prediction) -> float:
    return float(sum(len(step.boxes) for step in said.steps))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
