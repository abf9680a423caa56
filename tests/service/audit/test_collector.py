import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from service.audit import (
    AuditKind,
    AuditTrail,
    AuditUnavailableError,
    Collector,
    FailurePolicy,
    Occurrence,
    StudyHasher,
    collector,
)
from service.identity import ANONYMOUS


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(collector, "_FIRST_PAUSE", 0.0)


@asynccontextmanager
async def fhir_server(*statuses):
    """A server that answers with these statuses, the last one again and again."""
    answers, taken = list(statuses), []

    async def answer(reader, writer):
        while line := await reader.readline():
            length, headers = 0, {}
            while (header := await reader.readline()) != b"\r\n":
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            length = int(headers.get("content-length", 0))
            body = json.loads(await reader.readexactly(length))
            status = answers.pop(0) if len(answers) > 1 else answers[0]
            taken.append((line.split()[1].decode(), headers, body, status))
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/r4", taken


async def test_events_are_posted_in_order_as_fhir():
    async with fhir_server(201) as (url, taken):
        sending = Collector(url, token="secret")
        for number in range(3):
            sending.send({"resourceType": "AuditEvent", "n": number})
        await sending.close()
    assert [body["n"] for _, _, body, _ in taken] == [0, 1, 2]
    path, headers, _, _ = taken[0]
    assert path == "/r4/AuditEvent"
    assert headers["content-type"] == "application/fhir+json"
    assert headers["authorization"] == "Bearer secret"


async def test_what_is_not_taken_is_sent_again():
    async with fhir_server(503, 429, 201) as (url, taken):
        sending = Collector(url)
        await sending.deliver({"n": 1})
        await sending.close()
    assert [status for *_, status in taken] == [503, 429, 201]


async def test_what_is_refused_for_good_does_not_hold_up_the_rest():
    async with fhir_server(422, 201) as (url, taken):
        sending = Collector(url)
        with pytest.raises(AuditUnavailableError, match="refuses"):
            await sending.deliver({"n": 1})
        await sending.deliver({"n": 2})
        await sending.close()
    assert [body["n"] for _, _, body, _ in taken] == [1, 2]


async def test_a_full_queue_is_told():
    async with fhir_server(503) as (url, _):
        sending = Collector(url, capacity=1)
        sending.send({"n": 1})
        with pytest.raises(AuditUnavailableError, match="full"):
            sending.send({"n": 2})
        await sending.close(grace=0)


def occurrence():
    return Occurrence(AuditKind.READING, "report", ANONYMOUS, None, None, "a" * 32, 200)


@pytest.mark.parametrize("policy", list(FailurePolicy))
async def test_alone_and_closed_it_must_have_taken_the_event(policy):
    async with fhir_server(503) as (url, _):
        sending = Collector(url, timeout=0.05)
        trail = AuditTrail(StudyHasher(b"k" * 32), version="1", collector=sending, policy=policy)
        if policy is FailurePolicy.CLOSED:
            with pytest.raises(AuditUnavailableError):
                await trail.record(occurrence())
        else:
            await trail.record(occurrence())
        await sending.close(grace=0)
