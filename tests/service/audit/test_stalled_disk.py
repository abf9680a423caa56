"""What becomes of the trail while its disk does not answer, and after."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.audit import (
    AuditFile,
    AuditKind,
    AuditTrail,
    AuditUnavailableError,
    FailurePolicy,
    Occurrence,
    StudyHasher,
    verify,
)
from service.identity import ANONYMOUS

ROOT = Path(__file__).parents[3]

AT_THE_END = """
import threading
from service.daemon_thread import DaemonThread

DaemonThread("stuck").submit(threading.Event().wait)
"""


class StallingDisk:
    """Stands in for ``os`` in the module that writes: ``fsync`` waits while it stalls."""

    def __init__(self):
        self._going = threading.Event()
        self._going.set()
        self.reached = threading.Event()
        self.failure = None

    def __getattr__(self, name):
        return getattr(os, name)

    def stall(self):
        self.reached.clear()
        self._going.clear()

    def go_on(self):
        self._going.set()

    def fsync(self, descriptor):
        self.reached.set()
        self._going.wait()
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def disk(monkeypatch):
    disk = StallingDisk()
    monkeypatch.setattr("service.audit.file.os", disk)
    yield disk
    disk.go_on()


class Trail:
    """A trail of one file, whose disk may take a tenth of a second for a line."""

    def __init__(self, path, policy, timeout=0.1):
        self.path = path
        file = AuditFile(path)
        file.open()
        self.trail = AuditTrail(
            StudyHasher(b"k" * 32), version="1", file=file, policy=policy, file_timeout=timeout
        )

    async def record(self, name, status=200):
        occurrence = Occurrence(AuditKind.READING, name, ANONYMOUS, None, None, "a" * 32, status)
        try:
            await self.trail.record(occurrence)
        except AuditUnavailableError:
            return False
        return True

    async def answers_again(self):
        async with asyncio.timeout(20):
            while self.trail._writer.stalled:
                await asyncio.sleep(0.001)

    def told(self):
        """What stands in the file: operation and status of events, and the gaps."""
        found = verify([self.path])
        assert found.intact, found.fault
        told = []
        for line in self.path.read_bytes().splitlines():
            record = json.loads(line)
            if "event" in record:
                event = record["event"]
                told.append((event["subtype"][-1]["code"], event["outcomeDesc"].split()[0]))
            elif "resumed" in record:
                told.append(("gap", record["resumed"]["unrecorded"]))
        return told


@pytest.fixture
def make(tmp_path, disk):
    return lambda policy=FailurePolicy.CLOSED, **how: Trail(tmp_path / "a.jsonl", policy, **how)


async def test_who_waits_for_a_stalled_disk_gives_up_and_others_do_not_wait(make, disk):
    audit = make()
    disk.stall()
    assert not await audit.record("first")
    audit.trail._writer._timeout = 3600  # nobody waits for that
    assert audit.trail.failing
    assert not await audit.record("second")
    with pytest.raises(AuditUnavailableError, match="does not answer"):
        await audit.trail.resume()
    with pytest.raises(AuditUnavailableError, match="does not answer"):
        await audit.trail.reopen()
    disk.go_on()
    await audit.answers_again()
    await audit.trail.close()


async def test_a_line_that_comes_late_is_corrected_where_its_request_was_refused(make, disk):
    audit = make()
    disk.stall()
    assert not await audit.record("late")
    assert not await audit.record("refused")
    audit.trail.note_unrecorded()
    disk.go_on()
    await audit.answers_again()
    audit.trail._writer._timeout = 3600
    assert await audit.record("next")
    assert not audit.trail.failing
    await audit.trail.close()
    assert audit.told() == [("late", "200"), ("gap", 2), ("late", "503"), ("next", "200")]


async def test_a_line_that_comes_late_is_no_loss_where_its_request_was_answered(make, disk):
    audit = make(FailurePolicy.OPEN)
    disk.stall()
    for name in ("late", "lost", "lost"):
        assert not await audit.record(name)
    disk.go_on()
    await audit.answers_again()
    audit.trail._writer._timeout = 3600
    assert await audit.record("next")
    await audit.trail.close()
    assert audit.told() == [("late", "200"), ("gap", 2), ("next", "200")]


@pytest.mark.parametrize("policy", FailurePolicy)
async def test_a_line_that_fails_late_is_a_loss(make, disk, policy):
    audit = make(policy)
    disk.stall()
    assert not await audit.record("lost")
    disk.failure = OSError(5, "Input/output error")
    disk.go_on()
    await audit.answers_again()
    disk.failure = None
    audit.trail._writer._timeout = 3600
    assert await audit.record("next")
    await audit.trail.close()
    assert audit.told() == [("gap", 1), ("next", "200")]


async def test_a_refusal_that_comes_late_is_not_told_twice(make, disk):
    audit = make()
    disk.stall()
    assert not await audit.record("refused", 422)
    disk.go_on()
    await audit.answers_again()
    audit.trail._writer._timeout = 3600
    assert await audit.record("next")
    await audit.trail.close()
    assert audit.told() == [("refused", "422"), ("next", "200")]


async def test_what_waits_behind_a_stalled_line_is_never_written(make, disk):
    audit = make()
    disk.stall()
    recorded = await asyncio.gather(*(audit.record(f"n{number}") for number in range(5)))
    assert recorded == [False] * 5
    disk.go_on()
    await audit.answers_again()
    audit.trail._writer._timeout = 3600
    assert await audit.record("next")
    await audit.trail.close()
    assert audit.told() == [("n0", "200"), ("gap", 4), ("n0", "503"), ("next", "200")]


async def test_a_gap_that_is_told_late_is_told_once(make, disk):
    audit = make()
    audit.trail.note_unrecorded()
    disk.stall()
    assert not await audit.record("refused")
    disk.go_on()
    await audit.answers_again()
    audit.trail._writer._timeout = 3600
    assert await audit.record("next")
    await audit.trail.close()
    assert audit.told() == [("gap", 1), ("gap", 1), ("next", "200")]  # of one request each


async def test_a_caller_that_leaves_changes_nothing_about_what_is_written(make, disk):
    audit = make(timeout=3600)
    audit.trail.note_unrecorded()
    disk.stall()
    leaving = asyncio.create_task(audit.record("left"))
    await asyncio.to_thread(disk.reached.wait)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    next_one = asyncio.create_task(audit.record("next"))
    disk.go_on()
    assert await next_one
    await audit.trail.close()
    told = audit.told()
    assert told[0] == ("gap", 1)
    assert sorted(told[1:]) == [("left", "200"), ("next", "200")]


async def test_the_end_does_not_wait_for_a_stalled_disk_and_tells_what_it_can(make, disk, caplog):
    audit = make()
    disk.stall()
    assert not await audit.record("late")
    audit.trail._writer._timeout = 3600
    await audit.trail.close()
    assert "could not be closed" in caplog.text


async def test_what_is_still_to_be_said_of_a_stall_is_said_at_the_end(make, disk):
    audit = make()
    disk.stall()
    for _ in range(2):
        assert not await audit.record("late")
    disk.go_on()
    await audit.answers_again()
    audit.trail._writer._timeout = 3600
    await audit.trail.close()
    assert audit.told() == [("late", "200"), ("gap", 1), ("late", "503")]


async def test_other_work_has_its_threads_while_the_disk_stalls(make, disk):
    audit = make(timeout=3600)
    disk.stall()
    waiting = [asyncio.create_task(audit.record("r")) for _ in range(64)]
    await asyncio.to_thread(disk.reached.wait)
    async with asyncio.timeout(20):
        await asyncio.to_thread(lambda: None)  # asyncio has fewer threads than 64
    disk.go_on()
    assert all(await asyncio.gather(*waiting))
    await audit.trail.close()


def test_a_thread_that_hangs_does_not_keep_the_program():
    ended = subprocess.run(
        [sys.executable, "-c", AT_THE_END], env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60
    )
    assert ended.returncode == 0
