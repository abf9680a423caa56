"""The disk under the audit file is full."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.endurance.exchange import Exchange, Outcome
from benchmarks.endurance.scenario import Case
from benchmarks.endurance.traffic import Traffic

_SIZE = "256k"
_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small tmpfs on a folder where that is allowed; whether it was."""
    folder.mkdir(exist_ok=True)
    mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={_SIZE},mode=0700",
        "deepmedix-chaos",
        str(folder),
    ]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


class Disk:
    """The place of a case's audit file, which can be filled and freed.

    On a tmpfs of its own it is filled with a file (ENOSPC). Elsewhere the service is forbidden to
    write files beyond the size that the audit file has (EFBIG).
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._ballast = case.served.audit_file.parent / "ballast"
        self.how = "tmpfs" if case.served.audit_file.parent.is_mount() else "limit"

    def fill(self) -> None:
        """Leave no room."""
        if self.how == "limit":
            size = self._case.served.audit_file.stat().st_size
            limits = (size, resource.RLIM_INFINITY)
            self._case.served.process.rlimit(resource.RLIMIT_FSIZE, limits)
            return
        with suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))

    def free(self) -> None:
        """Give the room back."""
        if self.how == "limit":
            self._case.served.process.rlimit(resource.RLIMIT_FSIZE, _UNLIMITED)
        else:
            self._ballast.unlink()


async def disk_full_closed(case: Case) -> None:
    """Policy ``closed``: what cannot be recorded is refused."""
    traffic = case.traffic("audit-unavailable")
    disk = Disk(case)
    await traffic.send("same")
    working = await case.load(traffic, ["stream"] * 2 + ["report"] * 4)
    disk.fill()
    # A page of the file that has begun may still take a line or two.
    await asyncio.gather(*working)
    first = await _until_full(case, traffic)
    case.check("a reading is refused with 503 audit-unavailable", first, f"disk: {disk.how}")
    tokens = await _generated(case)
    done = await asyncio.gather(*(traffic.send(kind) for kind in ["report", "vqa", "stream"] * 2))
    case.check(
        "and so is every further one",
        all(exchange.code == "audit-unavailable" for exchange in done),
        f"{len(done)} of them",
    )
    case.check("none of which reaches the model", await _generated(case) == tokens)
    page = await case.served.metrics(case.client)
    failed = page.get('deepmedix_audit_events_total{outcome="failed"}', 0)
    case.check("the metrics count it", failed >= len(done), f"failed: {failed:g}")
    alive = (await case.client.get("/livez")).status_code
    case.check("the service lives", alive == 200, alive)
    disk.free()
    after = await asyncio.gather(*(traffic.send("same") for _ in range(4)))
    right = sum(exchange.outcome is Outcome.RIGHT for exchange in after)
    case.check(
        "with room again it answers", right == len(after), f"{right} of {len(after)} at once"
    )
    _trail(case, traffic)
    case.account(traffic)
    case.recorded(traffic)


async def disk_full_open(case: Case) -> None:
    """Policy ``open``: what cannot be recorded is answered, and the gap is recorded later."""
    traffic = case.traffic()
    disk = Disk(case)
    await traffic.send("same")
    working = await case.load(traffic, ["stream"] * 2 + ["report"] * 4)
    disk.fill()
    await asyncio.gather(*working)
    for _ in range(20):  # what is left of the last page
        await traffic.send("render")
        if await _failed(case):
            break
    done = await asyncio.gather(*(traffic.send(kind) for kind in ["report", "vqa", "stream"] * 2))
    case.check(
        "requests are answered all the same",
        all(exchange.outcome is Outcome.RIGHT for exchange in done),
        f"{len(done)} of them; disk: {disk.how}",
    )
    failed = await _failed(case)
    case.check("the metrics count it", failed >= len(done), f"failed: {failed:g}")
    disk.free()
    after = await asyncio.gather(*(traffic.send("same") for _ in range(4)))
    events = case.served.audited()
    case.check("with room again it records", all(it.request_id in events for it in after))
    _trail(case, traffic)
    case.account(traffic)


async def _until_full(case: Case, traffic: Traffic) -> Exchange | None:
    for _ in range(20):
        exchange = await traffic.send("render")
        if exchange.code == "audit-unavailable":
            return exchange
    return None


async def _generated(case: Case) -> float:
    page = await case.served.metrics(case.client)
    return sum(it for name, it in page.items() if name.startswith("vllm:prompt_tokens_total"))


async def _failed(case: Case) -> float:
    page = await case.served.metrics(case.client)
    return page.get('deepmedix_audit_events_total{outcome="failed"}', 0)


def _resumed(case: Case) -> list[dict[str, int]]:
    lines = (json.loads(line) for line in case.served.audit_file.read_text().splitlines())
    return [line["resumed"] for line in lines if "resumed" in line]


def _trail(case: Case, traffic: Traffic) -> None:
    found = case.served.verified()
    case.check("the audit trail is intact", found.fault is None, f"{found.events} events")
    events = case.served.audited()
    missing = sum(exchange.request_id not in events for exchange in traffic.exchanges)
    told = sum(line["unrecorded"] for line in _resumed(case))
    case.check("and says how many requests are missing", told == missing, f"{told} of {missing}")
