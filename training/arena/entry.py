"""Who takes part: the systems of an evaluation, and judges by a line of text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from training.arena.judge import Judge, ModelJudge, RuleJudge
from training.chat.address import endpoint_of
from training.chat.client import ChatServer, Patience
from training.chat.errors import ChatError
from training.chat.pace import Pace
from training.data.example import Example
from training.evaluation.controls import Films
from training.evaluation.folder import read
from training.systems.prediction import Prediction

KEY = "DEEPMEDIX_JUDGE_KEY"
"""Environment variable that holds the key of a judge that asks for one."""


@dataclass(frozen=True)
class Hearing:
    """What judges are shown, and how patiently they are asked.

    Attributes
    ----------
    films
        Folder of the films, where judges see them.
    reference
        Whether judges are told the reference.
    """

    films: Path | None = None
    reference: bool = True
    timeout: float = 300.0
    per_minute: float | None = None
    allow_remote: bool = False


def entrants_of(
    evaluation: Path, task: str | None = None
) -> tuple[list[Example], dict[str, list[Prediction]], Path]:
    """Examples, the predictions of every system on the films themselves, and the films' folder.

    Raises
    ------
    OSError, ValueError
        When the folder holds no finished evaluation, or none of that task.
    """
    results, about = read(evaluation)
    wanted = [n for n, example in enumerate(results.examples) if task in (None, example.task)]
    if not wanted:
        raise ValueError(f"{evaluation} holds no examples of the task {task}.")
    entrants = {
        contender.system: [contender.predictions[number] for number in wanted]
        for contender in results.contenders
        if contender.shown is Films.SHOWN
    }
    return [results.examples[number] for number in wanted], entrants, Path(about["films"])


def open_judge(line: str, hearing: Hearing) -> Judge:
    """The judge that a line describes: ``rules``, or ``NAME=URL,model=MODEL``.

    Raises
    ------
    ValueError
        When the line is none, or the server must not be asked.
    """
    if line == "rules":
        return RuleJudge()
    name, sign, rest = line.partition("=")
    location, comma, option = rest.partition(",")
    if not sign or not comma or not option.startswith("model=") or not option[6:]:
        raise ValueError(f"--judge {line!r} is none: `rules`, or NAME=URL,model=MODEL.")
    try:
        endpoint = endpoint_of(location, option="--judge", allow_remote=hearing.allow_remote)
    except ChatError as error:
        raise ValueError(str(error)) from error
    server = ChatServer(
        endpoint,
        Pace(hearing.per_minute),
        Patience(timeout=hearing.timeout),
        key=os.environ.get(KEY),
        remote=hearing.allow_remote,
        role="judge",
        option="--judge",
        key_variable=KEY,
    )
    return ModelJudge(name, server, option[6:], films=hearing.films, reference=hearing.reference)
