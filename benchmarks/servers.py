"""The servers under measurement, each in a process of its own on a free loopback port."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

_ROOT = Path(__file__).parents[1]

_DIRECTLY = build_opener(ProxyHandler({}))
"""A proxy of the environment has nothing to do with this machine's own port."""

_START = 300.0  # seconds that a server may take to start


@contextmanager
def service() -> Iterator[str]:
    """Run ``deepmedix serve``; gives its address when it is ready."""
    port = _free_port()
    program = "from service.cli import main; main()"
    with _running([sys.executable, "-c", program, "serve", "--port", str(port)], port, "/readyz"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def openai_server(model: str, arguments: dict[str, Any]) -> Iterator[str]:
    """Run vLLM's own OpenAI server with the service's engine arguments; gives its address."""
    port = _free_port()
    line = [
        sys.executable, "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server",
        "--model", model, "--host", "127.0.0.1", "--port", str(port),
        "--generation-config", "vllm", "--disable-uvicorn-access-log",
        "--trust-request-mm-kwargs", *_flags(arguments),
    ]  # fmt: skip
    with _running(line, port, "/health"):
        yield f"http://127.0.0.1:{port}/v1"


def _flags(arguments: dict[str, Any]) -> Iterator[str]:
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            yield flag
        elif value is False:
            # What is off by default has no opposite flag that means anything.
            if name == "use_tqdm_on_load":
                yield "--no-use-tqdm-on-load"
        else:
            yield from (flag, json.dumps(value) if isinstance(value, dict) else str(value))


@contextmanager
def _running(line: list[str], port: int, ready: str) -> Iterator[None]:
    # No settings of the user's and no deepmedix.toml of this folder: it is measured as shipped.
    clean = {name: text for name, text in os.environ.items() if "DEEPMEDIX" not in name}
    folder = TemporaryDirectory(prefix="bench-")
    process = subprocess.Popen(
        line,
        cwd=folder.name,
        env=clean | {"PYTHONPATH": str(_ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _START
        while not _answers(f"http://127.0.0.1:{port}{ready}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(line[:6])} ... did not start")
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()
        folder.cleanup()


def _answers(url: str) -> bool:
    try:
        with _DIRECTLY.open(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
