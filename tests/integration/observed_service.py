"""``deepmedix serve`` in a process of its own, with all that it leaves behind kept."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.settings import Settings
from tests.service.telemetry.otlp_receiver import Receiver, receiving

ROOT = Path(__file__).parents[2]
_SHARED_MEMORY = Path("/dev/shm")
_LARGEST = 64 * 1024 * 1024
_TIMES = 100  # that one looks for what is to be cleared, over ten seconds


class ObservedService:
    """A running service and what can be found of its requests outside it.

    Attributes
    ----------
    url
        Address.
    receiver
        Gets the spans.
    log
        Everything that it and its processes wrote.
    files
        Content of every temporary file, shared memory and unlinked file that was ever seen.
    audit_file
        Where it writes its audit trail, if it keeps one.
    """

    def __init__(self, process: subprocess.Popen, receiver: Receiver, folder: Path) -> None:
        self.process = process
        self.receiver = receiver
        self.log: list[str] = []
        self.files: dict[str, bytes] = {}
        self._seen: dict[str, bytes] = {}
        self.url = ""
        self.audit_file = folder / "audit.jsonl"
        self._temporary = folder / "tmp"
        self._known = set(_listing(_SHARED_MEMORY))
        self._stopped = threading.Event()
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._watcher = threading.Thread(target=self._watch)

    def start(self) -> None:
        self._reader.start()
        self._ready.wait(300)
        assert self.url, "the service did not start:\n" + "".join(self.log[-40:])
        self._watcher.start()

    def stop(self) -> None:
        """Stop it and wait until all that it has to say has arrived."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
        self._stopped.set()
        self._reader.join(30)
        if self._watcher.is_alive():
            self._watcher.join(30)

    def processes(self) -> list[int]:
        """Ids of the service and of all processes under it."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    stat = (entry / "stat").read_text()
                    parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if not self.url and (match := re.search(r"ready on (http://[0-9.]+:\d+)", line)):
                self.url = match[1]
                self._ready.set()
        self._ready.set()

    def _watch(self) -> None:
        while not self._stopped.wait(0.02):
            self.look(at_work=True)

    def look(self, *, at_work: bool = False) -> None:
        """Keep what temporary files, shared memory and unlinked files hold now.

        While the service is at work, anonymous memory holds the film that a worker opens, as the
        process' own memory does; when it is at rest, nothing may be left in it. It is cleared soon
        after the last film: that is waited for.
        """
        if not at_work:
            self._wait_until_cleared()
        places = [*_listing(self._temporary), *(set(_listing(_SHARED_MEMORY)) - self._known)]
        for pid in self.processes():
            for descriptor in _listing(Path(f"/proc/{pid}/fd"), deep=False):
                target = _target(descriptor)
                if at_work and target.startswith("/memfd:film"):
                    continue
                if target.startswith("/") and "(deleted)" in target:
                    places.append(descriptor)
        for place in places:
            with suppress(OSError):
                if place.is_file():
                    with place.open("rb") as file:
                        found = file.read(_LARGEST)
                    if found != self._seen.get(str(place)):  # most stay as they are
                        self._seen[str(place)] = found
                        self.files[str(place)] = self.files.get(str(place), b"") + found

    def _wait_until_cleared(self) -> None:
        films = [
            descriptor
            for pid in self.processes()
            for descriptor in _listing(Path(f"/proc/{pid}/fd"), deep=False)
            if _target(descriptor).startswith("/memfd:film")
        ]
        for _ in range(_TIMES):
            if not any(_size(descriptor) for descriptor in films):
                return
            self._stopped.wait(0.1)


@contextmanager
def observed_service(folder: Path, *program: str, **environment: str) -> Iterator[ObservedService]:
    """Run the service with spans exported, its temporary files in ``folder`` and a loud log.

    ``program`` are Python's arguments before ``serve``.
    """
    program = program or ("-c", "from service.cli import main; main()")
    (folder / "tmp").mkdir()
    audit = {
        "DEEPMEDIX_AUDIT_FILE": str(folder / "audit.jsonl"),
        "DEEPMEDIX_AUDIT_SITE_KEY": "0f" * 32,
    }
    known = {f"DEEPMEDIX_{name.upper()}" for name in Settings.model_fields}
    with receiving() as receiver:
        process = subprocess.Popen(
            [sys.executable, *program, "serve", "--port", "0"],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if "DEEPMEDIX" not in name}
            | {name: value for name, value in audit.items() if name in known}
            | {
                "PYTHONPATH": str(ROOT),
                "TMPDIR": str(folder / "tmp"),
                "DEEPMEDIX_LOG_LEVEL": "debug",
                "DEEPMEDIX_LOG_FORMAT": "json",
                "DEEPMEDIX_OTLP_ENDPOINT": receiver.url,
            }
            | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        service = ObservedService(process, receiver, folder)
        try:
            service.start()
            yield service
        finally:
            service.stop()


def _listing(folder: Path, *, deep: bool = True) -> list[Path]:
    with suppress(OSError):
        return list(folder.rglob("*") if deep else folder.iterdir())
    return []


def _target(descriptor: Path) -> str:
    with suppress(OSError):
        return os.readlink(descriptor)
    return ""


def _size(descriptor: Path) -> int:
    with suppress(OSError):
        return descriptor.stat().st_size
    return 0
