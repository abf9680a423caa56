"""Twice what the service can do, for minutes: ``python -m benchmarks.soak``.

Starts ``deepmedix serve`` (embedded checkpoint, real engine, API keys of four callers, audit file)
on a free loopback port, measures its capacity with a closed loop, and then sends requests at twice
that rate whether or not it answers: reports, questions, renderings, event streams, clients that
leave, repeats, deadlines too short, and bad input. Every reply is checked; memory, descriptors,
threads and tasks are watched; the audit trail is compared with what was sent. Exit status 1 when
anything is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from benchmarks.endurance.exchange import Exchange, Outcome
from benchmarks.endurance.growth import MIB, Growth, Held, MemoryWatch, growth, held_at_rest
from benchmarks.endurance.served import PROGRAM, Served, refused_credentials, serving
from benchmarks.endurance.traffic import OTHERS, WELL_FORMED, Traffic, draw
from benchmarks.endurance.truthfulness import truthfulness

LOAD = 2.0
FLAT = 0.05
LONG_ENOUGH = 10.0
"""Minutes from which on a change of memory says something."""
WARM_UP = 300.0
"""Seconds: as long as films are remembered, so that then as many are forgotten as come."""

_REFUSED_CREDENTIALS = ("no-credential", "wrong-credential")
_CLOSED_LOOP = 16
_MOST_IN_FLIGHT = 500
_MORE_THREADS = 8  # pools that had not grown to their size when first looked at
_CACHE = {"mm_processor_cache_gb": 0.0625}  # small, so that it is full after the warm-up


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    made.add_argument("--minutes", type=_at_most(60), default=10.0, help="of load (10; at most 60)")
    made.add_argument(
        "--capacity-seconds", type=_at_most(300), default=45.0, help="of closed loop before (45)"
    )
    made.add_argument(
        "--rate", type=_at_most(200), help="requests a second instead of twice the capacity"
    )
    made.add_argument("--seed", type=int, default=1, help="of all that is drawn (1)")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def _at_most(most: float) -> Any:
    def number(text: str) -> float:
        value = float(text)
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"must be above 0 and at most {most:g}")
        return value

    return number


async def capacity(traffic: Traffic, seconds: float, seed: int) -> float:
    """Return the right replies a second that a closed loop gets."""
    kind = draw(WELL_FORMED, random.Random(seed))
    warm, end = time.monotonic() + seconds / 5, time.monotonic() + seconds

    async def loop() -> None:
        while time.monotonic() < end:
            await traffic.send(kind())

    await asyncio.gather(*(loop() for _ in range(_CLOSED_LOOP)))
    counted = [
        e for e in traffic.exchanges if e.outcome is Outcome.RIGHT and warm <= e.ended <= end
    ]
    return len(counted) / (end - warm)


async def open_loop(traffic: Traffic, rate: float, seconds: float, seed: int) -> int:
    """Send at a rate, with exponential gaps; return how many were held back for lack of room."""
    generator = random.Random(seed)
    kind = draw(WELL_FORMED | OTHERS, generator)
    sending: set[asyncio.Task[Exchange]] = set()
    held_back = 0
    due = time.monotonic()
    end = due + seconds
    while (due := due + generator.expovariate(rate)) < end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if len(sending) >= _MOST_IN_FLIGHT:
            held_back += 1
            continue
        task = asyncio.create_task(traffic.send(kind()))
        sending.add(task)
        task.add_done_callback(sending.discard)
    await asyncio.gather(*sending)
    return held_back


async def soak(
    options: argparse.Namespace, folder: Path, program: Sequence[str] = PROGRAM
) -> dict[str, Any]:
    """Run it all and return the figures; ``faults`` holds what is not as it must be."""
    settings = {"engine_args": json.dumps(_CACHE)}
    running = serving(folder, program=program, **settings)
    async with running as served, served.client() as client:
        say(f"service of {served.process.pid} ready on {served.url}")
        measured = Traffic(served, client, options.seed)
        able = await capacity(measured, options.capacity_seconds, options.seed)
        good = sum(WELL_FORMED.values()) / sum((WELL_FORMED | OTHERS).values())
        rate = options.rate or LOAD * able / good
        say(f"capacity {able:.2f} readings/s; sending {rate:.2f} requests/s, {good:.0%} of them so")
        before = await held_at_rest(served, client)
        watch = MemoryWatch(served)
        watching = asyncio.create_task(watch.run())
        traffic = Traffic(served, client, options.seed + 1)
        began = time.monotonic()
        held_back = await open_loop(traffic, rate, options.minutes * 60, options.seed)
        ended = time.monotonic()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        after = await held_at_rest(served, client)
        everyone = measured.exchanges + traffic.exchanges
        settled = await at_rest(served, client, everyone)
        served.process.terminate()
        status, stopping = await served.ended()
        events = served.audited()
        trail = served.verified()
    warm = began + min(WARM_UP, (ended - began) / 2)
    kept = [
        (at, sizes) for at, sizes in watch.samples if warm <= at <= began + options.minutes * 60
    ]
    grown = {
        name: growth(
            [at for at, _ in kept],
            [of(sizes, name) for _, sizes in kept],
            lives=[*watch.lives.values()] if name == "decoder" else None,
        )
        for name in ("all", *kept[-1][1])
    }
    figures = {
        "capacity_per_second": able,
        "offered_per_second": rate,
        "seconds": options.minutes * 60,
        "requests": len(traffic.exchanges),
        "held_back": held_back,
        "outcomes": Counter(e.outcome.value for e in traffic.exchanges),
        "readings_per_second": readings(traffic.exchanges) / (options.minutes * 60),
        "refusals": Counter(
            f"{e.status} {e.code}" for e in traffic.exchanges if e.outcome is Outcome.REFUSED
        ),
        "kinds": by_kind(traffic.exchanges),
        "retry_after": {
            code: asdict(found)
            for code in ("overloaded", "too-many-requests")
            if (found := truthfulness(traffic.exchanges, code)) is not None
        },
        "memory_mib": {name: asdict(it) | {"ratio": it.ratio} for name, it in grown.items()},
        "memory_by_minute_mib": by_minute(watch.samples),
        "held_before": asdict(before),
        "held_after": asdict(after),
        "seconds_to_stop": stopping,
    }
    faults = [
        *(f"{e.kind}: {e.fault}" for e in everyone if e.outcome is Outcome.WRONG),
        *grown_too_much(grown, before, after, judged=options.minutes >= LONG_ENOUGH),
        *settled,
        *unrecorded(everyone, events),
    ]
    if trail.fault is not None or trail.torn:
        faults.append(f"the audit trail: {trail.fault or 'torn'}")
    if held_back:
        faults.append(f"{held_back} requests could not be sent: {_MOST_IN_FLIGHT} in flight")
    if status != 0:
        faults.append(f"the service ended with {status}")
    return figures | {"faults": faults}


def by_minute(samples: Sequence[tuple[float, dict[str, int]]]) -> list[dict[str, float]]:
    """Median memory of each process in each minute from the beginning of the load, MiB."""
    minutes: dict[int, list[dict[str, int]]] = {}
    for at, sizes in samples:
        minutes.setdefault(int((at - samples[0][0]) // 60), []).append(sizes)
    return [
        {name: round(median(sizes.get(name, 0) for sizes in them) / MIB, 1) for name in them[-1]}
        for _, them in sorted(minutes.items())
    ]


def of(sizes: dict[str, int], name: str) -> int:
    """Bytes of one process, or of all."""
    return sum(sizes.values()) if name == "all" else sizes.get(name, 0)


def readings(exchanges: Sequence[Exchange]) -> int:
    """How many got a reading or a rendering; a repeat from memory is no work."""
    return sum(
        e.outcome is Outcome.RIGHT and e.status == 200 and e.kind not in ("replayed", "twin")
        for e in exchanges
    )


def by_kind(exchanges: Sequence[Exchange]) -> dict[str, dict[str, Any]]:
    """Outcomes by kind, and percentiles of the seconds of right replies."""
    kinds: dict[str, dict[str, Any]] = {}
    for kind in sorted({e.kind for e in exchanges}):
        own = [e for e in exchanges if e.kind == kind]
        seconds = [e.seconds for e in own if e.outcome is Outcome.RIGHT]
        cuts = quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
        kinds[kind] = {
            "sent": len(own),
            **{outcome.value: sum(e.outcome is outcome for e in own) for outcome in Outcome},
            "p50": cuts[49] if cuts else None,
            "p95": cuts[94] if cuts else None,
            "p99": cuts[98] if cuts else None,
        }
    return kinds


def grown_too_much(
    memory: Mapping[str, Growth], before: Held, after: Held, *, judged: bool
) -> list[str]:
    """What grew beyond what it may; memory only where the run was long enough to judge it.

    A process that shrinks is well; the sum of all may do neither.
    """
    faults = []
    for name, it in memory.items() if judged else ():
        if it.ratio - 1 > FLAT or (name == "all" and 1 - it.ratio > FLAT):
            faults.append(
                f"resident memory of {name} went from {it.first:.0f} to {it.last:.0f} MiB "
                f"({it.ratio - 1:+.1%})"
            )
    for name, more in (
        ("descriptors", 0),
        ("tasks", 0),
        ("temporary_files", 0),
        ("threads", _MORE_THREADS),
    ):
        first, last = getattr(before, name), getattr(after, name)
        if last > first + more:
            faults.append(f"{name}: {first} before, {last} after")
    return faults


async def at_rest(
    served: Served, client: httpx.AsyncClient, exchanges: Sequence[Exchange]
) -> list[str]:
    """What the service's and the engine's figures say that must not be, once nothing is asked."""
    one = Traffic(served, client, 0)
    last = await one.send("report")  # the engine counts what runs at each of its steps
    faults = [] if last.outcome is Outcome.RIGHT else [f"after the load: {last.fault}"]
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            while wrong := _not_at_rest(page := await served.metrics(client)):
                await asyncio.sleep(0.2)
    faults += wrong
    counted = {
        name.removeprefix("deepmedix_requests_total"): int(value)
        for name, value in page.items()
        if name.startswith("deepmedix_requests_total{")
        and not any(f'route="{probe}"' in name for probe in ("/metrics", "/readyz", "/livez"))
    }
    answered, sent = sum(counted.values()), len(exchanges) + 1
    if answered != sent:
        told = Counter(str(exchange.status) for exchange in exchanges)
        faults.append(
            f"{sent} requests were sent, the service counts {answered}: the clients saw "
            f"{dict(told)}, the service {counted}"
        )
    return faults


def _not_at_rest(page: dict[str, float]) -> list[str]:
    gauges = (
        "deepmedix_requests_in_progress", "deepmedix_requests_waiting", "deepmedix_admitted_tokens",
        "deepmedix_admitted_body_bytes",
        "vllm:num_requests_running{", "vllm:num_requests_waiting{",
    )  # fmt: skip
    return [
        f"{name} is {value:g} at rest"
        for name, value in page.items()
        if name.startswith(gauges) and value
    ]


def unrecorded(exchanges: Sequence[Exchange], events: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Compare the audit trail with what was sent: each request once, a stream that broke twice.

    Refused credentials are told together: as many as there were.
    """
    faults = []
    sent = sum(exchange.kind in _REFUSED_CREDENTIALS for exchange in exchanges)
    told = sum(refused_credentials(event) for found in events.values() for event in found)
    if told != sent:
        faults.append(f"{sent} credentials were to be refused, the audit trail tells of {told}")
    for exchange in exchanges:
        found = [event["outcomeDesc"] for event in events.get(exchange.request_id, [])]
        most = 2 if exchange.kind in ("stream", "leaves-stream") else 1
        least = 0 if exchange.kind in ("no-such-path", *_REFUSED_CREDENTIALS) else 1
        if not least <= len(found) <= most:
            faults.append(f"{exchange.kind} has {len(found)} audit events: {found}")
        elif (
            exchange.outcome in (Outcome.RIGHT, Outcome.REFUSED)
            and found
            and not found[0].startswith(str(exchange.status))
        ):
            faults.append(f"{exchange.kind} got {exchange.status}, recorded is {found[0]}")
    return faults


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def table(figures: dict[str, Any]) -> str:
    """The figures, to be read."""
    kinds = figures["kinds"]
    lines = [
        f"capacity            {figures['capacity_per_second']:.2f} readings/s (closed loop)",
        f"sent                {figures['requests']} requests in {figures['seconds']:.0f} s, "
        f"{figures['offered_per_second']:.2f}/s",
        f"readings            {figures['readings_per_second']:.2f}/s under that load",
        f"outcomes            {dict(figures['outcomes'])}",
        f"refusals            {dict(figures['refusals'])}",
        "",
        f"{'kind':18s}{'sent':>7s}{'right':>7s}{'refused':>9s}{'left':>6s}{'wrong':>7s}"
        f"{'p50':>9s}{'p95':>9s}{'p99':>9s}",
    ]
    for kind, own in kinds.items():
        cuts = "".join(
            f"{own[cut]:8.2f}s" if own["right"] else f"{'—':>9s}" for cut in ("p50", "p95", "p99")
        )
        lines.append(
            f"{kind:18s}{own['sent']:7d}{own['right']:7d}{own['refused']:9d}{own['left']:6d}"
            f"{own['wrong']:7d}{cuts}"
        )
    lines.append("")
    for code, it in figures["retry_after"].items():
        lines.append(
            f"Retry-After         {code}: {it['refusals']} told {it['told']:.0f} s (median), next "
            f"admitted after {it['until_admitted']:.2f} s; room by then {it['room_by_then']:.1%}"
        )
    for name, it in figures["memory_mib"].items():
        lines.append(
            f"memory {name:12s} {it['first']:7.1f} -> {it['last']:7.1f} MiB "
            f"({it['ratio'] - 1:+.1%}), {it['slope']:+.2f} MiB/min"
        )
    lines.append(f"at rest before      {figures['held_before']}")
    lines.append(f"at rest after       {figures['held_after']}")
    lines.append(f"stopped within      {figures['seconds_to_stop']:.1f} s")
    faults = Counter(figures["faults"])
    lines.append(f"faults              {sum(faults.values()) or 'none'}")
    lines += [f"  {count} x {fault}" for fault, count in faults.most_common(20)]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit status."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="deepmedix-soak-") as folder:
        figures = asyncio.run(soak(options, Path(folder)))
    print(json.dumps(figures, indent=2) if options.json else table(figures))
    return 1 if figures["faults"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
