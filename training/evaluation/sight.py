"""What is owed to seeing the films: each system, and each gain, beside what a blank film brings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from training.evaluation.controls import Films
from training.evaluation.results import Results
from training.evaluation.scores import Score
from training.evaluation.sums import Difference


@dataclass(frozen=True)
class Sight:
    """A gain on the films themselves, and what of it there is without them.

    Attributes
    ----------
    one, other
        Systems; ``other`` is empty where the gain is that of ``one`` over itself on blank films.
    films
        The gain on the films themselves.
    blank
        Between two systems, the same gain on blank films.
    """

    one: str
    other: str
    stratum: str
    score: str
    films: Difference
    blank: Difference | None = None

    @property
    def verdict(self) -> str:
        """What the intervals say of it."""
        if self.films.low <= 0 <= self.films.high:
            return "no sure gain" if self.other else "none: a blank film does as well"
        if self.blank is None:
            return "seen" if self.films.value > 0 else "a blank film does better"
        if self.films.value < 0:
            return "a loss"
        return "shared by blank films" if self.blank.low > 0 else "seen"


def sight_of(results: Results) -> list[Sight]:
    """Of every figure of which more is better: systems over themselves blind, then over others."""
    shown = {c.system: c for c in results.contenders if c.shown is Films.SHOWN}
    blank = {c.system: c for c in results.contenders if c.shown is Films.BLANK}
    seeing = [name for name in shown if name in blank]
    found = []
    for stratum in results.strata:
        for name in seeing:
            pair = (shown[name].label, blank[name].label)
            for score in _figures(results, stratum, pair[0]):
                gain = results.difference(*pair, stratum, score)
                found.append(Sight(name, "", stratum, score.name, gain))
        for one, other in combinations(seeing, 2):
            for score in _figures(results, stratum, shown[one].label):
                gain = results.difference(shown[one].label, shown[other].label, stratum, score)
                blind = results.difference(blank[one].label, blank[other].label, stratum, score)
                ahead = gain.value >= 0
                found.append(
                    Sight(
                        *((one, other) if ahead else (other, one)),
                        stratum,
                        score.name,
                        gain if ahead else gain.turned,
                        blind if ahead else blind.turned,
                    )
                )
    return [item for item in found if item.films.value == item.films.value]


def _figures(results: Results, stratum: str, label: str) -> Iterator[Score]:
    for score in results.scores(label, stratum):
        if score.headline and score.better and score.group != "run":
            yield score
