"""What readers' answers come to: ratings, win rates, and how far readers agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from training.evaluation.agreement import cohens_kappa
from training.evaluation.intervals import bootstrap_interval
from training.evaluation.published import EXPERT_REVIEW
from training.review.cases import PREFERRED, RATED, ReaderAnswer, Sides


@dataclass(frozen=True)
class Figure:
    """A mean with its 95% interval, resampled by patient."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """Figures of a review.

    Attributes
    ----------
    ratings
        Of each system and each of :data:`RATED`.
    wins
        Of each system and each of :data:`PREFERRED`: share of answers that prefer it, those that
        prefer neither counting half.
    alpha
        Krippendorff's alpha of each question among readers; NaN where no case has two readers.
    kappa
        Cohen's kappa of the overall preference, of each two readers with cases in common.
    """

    systems: tuple[str, str]
    readers: tuple[str, ...]
    cases: int
    answers: int
    ratings: dict[tuple[str, str], Figure]
    wins: dict[tuple[str, str], Figure]
    alpha: dict[str, float]
    kappa: dict[tuple[str, str], float]

    def markdown(self) -> str:
        """Tables, the paper's figures beside them."""
        one, other = self.systems
        lines = [
            f"{self.answers} answers of {len(self.readers)} readers on {self.cases} cases. "
            "Intervals are 95%, resampled by patient.",
            "",
            f"| | {one} | {other} | published: DeepMedix-R1 | Qwen2.5-VL-7B thinking "
            "| Krippendorff's alpha |",
            "|---|---|---|---|---|---|",
        ]
        for name in (*RATED, *PREFERRED):
            figures = self.ratings if name in RATED else self.wins
            cells = [_cell(figures.get((system, name))) for system in self.systems]
            published = [f"{value:.3f}" for value in EXPERT_REVIEW[name]]
            lines.append(
                f"| {name} | " + " | ".join([*cells, *published, _number(self.alpha[name])]) + " |"
            )
        if self.kappa:
            lines += ["", "| readers | Cohen's kappa, overall preference |", "|---|---|"]
            lines += [f"| {a}, {b} | {_number(value)} |" for (a, b), value in self.kappa.items()]
        return "\n".join(lines)


def summarise(
    answers: Sequence[ReaderAnswer], key: Mapping[str, Sides], training: frozenset[str]
) -> Summary:
    """Unblind and count; answers on training cases are left out.

    Raises
    ------
    ValueError
        When no answers are left, one is of a case that the key does not know, or the key is of
        more than two systems.
    """
    unknown = [answer.case for answer in answers if answer.case not in key]
    if unknown:
        raise ValueError(f"The key knows no {unknown[0]}: is it the key of these cases?")
    counted = [answer for answer in answers if answer.case not in training]
    if not counted:
        raise ValueError("There are no answers to summarise.")
    systems = tuple(sorted({side for sides in key.values() for side in (sides.left, sides.right)}))
    if len(systems) != 2:
        raise ValueError("The key is not of two systems.")
    by_case: dict[str, list[ReaderAnswer]] = {}
    for answer in counted:
        by_case.setdefault(answer.case, []).append(answer)
    by_patient: dict[str, list[ReaderAnswer]] = {}
    for answer in counted:
        by_patient.setdefault(key[answer.case].cluster, []).append(answer)
    patients = list(by_patient.values())

    def figure(of: Callable[[ReaderAnswer], float | None]) -> Figure:
        def mean(some: Sequence[Sequence[ReaderAnswer]]) -> float:
            values = [v for patient in some for a in patient if (v := of(a)) is not None]
            return float(np.mean(values)) if values else float("nan")

        return Figure(mean(patients), *bootstrap_interval(patients, mean))

    def rating(system: str, name: str) -> Callable[[ReaderAnswer], float | None]:
        return lambda a: (a.left if key[a.case].left == system else a.right).get(name)

    def win(system: str, name: str) -> Callable[[ReaderAnswer], float | None]:
        return lambda a: _won(a, key[a.case], system, name)

    one = systems[0]
    alpha = {name: _alpha(by_case, win(one, name)) for name in PREFERRED}
    for name in RATED:  # every text is a unit of its own
        units = [_alpha_units(by_case, rating(system, name)) for system in systems]
        alpha[name] = alpha_of([unit for some in units for unit in some])
    return Summary(
        (systems[0], systems[1]),
        tuple(sorted({answer.reader for answer in counted})),
        len(by_case),
        len(counted),
        {(system, name): figure(rating(system, name)) for system in systems for name in RATED},
        {(system, name): figure(win(system, name)) for system in systems for name in PREFERRED},
        alpha,
        _kappas(by_case, win(one, PREFERRED[-1])),
    )


def _won(answer: ReaderAnswer, sides: Sides, system: str, name: str) -> float | None:
    preferred = answer.preferred.get(name)
    if preferred is None:
        return None
    if preferred == "neither":
        return 0.5
    return float(getattr(sides, preferred) == system)


Unit = dict[str, float]
"""Of each reader what was said of one thing."""


def _alpha_units(
    by_case: Mapping[str, Sequence[ReaderAnswer]], of: Callable[[ReaderAnswer], float | None]
) -> list[Unit]:
    return [
        {answer.reader: value for answer in case if (value := of(answer)) is not None}
        for case in by_case.values()
    ]


def _alpha(
    by_case: Mapping[str, Sequence[ReaderAnswer]], of: Callable[[ReaderAnswer], float | None]
) -> float:
    return alpha_of(_alpha_units(by_case, of))


def alpha_of(units: Sequence[Unit]) -> float:
    """Krippendorff's alpha, interval distance; NaN where no unit has two readers."""
    import evalica
    import pandas as pd

    shared = [unit for unit in units if len(unit) > 1]
    if not shared:
        return float("nan")
    values = {value for unit in shared for value in unit.values()}
    if len(values) == 1:
        return 1.0
    readers = sorted({reader for unit in shared for reader in unit})
    table = pd.DataFrame([[unit.get(reader) for unit in shared] for reader in readers])
    return float(evalica.alpha(table.astype(float), distance="interval").alpha)


def _kappas(
    by_case: Mapping[str, Sequence[ReaderAnswer]], of: Callable[[ReaderAnswer], float | None]
) -> dict[tuple[str, str], float]:
    units = _alpha_units(by_case, of)
    readers = sorted({reader for unit in units for reader in unit})
    found = {}
    for one, other in combinations(readers, 2):
        pairs = [(unit[one], unit[other]) for unit in units if one in unit and other in unit]
        if pairs:
            found[one, other] = cohens_kappa(pairs)
    return found


def _cell(figure: Figure | None) -> str:
    if figure is None or np.isnan(figure.value):
        return ""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"
