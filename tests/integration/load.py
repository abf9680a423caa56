"""Many requests at once against a running service: ``python -m tests.integration.load``.

Prints how many were answered with which status, and the spread of their times; the exit status
is 1 when any failed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Load:
    """What came of a run: how often each status, and the seconds of each request."""

    statuses: Counter[int]
    seconds: tuple[float, ...]
    wall_seconds: float

    @property
    def failures(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)


async def run_load(
    client: httpx.AsyncClient,
    films: list[bytes],
    *,
    requests: int = 200,
    concurrency: int = 16,
    max_tokens: int | None = None,
) -> Load:
    """Post films in turn to /report and /vqa, ``concurrency`` requests at a time."""
    numbers = iter(range(requests))
    statuses: Counter[int] = Counter()
    seconds: list[float] = []

    async def worker() -> None:
        for number in numbers:
            fields = {"seed": str(number)}
            if max_tokens is not None:
                fields["max_tokens"] = str(max_tokens)
            path = "/report" if number % 2 else "/vqa"
            if path == "/vqa":
                fields["question"] = "Is there a pleural effusion?"
            film = films[number % len(films)]
            started = time.perf_counter()
            reply = await client.post(path, files={"image": film}, data=fields)
            seconds.append(time.perf_counter() - started)
            statuses[reply.status_code] += 1

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return Load(statuses, tuple(seconds), time.perf_counter() - started)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", nargs="+", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=16)
    arguments = parser.parse_args()

    async def run() -> Load:
        timeout = httpx.Timeout(600)
        limits = httpx.Limits(max_connections=arguments.concurrency)
        async with httpx.AsyncClient(
            base_url=arguments.url, timeout=timeout, limits=limits
        ) as client:
            return await run_load(
                client,
                [film.read_bytes() for film in arguments.films],
                requests=arguments.requests,
                concurrency=arguments.concurrency,
            )

    load = asyncio.run(run())
    answered = ", ".join(f"{count} x {status}" for status, count in sorted(load.statuses.items()))
    print(f"{answered} in {load.wall_seconds:.1f} s")
    deciles = statistics.quantiles(load.seconds, n=20)
    print(f"median {deciles[9]:.2f} s, 95th percentile {deciles[18]:.2f} s")
    return 1 if load.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
