"""A Dockerfile's instructions, as far as the tests look at them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENDS = 20
"""Seconds that a stop takes beside ``shutdown_grace``, as docs/settings.md says."""

FILES = (ROOT / "docker" / "Dockerfile", ROOT / "docker" / "Dockerfile.cpu")


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``RUN``, ``COPY``, ... and what follows it, on one line."""

    word: str
    rest: str


def stages(path: Path) -> list[list[Instruction]]:
    """Return the instructions of each stage; what stands before the first goes with none."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M)
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    found: list[list[Instruction]] = [[]]
    for line in filter(str.strip, lines):
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Instruction(word, rest))
    return found[1:]


def last_stage(path: Path) -> list[Instruction]:
    """Return the instructions of the image itself."""
    return stages(path)[-1]


def values(instructions: list[Instruction], word: str) -> list[str]:
    """Return what follows each instruction of one word."""
    return [instruction.rest for instruction in instructions if instruction.word == word]
