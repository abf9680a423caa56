"""Engine and decode worker killed or stopped under load; signals to the service."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence

import psutil

from benchmarks.endurance.exchange import Outcome
from benchmarks.endurance.scenario import Case
from benchmarks.endurance.served import gone, serving

PROMPTLY = 2.0
"""Seconds within which ``/readyz`` fails."""

_ATTEMPTS = 5


async def engine_killed(case: Case) -> None:
    """``kill -9`` of the engine's process while it works."""
    await _engine_lost(case, "death", lambda core: core.kill())


async def engine_stalled(case: Case) -> None:
    """The engine's process stopped (SIGSTOP), as by a step that never ends."""
    await _engine_lost(case, "stall", lambda core: core.suspend())


async def _engine_lost(case: Case, reason: str, happen: Callable[[psutil.Process], None]) -> None:
    traffic = case.traffic("engine-unavailable")
    await traffic.send("same")
    service, core = case.served.process.pid, case.served.processes()["engine"]
    working = await case.load(traffic, ["stream"] * 3 + ["report"] * 8)
    began = time.monotonic()
    happen(core)
    ending = asyncio.create_task(_until_gone(core))
    seconds = await case.until_ready(503, limit=60)
    ended = f", its process ended after {ending.result() - began:.2f} s" if ending.done() else ""
    ending.cancel()
    case.check(
        f"/readyz fails within {PROMPTLY:g} s", seconds <= PROMPTLY, f"{seconds:.2f} s{ended}"
    )
    done = await asyncio.gather(*working)
    told = [exchange for exchange in done if exchange.code == "engine-unavailable"]
    case.check("those at work are told", told, f"{len(told)} of {len(done)}, the others answered")
    new = await traffic.send("report")
    case.check(
        "a new request is refused meanwhile, or answered by the next engine",
        new.outcome in (Outcome.REFUSED, Outcome.RIGHT),
        f"{new.status} {new.code or ''}, Retry-After {new.retry_after}",
    )
    seconds = await case.until_ready()
    case.check("it is ready again by itself", True, f"after {seconds:.1f} s")
    again = await traffic.send("same")
    case.check("and reads as before", again.outcome is Outcome.RIGHT, again.fault or "the same")
    page = await case.served.metrics(case.client)
    name = f'deepmedix_engine_restarts_total{{reason="{reason}"}}'
    case.check(
        "in the same process, with another engine",
        case.served.process.pid == service and gone(core) and page.get(name, 0) >= 1,
        f"{name} {page.get(name, 0):g}",
    )
    case.account(traffic)
    case.recorded(traffic)


async def _until_gone(process: psutil.Process) -> float:
    while not gone(process):
        await asyncio.sleep(0.01)
    return time.monotonic()


async def decode_worker_killed(case: Case) -> None:
    """``kill -9`` of the decode worker while it has a film in hand."""
    traffic = case.traffic("decode-worker-died")
    hit = 0
    for _ in range(_ATTEMPTS):  # the film may be done in the moment before
        worker = case.served.processes()["decoder"]
        used = sum(worker.cpu_times()[:2])
        working = [asyncio.create_task(traffic.send("large-render")) for _ in range(6)]
        async with asyncio.timeout(60):
            while sum(worker.cpu_times()[:2]) < used + 0.05:
                await asyncio.sleep(0.005)
        worker.kill()
        done = await asyncio.gather(*working)
        hit = sum(exchange.code == "decode-worker-died" for exchange in done)
        case.check("at most its own request fails", hit <= 1, f"{hit} of {len(done)}")
        if hit:
            break
    case.check("that request gets 503 decode-worker-died", hit == 1, hit)
    after = await traffic.send("render")
    case.check("the next film is opened", after.outcome is Outcome.RIGHT, after.fault or "right")
    case.account(traffic)
    case.recorded(traffic)


