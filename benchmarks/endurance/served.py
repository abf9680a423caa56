"""``deepmedix serve`` in a process of its own on a free loopback port, watched from outside."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from service.audit import Verification, verify
from service.identity import KeyFile, Scope

ROOT = Path(__file__).parents[2]
CALLERS = ("ward-1", "ward-2", "clinic", "research")
START_LIMIT = 300.0
"""Seconds that the service may take to be ready."""

PROGRAM = ("-c", "from service.cli import main; main()")

_KEPT_LINES = 4000


class Served:
    """The service: real engine, embedded checkpoint, API keys of four callers, an audit file.

    Parameters
    ----------
    folder
        Empty; gets keys, audit file and temporary files.
    program
        Python's arguments before ``serve``.
    settings
        Further settings, by their name without the prefix.
    """

    def __init__(
        self, folder: Path, *, program: Sequence[str] = PROGRAM, **settings: object
    ) -> None:
        self.folder = folder
        self.settings = dict(settings)
        self.temporary = folder / "tmp"
        self.audit_file = Path(str(settings.pop("audit_file", folder / "audit.jsonl")))
        self.temporary.mkdir(exist_ok=True)
        key_file = folder / "keys.json"
        if not key_file.exists():
            keys = {name: KeyFile(key_file).add(name, [Scope.READ])[1] for name in CALLERS}
            (folder / "callers.json").write_text(json.dumps(keys))
        self.keys: dict[str, str] = json.loads((folder / "callers.json").read_text())
        given = {
            "port": 0,
            "keys_file": key_file,
            "audit_file": self.audit_file,
            "audit_site_key": "5a" * 32,
            "log_format": "json",
        } | settings
        clean = {name: text for name, text in os.environ.items() if "DEEPMEDIX" not in name}
        chosen = {f"DEEPMEDIX_{name.upper()}": str(value) for name, value in given.items()}
        self.process = psutil.Popen(
            [sys.executable, *program, "serve"],
            cwd=folder,
            env=clean | chosen | {"TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.log: deque[str] = deque(maxlen=_KEPT_LINES)
        self.url: str | None = None
        # A pipe, not a file: a limit on the size of files must not reach the log.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if self.url is None and (found := re.search(r'ready on (http://[^\s"]+)', line)):
                self.url = found[1]

    def client(self) -> httpx.AsyncClient:
        """Return a client of it; no proxy of the environment gets in between."""
        assert self.url is not None
        assert httpx.URL(self.url).host == "127.0.0.1"
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        return httpx.AsyncClient(
            base_url=self.url, timeout=START_LIMIT, limits=limits, trust_env=False
        )

    async def ready(self) -> None:
        """Wait until it takes requests.

        Raises
        ------
        RuntimeError
            When it ended before.
        """
        await self.until(lambda: self.url is not None)

    async def until(self, condition: Callable[[], object], limit: float = START_LIMIT) -> None:
        """Wait for something to be so while it runs.

        Raises
        ------
        RuntimeError
            When it ended before.
        TimeoutError
            After ``limit`` seconds.
        """
        async with asyncio.timeout(limit):
            while not condition():
                if self.process.poll() is not None:
                    told = "".join(list(self.log)[-15:])
                    raise RuntimeError(f"the service ended with {self.process.returncode}:\n{told}")
                await asyncio.sleep(0.05)

    async def ended(self, limit: float = 120.0) -> tuple[int, float]:
        """Wait for its end; exit status and seconds that it took."""
        began = time.monotonic()
        async with asyncio.timeout(limit):
            while self.process.poll() is None:
                await asyncio.sleep(0.02)
        return self.process.returncode, time.monotonic() - began

    def processes(self) -> dict[str, psutil.Process]:
        """Its processes by what they are: ``service``, ``engine``, ``decoder``."""
        found = {"service": psutil.Process(self.process.pid)}
        for child in found["service"].children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                command = " ".join(child.cmdline())
                if re.search("EngineCore|spawn_main", command):
                    found["engine"] = child
                elif "service.radiograph.worker" in command:
                    found["decoder"] = child
        return found

    async def metrics(self, client: httpx.AsyncClient) -> dict[str, float]:
        """Its metrics by name and labels, as on the page."""
        page = (await client.get("/metrics")).text
        lines = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    def audited(self) -> dict[str, list[dict[str, Any]]]:
        """Events of the audit file by request id."""
        found: dict[str, list[dict[str, Any]]] = {}
        for line in self.audit_file.read_bytes().split(b"\n"):
            with suppress(ValueError):
                if (event := json.loads(line).get("event")) is not None:
                    request = event["entity"][0]["what"]["identifier"]["value"]
                    found.setdefault(request, []).append(event)
        return found

    def verified(self) -> Verification:
        """What ``deepmedix audit verify`` finds in the audit file."""
        return verify([self.audit_file])

    def kill(self) -> None:
        """End it and all under it, if anything is left."""
        processes = []
        with suppress(psutil.NoSuchProcess):
            processes = list(self.processes().values())
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(psutil.NoSuchProcess):
            self.process.wait()


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[Served]:
    """Run the service until the block ends; nothing of it is left then."""
    served = Served(folder, **settings)
    try:
        await served.ready()
        yield served
    finally:
        served.kill()


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def refused_credentials(event: dict[str, Any], reason: str = "") -> int:
    """How many refused credentials (for this reason) an audit event tells of."""
    if event["type"]["code"] != "110114":
        return 0
    details = event["entity"][0].get("detail")
    if details is None:
        return int(reason in event["outcomeDesc"])
    outcomes = [it for it in details if it["type"] != "requests"]
    return sum(int(it["valueString"]) for it in outcomes if reason in it["type"])
