"""Who takes part: the systems of an evaluation, and judges by a line of text."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.arena.judge import Judge, ModelJudge, RuleJudge
from training.chat.address import endpoint_of
from training.chat.client import ChatServer, Patience
from training.chat.errors import ChatError
from training.chat.pace import Pace
from training.data.example import Example
from training.evaluation.controls import MAJORITY, Films
from training.evaluation.folder import read
from training.systems.prediction import Prediction

KEY = "DEEPMEDIX_JUDGE_KEY"
"""Environment variable that holds the key of a judge that asks for one, where one model judges.

Of several, each has its own: a key goes to no server but the one it is for.
"""


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
    evaluation: Path, task: str | None = None, only: Sequence[str] = ()
) -> tuple[list[Example], dict[str, list[Prediction]], Path]:
    """Examples, predictions of systems on the films themselves, and the films' folder.

    Parameters
    ----------
    only
        Who takes part; empty: every system, and not the majority answer, which is a control.

    Raises
    ------
    OSError, ValueError
        When the folder holds no finished evaluation, none of that task, or no such system.
    """
    results, about = read(evaluation)
    wanted = [n for n, example in enumerate(results.examples) if task in (None, example.task)]
    if not wanted:
        raise ValueError(f"{evaluation} holds no examples of the task {task}.")
    shown = {c.system: c.predictions for c in results.contenders if c.shown is Films.SHOWN}
    for name in only:
        if name not in shown:
            raise ValueError(f"--entrant {name!r} is not in the evaluation: {', '.join(shown)}.")
    entrants = {
        name: [said[number] for number in wanted]
        for name, said in shown.items()
        if (name in only if only else name != MAJORITY)
    }
    return [results.examples[number] for number in wanted], entrants, Path(about["films"])


def key_variable(judge: str) -> str:
    """Environment variable of one judge's key: ``DEEPMEDIX_JUDGE_KEY_QWEN_72B`` of ``qwen-72b``."""
    return f"{KEY}_{re.sub(r'[^A-Z0-9]', '_', judge.upper())}"


def open_judges(lines: Sequence[str], hearing: Hearing) -> list[Judge]:
    """The judges that lines describe: each ``rules``, or ``NAME=URL,model=MODEL``.

    Raises
    ------
    ValueError
        When a line is none, a server must not be asked, or two judges' keys have one variable.
    """
    names = [line.partition("=")[0] for line in lines if line != "rules"]
    for variable, count in Counter(map(key_variable, names)).items():
        if count > 1:
            raise ValueError(f"Two judges' keys are both looked for in {variable}: rename one.")
    return [_open(line, hearing, alone=len(names) == 1) for line in lines]


def _open(line: str, hearing: Hearing, *, alone: bool) -> Judge:
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
    own = key_variable(name)
    variable = KEY if alone and own not in os.environ else own
    server = ChatServer(
        endpoint,
        Pace(hearing.per_minute),
        Patience(timeout=hearing.timeout),
        key=os.environ.get(variable),
        remote=hearing.allow_remote,
        role="judge",
        option="--judge",
        key_variable=variable,
    )
    return ModelJudge(name, server, option[6:], films=hearing.films, reference=hearing.reference)
