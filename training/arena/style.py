"""How texts differ in what should not count: length and style, as contrasts to control for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from training.systems.prediction import Prediction

_SENTENCE = re.compile(r"[.!?](?=\s|$)")
_ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)


def _text(said: Prediction) -> str:
    return "\n".join([*(step.text for step in said.steps), said.answer])


MEASURES: dict[str, Callable[[Prediction], int]] = {
    "length": lambda said: len(_text(said).split()),
    "boxes": lambda said: sum(len(step.boxes) for step in said.steps),
    "steps": lambda said: len(said.steps),
    "sentences": lambda said: len(_SENTENCE.findall(_ITEM.sub("", _text(said)))),
    "lists": lambda said: len(_ITEM.findall(_text(said))),
}
"""Words; boxes; steps; ends of sentences; lines that begin like an item of a list."""
STYLE = "style"
"""All but the length."""


def contrasts(one: Prediction, other: Prediction) -> dict[str, float]:
    """Of each measure, the first text's value less the second's."""
    return {name: float(measure(one) - measure(other)) for name, measure in MEASURES.items()}


def covariates_of(names: Sequence[str]) -> tuple[str, ...]:
    """Names of contrasts, ``style`` standing for all but the length; each once."""
    every = [[n for n in MEASURES if n != "length"] if name == STYLE else [name] for name in names]
    return tuple(dict.fromkeys(name for some in every for name in some))


def measured(names: Sequence[str]) -> tuple[str, ...]:
    """:func:`covariates_of`, of which all are measured.

    Raises
    ------
    ValueError
        When one is not.
    """
    covariates = covariates_of(names)
    for name in covariates:
        if name not in MEASURES:
            known = ", ".join([*MEASURES, STYLE])
            raise ValueError(f"--control {name!r} is not known: {known}.")
    return covariates
