"""A reward of one's own, as a config may name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def variety(rollouts: Sequence[Any]) -> list[Mapping[str, float]]:
    """Pays for different letters."""
    letters = [len(set(rollout.completion)) / 40 for rollout in rollouts]
    return [{"overall": value, "letters": value} for value in letters]


def part(rollouts: Sequence[Any]) -> list[Mapping[str, float]]:
    """Pays for different letters; has a part of its own for each task."""
    letters = [len(set(rollout.completion)) / 40 for rollout in rollouts]
    return [
        {"overall": value, str(rollout.example.task): value}
        for rollout, value in zip(rollouts, letters, strict=True)
    ]


def constant(rollouts: Sequence[Any]) -> list[Mapping[str, float]]:
    """Pays everyone the same."""
    return [{"overall": 1.0} for _ in rollouts]


def nothing(rollouts: Sequence[Any]) -> list[Mapping[str, float]]:
    """Forgets what it owes."""
    return []


def lost(rollouts: Sequence[Any]) -> list[Mapping[str, float]]:
    """Reads a file that is not there."""
    words = Path("/no/words.txt").read_text()
    return [{"overall": float(len(words))} for _ in rollouts]


def broken(rollouts: Sequence[Any]) -> list[Mapping[str, float]]:
    """Fails over a completion."""
    raise ValueError("a secret of the patient")


def broken_later(rollouts: Sequence[Any]) -> Iterator[Mapping[str, float]]:
    """Fails once its parts are taken."""
    yield {"overall": 1.0}
    raise ValueError("a secret of the patient")
