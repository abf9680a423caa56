"""What happens when parts fail: ``python -m benchmarks.chaos``.

Starts ``deepmedix serve`` (embedded checkpoint, real engine, keys, tokens, audit file) on free
loopback ports and does to it, one after the other, what must not lose or falsify a reading: the
engine killed and stopped, the decode worker killed, signals under load, clocks that differ, a full
disk under the audit trail, the service itself killed. Exit status 1 when anything is not as it must
be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks.endurance.failing_parts import (
    decode_worker_killed,
    engine_gives_up,
    engine_killed,
    engine_stalled,
    second_signal,
    service_killed,
    sigterm_under_load,
)
from benchmarks.endurance.full_disk import disk_full_closed, disk_full_open, small_disk
from benchmarks.endurance.scenario import Case, Check, Scenario
from benchmarks.endurance.served import PROGRAM, Served
from benchmarks.endurance.shifted_clock import LEEWAY, clock_jumps
from tests.service.identity_provider import AUDIENCE, IdentityProvider, providing

_FAILING = {"engine_restart_delay": 0.1, "engine_stall_timeout": 6}
_CROWDED = {"max_concurrency": 4}

SCENARIOS = (
    Scenario("engine-killed", engine_killed, _FAILING),
    Scenario("engine-stalled", engine_stalled, _FAILING),
    Scenario("decode-worker-killed", decode_worker_killed, _FAILING),
    Scenario("clock-jumps", clock_jumps, _FAILING, ends=True),
    Scenario("service-killed", service_killed, _FAILING, ends=True),
    Scenario("sigterm", sigterm_under_load, _CROWDED, ends=True),
    Scenario("second-signal", second_signal, _CROWDED, ends=True),
    Scenario("disk-full-closed", disk_full_closed, {"audit_failure": "closed"}),
    Scenario("disk-full-open", disk_full_open, {"audit_failure": "open"}),
    Scenario("engine-gives-up", engine_gives_up, {**_FAILING, "engine_restarts": 1}, ends=True),
)
"""In this order; neighbours with the same settings share a service."""

LIMIT = 900.0
"""Seconds that one scenario may take, its service's start included."""


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    made.add_argument(
        "--only",
        action="append",
        choices=[scenario.name for scenario in SCENARIOS],
        help="a scenario; may be repeated (default: all)",
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


class Stage:
    """The service that scenarios happen to, started anew when the next one needs another."""

    def __init__(
        self, folder: Path, provider: IdentityProvider, program: Sequence[str] = PROGRAM
    ) -> None:
        self._folder = folder
        self._provider = provider
        self._program = program
        self._number = 0
        self._settings: object = None
        self._held = ExitStack()
        self._served: Served | None = None

    async def run(self, scenario: Scenario) -> list[Check]:
        """Run one scenario."""
        if self._served is None or self._settings != scenario.settings:
            self.clear()
            self._start(scenario)
        assert self._served is not None
        await self._served.ready()
        async with self._served.client() as client:
            case = Case(self._served, client, self._provider)
            try:
                await scenario.run(case)
            except Exception as error:  # evidence too: the other scenarios go on
                case.check("it runs to its end", False, f"{type(error).__name__}: {error}")
                self.clear()
        if scenario.ends:
            self.clear()
        return case.checks

    def _start(self, scenario: Scenario) -> None:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        self._held.enter_context(small_disk(folder / "audit"))
        self._settings = scenario.settings
        self._served = Served(
            folder,
            program=self._program,
            audit_file=folder / "audit" / "audit.jsonl",
            oidc_issuer=self._provider.issuer,
            oidc_audience=AUDIENCE,
            oidc_leeway=LEEWAY,
            **scenario.settings,
        )

    def clear(self) -> None:
        """End the service, if there is one."""
        served, self._served = self._served, None
        if served is not None:
            served.kill()
        self._held.close()


async def chaos(
    only: Sequence[str],
    folder: Path,
    tell: Callable[[str, list[Check]], None],
    program: Sequence[str] = PROGRAM,
) -> dict[str, list[Check]]:
    """Run scenarios, tell what each found as it ends, and return all of it."""
    found = {}
    with providing() as provider:
        stage = Stage(folder, provider, program)
        try:
            for scenario in SCENARIOS:
                if scenario.name not in only:
                    continue
                began = time.monotonic()
                try:
                    async with asyncio.timeout(LIMIT):
                        checks = await stage.run(scenario)
                except Exception as error:
                    checks = [
                        Check("it runs to its end", False, f"{type(error).__name__}: {error}")
                    ]
                    stage.clear()
                found[scenario.name] = checks
                tell(f"{scenario.name} ({time.monotonic() - began:.0f} s)", checks)
        finally:
            stage.clear()
    return found


def table(name: str, checks: list[Check]) -> str:
    """What a scenario found, to be read."""
    lines = [f"{'pass' if all(check.holds for check in checks) else 'FAIL'}  {name}"]
    for check in checks:
        evidence = f": {check.evidence}" if check.evidence else ""
        lines.append(f"      {'ok  ' if check.holds else 'FAIL'} {check.claim}{evidence}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit status."""
    options = parser().parse_args(arguments)
    names = options.only or [scenario.name for scenario in SCENARIOS]

    def tell(name: str, checks: list[Check]) -> None:
        print(table(name, checks), file=sys.stderr if options.json else sys.stdout, flush=True)

    with tempfile.TemporaryDirectory(prefix="deepmedix-chaos-") as folder:
        found = asyncio.run(chaos(names, Path(folder), tell))
    passed = sum(all(check.holds for check in checks) for checks in found.values())
    if options.json:
        told = {name: [asdict(check) for check in checks] for name, checks in found.items()}
        print(json.dumps(told, indent=2))
    else:
        print(f"{passed} of {len(found)} scenarios pass")
    return 0 if passed == len(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
