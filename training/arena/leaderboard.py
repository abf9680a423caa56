"""Ratings, win matrix and judges of an arena, as Markdown and as a picture."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from PIL import Image, ImageDraw
from scipy.stats import kendalltau

from training.arena.match import Match, Outcome
from training.arena.ratings import Arena, Fit
from training.evaluation.agreement import cohens_kappa

_WIDTH, _ROW, _LEFT, _RIGHT = 900, 34, 260, 40


@dataclass(frozen=True)
class Judge:
    """How a judge judged.

    Attributes
    ----------
    first, tie, both_bad
        Shares of its verdicts: for the first shown, ties, both bad.
    consistent
        Share of its verdicts in which both orders agree.
    favours_first
        Of those in which both orders gave to one side, the share for whoever was shown first; one
        half where it has no bias, None where there are none.
    agreement
        Cohen's kappa with the other judges' verdicts on the same texts; None where there are none.
    order
        Kendall's tau of the ranking by its verdicts alone with that by all others'; None where
        fewer than three systems are in both.
    """

    name: str
    matches: int
    first: float
    tie: float
    both_bad: float
    consistent: float
    favours_first: float | None
    agreement: float | None
    order: float | None


@dataclass(frozen=True)
class Leaderboard:
    """Systems from best to worst.

    Attributes
    ----------
    intervals
        95% of each rating, bootstrapped by patient.
    wins
        Of each ordered pair: wins, ties, matches.
    studies, patients
        Examples that were judged, and what intervals resample by (:attr:`Match.cluster`).
    """

    fit: Fit
    intervals: dict[str, tuple[float, float]]
    wins: dict[tuple[str, str], tuple[int, int, int]]
    judges: tuple[Judge, ...]
    matches: int
    studies: int
    patients: int

    @classmethod
    def of(
        cls,
        matches: Sequence[Match],
        *,
        covariates: Sequence[str] = (),
        resamples: int = 200,
        seed: int = 0,
    ) -> Leaderboard:
        """Rate matches.

        Raises
        ------
        ValueError
            When there are none, one is of a system with itself, or none tells a covariate.
        """
        rated = Arena(matches, covariates=covariates)
        wins: Counter[tuple[str, str]] = Counter()
        ties: Counter[tuple[str, str]] = Counter()
        for match in matches:
            pair = (match.first, match.second)
            if match.outcome is Outcome.FIRST:
                wins[pair] += 1
            elif match.outcome is Outcome.SECOND:
                wins[pair[::-1]] += 1
            else:
                ties[pair] += 1
                ties[pair[::-1]] += 1
        table = {}
        for a, b in combinations(rated.systems, 2):
            played = wins[a, b] + wins[b, a] + ties[a, b]
            table[a, b] = (wins[a, b], ties[a, b], played)
            table[b, a] = (wins[b, a], ties[a, b], played)
        return cls(
            rated.fit,
            rated.intervals(resamples=resamples, seed=seed),
            table,
            tuple(_judges(matches)),
            len(matches),
            len({match.study for match in matches}),
            len({match.cluster for match in matches}),
        )

    @property
    def order(self) -> list[str]:
        """Best first."""
        return sorted(self.fit.systems, key=lambda system: -self.fit.rating(system))

    def markdown(self) -> str:
        """Ranking, win matrix and judges."""
        lines = [
            f"{self.matches:,} matches on {self.studies:,} examples of {self.patients:,} patients, "
            f"by whom intervals resample. Being shown first is worth {self.fit.position:+.2f} "
            f"log-odds; Davidson's nu is {self.fit.tie:.2f}.",
            *(
                ["All are of one patient: the intervals tell nothing."]
                if self.patients == 1
                else []
            ),
            *(
                f"A standard deviation more of {name} is worth {slope:+.2f} log-odds, which the "
                "ratings leave out."
                for name, slope in self.fit.slopes.items()
            ),
            "",
            "| rank | system | rating | 95% interval |",
            "|---|---|---|---|",
        ]
        for rank, system in enumerate(self.order, 1):
            low, high = self.intervals[system]
            rating = self.fit.rating(system)
            lines.append(f"| {rank} | {system} | {rating:.0f} | {low:.0f} to {high:.0f} |")
        lines += ["", "| wins (ties) of | " + " | ".join(self.order) + " |"]
        lines.append("|---" * (len(self.order) + 1) + "|")
        for one in self.order:
            cells = [self._cell(one, other) for other in self.order]
            lines.append(f"| {one} | " + " | ".join(cells) + " |")
        lines += [
            "",
            "| judge | matches | for the first | tie | both bad | orders agree | where not, for "
            "whoever is first | Cohen's kappa with the others | Kendall's tau of the ranking |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for judge in self.judges:
            known = (judge.favours_first, judge.agreement, judge.order)
            bias, kappa, tau = ("" if value is None else f"{value:.2f}" for value in known)
            lines.append(
                f"| {judge.name or 'unnamed'} | {judge.matches} | {judge.first:.2f} "
                f"| {judge.tie:.2f} | {judge.both_bad:.2f} | {judge.consistent:.2f} | {bias} "
                f"| {kappa} | {tau} |"
            )
        return "\n".join(lines)

    def picture(self) -> Image.Image:
        """Ratings with their intervals."""
        low = min(interval[0] for interval in self.intervals.values()) - 20
        high = max(interval[1] for interval in self.intervals.values()) + 20
        scale = (_WIDTH - _LEFT - _RIGHT) / (high - low)

        def place(rating: float) -> float:
            return _LEFT + (rating - low) * scale

        image = Image.new("RGB", (_WIDTH, _ROW * (len(self.order) + 2)), "white")
        draw = ImageDraw.Draw(image)
        for row, system in enumerate(self.order):
            y = _ROW * (row + 1)
            begin, end = (place(value) for value in self.intervals[system])
            middle = place(self.fit.rating(system))
            draw.text((12, y - 7), system, fill="black")
            draw.line((begin, y, end, y), fill=(60, 100, 160), width=3)
            draw.ellipse((middle - 5, y - 5, middle + 5, y + 5), fill=(20, 50, 110))
            draw.text((end + 8, y - 7), f"{self.fit.rating(system):.0f}", fill="black")
        axis = _ROW * (len(self.order) + 1)
        draw.line((_LEFT, axis, _WIDTH - _RIGHT, axis), fill="grey")
        for value in range(int(low // 100 + 1) * 100, int(high) + 1, 100):
            draw.line((place(value), axis - 4, place(value), axis + 4), fill="grey")
            draw.text((place(value) - 12, axis + 8), str(value), fill="grey")
        return image

    def write(self, folder: Path, *, more: str = "") -> None:
        """Write ``arena.md``, ``ratings.csv`` and ``ratings.png``; ``more`` ends the first."""
        folder.mkdir(parents=True, exist_ok=True)
        text = f"{self.markdown()}\n\n{more}".rstrip()
        (folder / "arena.md").write_text(text + "\n", "utf-8")
        with (folder / "ratings.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["system", "rating", "low", "high"])
            for system in self.order:
                writer.writerow([system, self.fit.rating(system), *self.intervals[system]])
        self.picture().save(folder / "ratings.png")

    def _cell(self, one: str, other: str) -> str:
        if one == other:
            return "·"
        won, tied, played = self.wins[one, other]
        return f"{won} ({tied}) of {played}" if played else ""


def _judges(matches: Sequence[Match]) -> list[Judge]:
    found = []
    for name in sorted({match.judge for match in matches}):
        own = [match for match in matches if match.judge == name]
        others = [match for match in matches if match.judge != name]
        outcomes = Counter(match.outcome for match in own)
        sides = Counter(match.favoured for match in own if match.favoured)
        found.append(
            Judge(
                name,
                len(own),
                outcomes[Outcome.FIRST] / len(own),
                outcomes[Outcome.TIE] / len(own),
                outcomes[Outcome.BOTH_BAD] / len(own),
                sum(match.consistent for match in own) / len(own),
                sides["first"] / sides.total() if sides else None,
                _kappa(own, others),
                _tau(own, others),
            )
        )
    return found


def _kappa(own: Sequence[Match], others: Sequence[Match]) -> float | None:
    """Cohen's kappa over every pair of verdicts on the same texts; sides are brought in line."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for match in others:
        study, verdict = _in_line(match)
        told.setdefault(study, []).append(verdict)
    pairs: list[tuple[object, object]] = []
    for match in own:
        study, verdict = _in_line(match)
        pairs += [(verdict, other) for other in told.get(study, ())]
    return cohens_kappa(pairs) if pairs else None


def _tau(own: Sequence[Match], others: Sequence[Match]) -> float | None:
    if not others:
        return None
    mine, theirs = (Arena(some, position=False).fit for some in (own, others))
    both = sorted(set(mine.systems) & set(theirs.systems))
    if len(both) < 3:
        return None
    ratings = [[fit.rating(system) for system in both] for fit in (mine, theirs)]
    return float(kendalltau(*ratings).statistic)


def _in_line(match: Match) -> tuple[tuple[str, str, str], str]:
    one, other = sorted((match.first, match.second))
    winner = {Outcome.FIRST: match.first, Outcome.SECOND: match.second}.get(match.outcome, "")
    return (match.study, one, other), winner or "tie"
