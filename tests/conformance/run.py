"""Every check of schemathesis against the service: ``python -m tests.conformance.run``.

Starts ``deepmedix serve`` on a free port (with the settings of the environment, the embedded
checkpoint by default), sends it requests that keep to the OpenAPI document and requests that do
not, and judges every reply. The exit status is 1 when a check failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.servers import service

_ROOT = Path(__file__).parents[2]


LEAST_SHARE = 0.5
"""Of the requests to read a film that keep to the document, how many must be answered."""


def command(
    url: str, answers: Path, *, examples: int, seed: int
) -> tuple[list[str], dict[str, str]]:
    """Return the command line, and its environment, that checks the service at an address.

    Parameters
    ----------
    url
        Address of a service that is ready.
    answers
        File that the run leaves its count of the replies in, for :func:`judge`.
    examples
        Most requests that are drawn at random for each operation, beside those that go through
        every field's bounds.
    seed
        Equal seeds draw equal requests.
    """
    line = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json",
        "--checks", "all", "--max-examples", str(examples), "--seed", str(seed),
        "--continue-on-failure", "--warnings", "off", "--request-timeout", "120",
        "--generation-database", "none",
    ]  # fmt: skip
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    hooks = {"SCHEMATHESIS_HOOKS": "tests.conformance.hooks", "PYTHONPATH": paths}
    return line, {**os.environ, **hooks, "CONFORMANCE_ANSWERS": str(answers)}


def judge(answers: Path) -> tuple[str, bool]:
    """Return a table of the replies to requests that keep to the document, and whether it will do.

    A run whose requests were nearly all refused would prove nothing of what is answered.
    """
    replies: dict[str, Counter[str]] = defaultdict(Counter)
    for operation, mode, outcome, count in json.loads(answers.read_text()):
        if mode == "positive":
            replies[operation][outcome] += count
    lines, enough = ["Replies to requests that keep to the document:"], bool(replies)
    for operation, outcomes in sorted(replies.items()):
        told = ", ".join(f"{outcome} ({count})" for outcome, count in outcomes.most_common())
        lines.append(f"  {operation}: {told}")
        if operation in _READING and outcomes["200"] < LEAST_SHARE * outcomes.total():
            lines.append(f"  FAILED: fewer than {LEAST_SHARE:.0%} of these were answered")
            enough = False
    if missing := _READING - replies.keys():
        lines.append(f"  FAILED: nothing was asked of {', '.join(sorted(missing))}")
    return "\n".join(lines), enough and not missing


_READING = {"POST /report", "POST /vqa", "POST /render"}


def check(url: str, *, examples: int, seed: int) -> int:
    """Check the service at an address; the exit status."""
    with TemporaryDirectory() as folder:
        answers = Path(folder) / "answers.json"
        line, environment = command(url, answers, examples=examples, seed=seed)
        status = subprocess.run(line, env=environment, check=False).returncode
        if not answers.exists():
            return status or 1
        told, enough = judge(answers)
        print(told)
        return status or (0 if enough else 1)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=100, help="for each operation (100)")
    parser.add_argument("--seed", type=int, default=0, help="another draws other requests (0)")
    parser.add_argument("--url", help="a service that runs already, instead of starting one")
    options = parser.parse_args(arguments)
    if options.url is not None:
        return check(options.url, examples=options.examples, seed=options.seed)
    with service() as url:
        return check(url, examples=options.examples, seed=options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
