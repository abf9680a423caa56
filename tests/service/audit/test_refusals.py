"""Refused credentials are told together, and none of them is lost."""

import asyncio
import json
from dataclasses import replace

import pytest

from service.audit import (
    AddressPolicy,
    AuditFile,
    AuditKind,
    AuditTrail,
    AuditUnavailableError,
    Occurrence,
    Refusals,
    StudyHasher,
    verify,
)
from service.identity import Principal, PrincipalKind

REFUSAL = Occurrence(
    kind=AuditKind.REFUSED_CREDENTIAL, operation="report", principal=None,
    client_address="192.0.2.1", server_address=None, request_id="a" * 32, status=401,
    reason="unauthenticated",
)  # fmt: skip


class Recorder:
    """A trail in a file, whose time a test sets."""

    def __init__(self, path, *, addresses=AddressPolicy.FULL, **how):
        self.path, self.now = path, 0.0
        file = AuditFile(path, fsync=False)
        file.open()
        self.trail = AuditTrail(
            StudyHasher(b"k" * 32),
            version="1",
            file=file,
            addresses=addresses,
            refusals=Refusals(clock=lambda: self.now, **how),
        )

    async def refuse(self, address="192.0.2.1", **how):
        await self.trail.record_refusal(replace(REFUSAL, client_address=address, **how))

    async def pass_a_minute(self):
        self.now += 60
        await self.trail.tell_refusals()

    @property
    def events(self):
        lines = [json.loads(line) for line in self.path.read_bytes().splitlines()]
        return [line["event"] for line in lines if "event" in line]

    @property
    def told(self):
        """Address and count of every event; the count of one that stands for itself is 1."""
        return [(event["agent"][0]["network"]["address"], told(event)) for event in self.events]


def told(event) -> int:
    details = event["entity"][0].get("detail", [{"type": "requests", "valueString": "1"}])
    return next(int(it["valueString"]) for it in details if it["type"] == "requests")


@pytest.fixture
async def recorder(tmp_path):
    recorder = Recorder(tmp_path / "audit.jsonl")
    yield recorder
    await recorder.trail.close()


async def test_the_first_is_recorded_at_once_and_the_rest_of_its_minute_together(recorder):
    for _ in range(50):
        await recorder.refuse()
    await recorder.refuse("192.0.2.2")
    assert recorder.told == [("192.0.2.1", 1), ("192.0.2.2", 1)]
    await recorder.pass_a_minute()
    assert recorder.told[2:] == [("192.0.2.1", 49)]
    for _ in range(7):
        await recorder.refuse()
    assert len(recorder.events) == 3  # a flood that goes on is one event a minute
    await recorder.pass_a_minute()
    await recorder.pass_a_minute()
    assert recorder.told[3:] == [("192.0.2.1", 7)]
    await recorder.refuse()
    assert recorder.told[4:] == [("192.0.2.1", 1)]


async def test_what_is_told_together_says_how_many_there_were_of_each_and_when(recorder):
    await recorder.refuse()
    for reason in ("unauthenticated key-wrong", "unauthenticated", "unauthenticated key-wrong"):
        await recorder.refuse(reason=reason, request_id=reason[-1] * 32)
    await recorder.pass_a_minute()
    _, event = recorder.events
    assert event["entity"][0]["detail"] == [
        {"type": "requests", "valueString": "3"},
        {"type": "401 unauthenticated", "valueString": "1"},
        {"type": "401 unauthenticated key-wrong", "valueString": "2"},
    ]
    assert event["entity"][0]["what"]["identifier"]["value"] == "g" * 32  # the last one's
    assert event["outcomeDesc"] == "401 unauthenticated key-wrong (the last of 3)"
    assert event["period"]["start"] <= event["period"]["end"] <= event["recorded"]
    assert verify([recorder.path]).intact


async def test_callers_of_one_address_are_told_apart_by_their_names(recorder):
    ward = Principal("ward-3", PrincipalKind.API_KEY, frozenset())
    for _ in range(3):
        await recorder.refuse()
        await recorder.refuse(claimed_name="ward-4")
        await recorder.refuse(principal=ward, status=403, reason="forbidden")
    assert [count for _, count in recorder.told] == [1, 1, 1]
    await recorder.pass_a_minute()
    assert [count for _, count in recorder.told[3:]] == [2, 2, 2]
    assert recorder.events[-1]["agent"][0]["who"]["identifier"]["value"] == "ward-3"


async def test_addresses_beyond_the_most_share_one_event(tmp_path):
    recorder = Recorder(tmp_path / "audit.jsonl", most=3)
    for number in range(1000):
        await recorder.refuse(f"192.0.2.{number % 250}")
    assert len(recorder.events) == 4
    await recorder.pass_a_minute()
    assert sum(count for _, count in recorder.told) == 1000
    assert recorder.told[-1] == ("unknown", 988 - 1)
    assert len(recorder.events) == 8
    await recorder.trail.close()


async def test_addresses_that_are_not_kept_are_not_told_apart(tmp_path):
    recorder = Recorder(tmp_path / "audit.jsonl", addresses=AddressPolicy.PREFIX)
    for number in range(9):
        await recorder.refuse(f"192.0.2.{number}")
    assert recorder.told == [("192.0.2.0", 1)]
    await recorder.trail.close()


async def test_what_was_counted_is_recorded_when_the_service_stops(tmp_path):
    recorder = Recorder(tmp_path / "audit.jsonl")
    for _ in range(4):
        await recorder.refuse()
    await recorder.trail.close()
    assert recorder.told == [("192.0.2.1", 1), ("192.0.2.1", 3)]
    assert verify([recorder.path]).intact


async def test_what_was_counted_and_cannot_be_recorded_is_in_the_gap(recorder, monkeypatch):
    for _ in range(6):
        await recorder.refuse()
    monkeypatch.setattr("os.write", lambda descriptor, data: 0)
    await recorder.pass_a_minute()
    monkeypatch.undo()
    await recorder.trail.resume()
    lines = [json.loads(line) for line in recorder.path.read_bytes().splitlines()]
    assert [line["resumed"]["unrecorded"] for line in lines if "resumed" in line] == [5]


async def test_one_that_is_to_be_recorded_at_once_and_is_not_is_told(recorder, monkeypatch):
    monkeypatch.setattr("os.write", lambda descriptor, data: 0)
    with pytest.raises(AuditUnavailableError):
        await recorder.refuse()
    await recorder.refuse()
    monkeypatch.undo()
    await recorder.pass_a_minute()
    assert recorder.told == [("192.0.2.1", 1)]


async def test_the_minute_is_over_without_anybodys_asking(tmp_path):
    recorder = Recorder(tmp_path / "audit.jsonl", period=0.0)
    await recorder.refuse()
    await recorder.refuse()
    async with asyncio.timeout(20):
        while len(recorder.events) < 2:
            await asyncio.sleep(0)
    assert recorder.told == [("192.0.2.1", 1), ("192.0.2.1", 1)]
    await recorder.trail.close()


def test_the_next_minute_that_ends_is_the_first_that_began():
    now = [0.0]
    refusals = Refusals(clock=lambda: now[0])
    assert refusals.next_due() is None
    assert refusals.is_first(REFUSAL, "a")
    now[0] = 20.0
    assert refusals.is_first(REFUSAL, "b")
    assert refusals.next_due() == 40.0
    now[0] = 60.0
    assert refusals.pop_due() is None  # nothing was counted
    assert refusals.next_due() == 20.0
