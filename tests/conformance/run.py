"""Every check of schemathesis against the service: ``python -m tests.conformance.run``.

Starts ``deepmedix serve`` on a free port (with the settings of the environment, the embedded
checkpoint by default), sends it requests that keep to the OpenAPI document and requests that do
not, and judges every reply. The exit status is 1 when a check failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.servers import service

_ROOT = Path(__file__).parents[2]


def command(url: str, *, examples: int, seed: int) -> tuple[list[str], dict[str, str]]:
    """Return the command line, and its environment, that checks the service at an address.

    Parameters
    ----------
    url
        Address of a service that is ready.
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
    return line, {**os.environ, **hooks}


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
        line, environment = command(options.url, examples=options.examples, seed=options.seed)
        return subprocess.run(line, env=environment, check=False).returncode
    with service() as url:
        line, environment = command(url, examples=options.examples, seed=options.seed)
        return subprocess.run(line, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
