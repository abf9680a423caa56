"""Twice the service's capacity for ten minutes: ``python -m benchmarks.soak``.

Starts the service, measures how many requests it finishes a second, then sends twice as many for
as long as asked: reports, questions, streams, requests that are given up, and bad input. Every
reply must be right or a well-formed problem with a status that fits; after warm-up the service's
resident memory may grow by 5% at most, and its descriptors and threads by none that stay. The exit
status is 1 when something of this does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median

import httpx
import psutil
from pydicom.data import get_testdata_file

from benchmarks.servers import service

_WELL_FORMED = {408, 413, 415, 422, 400, 406, 429, 503, 504}
_GROWTH = 1.05
_SAMPLE = 5.0  # seconds between two looks at the process


@dataclass
class Record:
    """What came back, what was wrong, and what the service held meanwhile."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)


async def one(client: httpx.AsyncClient, film: bytes, kind: str, record: Record) -> None:
    """Send one request of a kind and judge what comes back."""
    headers = {"Content-Type": "application/octet-stream"}
    path, fields = "/report", {"temperature": "0"}
    if kind == "question":
        path, fields["question"] = "/vqa", "Is the heart enlarged?"
    elif kind == "bad":
        film = film[: random.randrange(len(film))]
    elif kind == "stream":
        headers["Accept"] = "text/event-stream"
    call = client.post(path, params=fields, content=film, headers=headers)
    try:
        if kind == "cancel":
            async with asyncio.timeout(random.uniform(0.05, 1.0)):
                reply = await call
        else:
            reply = await call
    except TimeoutError:
        record.outcomes["given up"] += 1
        return
    except httpx.HTTPError as error:
        record.wrong.append(f"{kind}: {type(error).__name__}")
        return
    record.outcomes[f"{kind} {reply.status_code}"] += 1
    if fault := _fault(kind, reply):
        record.wrong.append(f"{kind}: {fault}")


def _fault(kind: str, reply: httpx.Response) -> str | None:
    if reply.status_code == 200:
        if kind == "stream":
            last = reply.text.rstrip().rsplit("event: ", 1)[-1]
            name, _, data = last.partition("\ndata: ")
            code = json.loads(data).get("code")
            fits = name == "reply" or code in ("overloaded", "deadline-exceeded", "shutting-down")
            return None if fits else f"the stream ended in {name} {code}"
        body = reply.json()
        return None if body.get("answer") or body.get("report") else "an empty reading"
    if reply.status_code not in _WELL_FORMED:
        return f"status {reply.status_code}"
    if reply.headers.get("content-type") != "application/problem+json":
        return "no problem document"
    if reply.status_code in (429, 503) and not reply.headers.get("retry-after", "").isdecimal():
        return "no Retry-After"
    return None if reply.json().get("status") == reply.status_code else "the problem says otherwise"


async def _capacity(client: httpx.AsyncClient, film: bytes, record: Record) -> float:
    """Return the requests that the service finishes a second, at a concurrency of 16."""
    started = time.perf_counter()
    await asyncio.gather(*(one(client, film, "report", record) for _ in range(16)))
    await asyncio.gather(*(one(client, film, "question", record) for _ in range(16)))
    return 32 / (time.perf_counter() - started)


async def _watch(process: psutil.Process, record: Record) -> None:
    while True:
        family = [process, *process.children(recursive=True)]
        record.resident.append(sum(member.memory_info().rss for member in family))
        record.descriptors.append(process.num_fds())
        record.threads.append(process.num_threads())
        await asyncio.sleep(_SAMPLE)


async def soak(url: str, process: psutil.Process, seconds: float, seed: int) -> Record:
    """Load the service at an address and return what was seen."""
    random.seed(seed)
    record = Record()
    path = get_testdata_file("RG1_UNCR.dcm")
    assert isinstance(path, str)
    with open(path, "rb") as file:
        film = file.read()
    limits = httpx.Limits(max_connections=256)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        rate = 2 * await _capacity(client, film, record)
        print(f"{rate / 2:.2f} requests/s at capacity; {rate:.2f} for {seconds:.0f} s", flush=True)
        watcher = asyncio.create_task(_watch(process, record))
        tasks: set[asyncio.Task[None]] = set()
        ends = time.perf_counter() + seconds
        kinds = ("report", "question", "stream", "cancel", "bad")
        while time.perf_counter() < ends:
            task = asyncio.create_task(one(client, film, random.choice(kinds), record))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(1 / rate)
        await asyncio.gather(*tasks)
        watcher.cancel()
    return record


def verdict(record: Record) -> bool:
    """Print the figures; true where all of them hold."""
    for outcome, count in sorted(record.outcomes.items()):
        print(f"  {count:6d}  {outcome}")
    for fault, count in Counter(record.wrong).most_common(10):
        print(f"  WRONG {count} x {fault}")
    held = True
    for name, seen, allowed in (
        ("resident memory", record.resident, _GROWTH),
        ("descriptors", record.descriptors, 1.25),
        ("threads", record.threads, 1.25),
    ):
        third = max(1, len(seen) // 3)
        middle, end = median(seen[third : 2 * third] or seen), median(seen[-third:])
        held = held and end <= middle * allowed
        print(f"  {name}: {middle:.0f} in the second third, {end:.0f} in the last")
    return held and not record.wrong


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600, help="of load (600)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    before = {child.pid for child in psutil.Process().children()}
    with service() as url:
        process = next(child for child in psutil.Process().children() if child.pid not in before)
        record = asyncio.run(soak(url, process, options.seconds, options.seed))
    return 0 if verdict(record) else 1


if __name__ == "__main__":
    raise SystemExit(main())