async def sigterm_under_load(case: Case) -> None:
    """SIGTERM to all of the group, as of a terminal, while requests are at work and others wait."""
    traffic = case.traffic("shutting-down")
    working = await case.load(traffic, ["stream", "report", "vqa", "report"] * 3)
    page = await case.served.metrics(case.client)
    waiting = page["deepmedix_requests_waiting"]
    os.killpg(case.served.process.pid, signal.SIGTERM)
    seconds = await case.until_ready(503, limit=30)
    case.check(f"/readyz fails within {PROMPTLY:g} s", seconds <= PROMPTLY, f"{seconds:.2f} s")
    done = await asyncio.gather(*working)
    answered = sum(exchange.outcome is Outcome.RIGHT for exchange in done)
    away = sum(exchange.code == "shutting-down" for exchange in done)
    case.check(
        "what is at work finishes, what waits gets 503 shutting-down",
        waiting and 0 < away <= waiting and answered + away == len(done),
        f"{answered} answered, {away} of {waiting:g} waiting sent away",
    )
    processes = list(case.served.processes().values())
    status, seconds = await case.served.ended()
    case.check("it ends with status 0", status == 0, f"{status}, {seconds:.1f} s later")
    case.check("and nothing of it is left", all(gone(process) for process in processes))
    case.account(traffic)
    case.recorded(traffic)


async def second_signal(case: Case) -> None:
    """SIGTERM, and once more before the work is done."""
    traffic = case.traffic("shutting-down")
    working = await case.load(traffic, ["stream", "report", "vqa", "report"] * 2)
    processes = list(case.served.processes().values())
    case.served.process.send_signal(signal.SIGTERM)
    await case.until_ready(503, limit=30)
    case.served.process.send_signal(signal.SIGTERM)
    done = await asyncio.gather(*working)
    away = sum(exchange.code == "shutting-down" for exchange in done)
    case.check("what is at work gets 503 shutting-down", away, f"{away} of {len(done)}")
    status, seconds = await case.served.ended()
    case.check(
        "it ends with 143", status == 128 + signal.SIGTERM, f"{status}, {seconds:.1f} s later"
    )
    await _all_gone(case, processes)
    case.account(traffic)
    case.recorded(traffic)


async def engine_gives_up(case: Case) -> None:
    """The engine killed again and again."""
    traffic = case.traffic("engine-unavailable")
    await traffic.send("same")
    case.served.processes()["engine"].kill()
    await case.until_ready(503, limit=30)
    await case.until_ready()
    again = await traffic.send("same")
    case.check("the first death is mended", again.outcome is Outcome.RIGHT, again.fault or "right")
    working = await case.load(traffic, ["report"] * 4)
    case.served.processes()["engine"].kill()
    await asyncio.gather(*working)
    status, seconds = await case.served.ended()
    case.check("the second ends the service with status 1", status == 1, f"after {seconds:.1f} s")
    told = [line for line in case.served.log if "the service gives up" in line]
    case.check("which says why", told, "the service gives up, so that it is replaced")
    case.account(traffic)
    case.recorded(traffic)


async def _all_gone(case: Case, processes: Sequence[psutil.Process]) -> None:
    began = time.monotonic()
    while not all(gone(process) for process in processes) and time.monotonic() < began + 10:
        await asyncio.sleep(0.02)
    left = [process.pid for process in processes if not gone(process)]
    case.check(
        "no process of it is left", not left, left or f"after {time.monotonic() - began:.2f} s"
    )


async def service_killed(case: Case) -> None:
    """``kill -9`` of the service itself under load, then a start on the same audit file."""
    traffic = case.traffic()
    await traffic.send("same")
    working = await case.load(traffic, ["stream"] * 2 + ["report"] * 6)
    processes = list(case.served.processes().values())
    case.served.process.kill()
    await asyncio.gather(*working)
    await _all_gone(case, processes)
    lost = sum((e.fault or "").startswith("no reply") for e in traffic.exchanges)
    case.check("who was waiting loses the connection", lost, f"{lost} of {len(working)}")
    case.account(traffic, replies=False)
    case.recorded(traffic)
    # As a crash amid a write leaves it; the kill above hits one by chance alone.
    half = case.served.audit_file.read_bytes().splitlines()[-1][:200]
    with case.served.audit_file.open("ab") as file:
        file.write(half)
    async with serving(case.served.folder, **case.served.settings) as anew, anew.client() as client:
        after = Case(anew, client, case.provider)
        again = after.traffic()
        again.remember(traffic)
        reading = await again.send("same")
        after.check("the next start reads as before", reading.outcome is Outcome.RIGHT)
        found = anew.verified()
        after.check(
            "the audit trail is intact, and tells of the torn line",
            found.fault is None and found.torn,
            f"{found.lines} lines, {found.events} events, torn: {len(found.torn)}",
        )
        after.recorded(again)
        case.checks += after.checks
