"""Killed runs go on without repeating a call; systems that go wrong are scored."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli import build_cli
from tests.training.scripted_server import ScriptedServer, completion
from tests.training.small_store import example
from tests.training.systems.test_systems import REPLY, VERSION
from training.data.store import write_examples
from training.evaluation.folder import read

_PROGRAM = [sys.executable, "-c", "from service.cli import main; main()"]


@pytest.fixture
def few(films: Path, tmp_path: Path) -> Path:
    some = [example(n, indication=f"Cough for {n} days.") for n in range(6)]
    write_examples(tmp_path / "few", some, images_root=films)
    return tmp_path / "few"


def killed_at(server: ScriptedServer, number: int, arguments: Sequence[str]) -> None:
    """Run a command, and kill it while its request of that number waits for a reply."""
    answer, reached, release = server.script, threading.Event(), threading.Event()
    begun = len(server.requests)

    def waits(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if len(server.requests) - begun == number:
            reached.set()
            release.wait()
        return answer(request)

    server.script = waits
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [*_PROGRAM, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": root},
    )
    try:
        assert reached.wait(200)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        server.script = answer
        release.set()


def contents(requests: Sequence[dict[str, Any]]) -> list[str]:
    return [json.dumps(request, sort_keys=True) for request in requests]


def finished(arguments: Sequence[str]) -> str:
    done = CliRunner().invoke(build_cli(), list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_no_answered_call_is_repeated_after_a_kill(
    server: ScriptedServer, few: Path, tmp_path: Path
) -> None:
    said = {"a": "The heart is enlarged.", "b": "Normal."}
    verdict = json.dumps({"reason": "r", "decided_by": "clarity", "verdict": "tie"})
    server.script = lambda asked: (200, {}, completion(said.get(asked["model"], verdict)))
    evaluate = ["evaluate", "--data", str(few), "--out", str(tmp_path / "out")]
    evaluate += ["--no-controls", "--concurrency", "1"]
    for name in said:
        evaluate += ["--system", f"{name}=endpoint:{server.url},model={name}"]
    killed_at(server, 9, evaluate)
    finished(evaluate)
    asked = contents(server.requests)
    # Two systems, six examples; the one that was waiting is asked again.
    assert len(asked) == 12 + 1
    assert len(set(asked)) == 12
    assert asked[8] == asked[9]

    begun = len(asked)
    arena = ["arena", "run", str(tmp_path / "out"), "--out", str(tmp_path / "arena")]
    arena += ["--judge", f"m={server.url},model=judge", "--concurrency", "1", "--resamples", "2"]
    arena += ["--matches", "10"]
    killed_at(server, 8, arena)
    finished(arena)
    asked = contents(server.requests[begun:])
    assert len(asked) == len(set(asked)) + 1
    assert asked[7] in asked[8:]


def test_a_service_that_answers_nonsense_hangs_and_dies_is_scored_as_such(
    server: ScriptedServer, few: Path, tmp_path: Path
) -> None:
    replies, never = 0, threading.Event()

    def goes_wrong(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        nonlocal replies
        if request["path"] == "/version":
            return 200, {}, VERSION
        replies += 1
        match replies:
            case 1:
                return 200, {}, REPLY
            case 2:
                return 200, {}, b"\xff nonsense"
            case 3:
                return 200, {}, REPLY | {"reasoning": "none"}
            case 4:
                never.wait()
        raise ConnectionAbortedError

    server.script = goes_wrong
    arguments = ["evaluate", "--data", str(few), "--out", str(tmp_path / "out")]
    arguments += ["--no-controls", "--concurrency", "1", "--timeout", "1"]
    arguments += ["--system", f"sick=service:{server.url.removesuffix('/v1')}"]
    try:
        output = finished(arguments)
    finally:
        never.set()
    results, _ = read(tmp_path / "out")
    told = [str(prediction.failure) for prediction in results.contenders[0].predictions]
    assert told == ["None", "broken", "broken", "timeout", "unreachable", "unreachable"]
    (failed,) = [r for r in results.rows if (r.contender, r.score) == ("sick", "failed")]
    assert failed.value == pytest.approx(5 / 6)
    assert "| sick |" in output
