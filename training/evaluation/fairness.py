"""How far the sub-groups of films and patients lie apart: the best served and the worst."""

from __future__ import annotations

from dataclasses import dataclass

from training.evaluation.controls import Films
from training.evaluation.results import Results
from training.evaluation.sums import percentiles


@dataclass(frozen=True)
class Gap:
    """The best and the worst sub-group of one kind, in one figure of one system.

    Attributes
    ----------
    best, worst
        Names and values.
    value, low, high
        The difference and its 95% interval, either sub-group's studies drawn by themselves.
    """

    system: str
    stratum: str
    kind: str
    score: str
    best: tuple[str, float]
    worst: tuple[str, float]
    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether the interval is clear of none."""
        return "apart" if self.low > 0 else ""


def gaps_of(results: Results) -> list[Gap]:
    """Of every system on the films themselves; kinds with two sub-groups at least."""
    found = []
    for contender in results.contenders:
        if contender.shown is not Films.SHOWN:
            continue
        for stratum, kind, parts in results.kinds_of_subgroup():
            tables = {name: results.table(contender.label, some) for name, some in parts.items()}
            for score in results.scores(contender.label, stratum):
                if not score.headline or score.better is None:
                    continue
                values = {name: table.value(score.figure) for name, table in tables.items()}
                known = {name: value for name, value in values.items() if value == value}
                if len(known) < 2:
                    continue
                sign = 1 if score.better else -1
                worst, *_, best = sorted(known, key=lambda name: sign * known[name])
                # Their studies are others: drawn apart, and not in step where they are as many.
                drawn = tables[best].drawn(score.figure) - tables[worst].drawn(score.figure, seed=1)
                low, high = percentiles(sign * drawn)
                found.append(
                    Gap(
                        contender.label,
                        stratum,
                        kind,
                        score.name,
                        (best, known[best]),
                        (worst, known[worst]),
                        sign * (known[best] - known[worst]),
                        low,
                        high,
                    )
                )
    return found
