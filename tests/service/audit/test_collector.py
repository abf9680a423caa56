import asyncio
import logging
from contextvars import ContextVar

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
    metrics,
)
from service.identity import ANONYMOUS
from tests.service.audit.fhir_server import fhir_server


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(collector, "_FIRST_PAUSE", 0.0)


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
    async with fhir_server(503, 429, 401, 201) as (url, taken):  # the last: its token has expired
        sending = Collector(url)
        await sending.deliver({"n": 1})
        await sending.close()
    assert [status for *_, status in taken] == [503, 429, 401, 201]


async def test_what_is_refused_for_good_does_not_hold_up_the_rest():
    async with fhir_server(422, 201) as (url, taken):
        sending = Collector(url)
        with pytest.raises(AuditUnavailableError, match="refuses"):
            await sending.deliver({"n": 1})
        await sending.deliver({"n": 2})
        await sending.close()
    assert [body["n"] for _, _, body, _ in taken] == [1, 2]


async def test_what_nobody_waits_for_and_is_refused_is_counted():
    before = metrics.UNDELIVERED._value.get()
    async with fhir_server(422) as (url, _):
        sending = Collector(url)
        for number in range(3):
            sending.send({"n": number})
        await sending.close()
    assert metrics.UNDELIVERED._value.get() == before + 3


async def test_what_is_being_sent_when_it_stops_is_counted_with_what_waits():
    before = metrics.UNDELIVERED._value.get()
    async with fhir_server(503) as (url, _):
        sending = Collector(url)
        for number in range(3):
            sending.send({"n": number})
        await until(lambda: sending.retry_after is not None)
        assert sending.waiting == 3
        await sending.close(grace=0)
    assert metrics.UNDELIVERED._value.get() == before + 3


async def test_a_collector_that_is_down_is_a_gauge_until_it_answers():
    answers = [503]
    async with fhir_server(answers=answers) as (url, _):
        sending = Collector(url)
        sending.send({"n": 1})
        await until(lambda: metrics.COLLECTOR_DOWN._value.get() == 1)
        answers[:] = [201]
        await sending.close(grace=20)
    assert metrics.COLLECTOR_DOWN._value.get() == 0


async def test_lines_about_the_collector_bear_no_requests_id(caplog):
    sent_by = ContextVar("request", default=None)
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append(sent_by.get())

    handler = Handler()
    collector.LOG.addHandler(handler)
    try:
        async with fhir_server(422) as (url, _):
            sending = Collector(url)
            sent_by.set("the first request")
            sending.send({"n": 1})
            await sending.close()
    finally:
        collector.LOG.removeHandler(handler)
    assert seen == [None]


async def test_a_full_queue_is_told():
    async with fhir_server(503) as (url, _):
        sending = Collector(url, capacity=1)
        sending.send({"n": 1})
        with pytest.raises(AuditUnavailableError, match="full"):
            sending.send({"n": 2})
        await sending.close(grace=0)


def occurrence():
    return Occurrence(AuditKind.READING, "report", ANONYMOUS, None, None, "a" * 32, 200)


def trail_of(sending, policy=FailurePolicy.CLOSED):
    return AuditTrail(StudyHasher(b"k" * 32), version="1", collector=sending, policy=policy)


async def until(met):
    async with asyncio.timeout(20):
        while not met():
            await asyncio.sleep(0)


def told(taken):
    return [
        (body["outcome"], body["outcomeDesc"]) for *_, body, status in taken if status in (0, 201)
    ]


@pytest.mark.parametrize("policy", list(FailurePolicy))
async def test_alone_and_closed_it_must_have_taken_the_event(policy):
    async with fhir_server(503) as (url, _):
        sending = Collector(url, timeout=0.05)
        trail = trail_of(sending, policy)
        if policy is FailurePolicy.CLOSED:
            with pytest.raises(AuditUnavailableError):
                await trail.record(occurrence())
        else:
            await trail.record(occurrence())
        await sending.close(grace=0)


async def test_what_was_refused_because_of_the_collector_arrives_as_refused():
    answers = [503]
    async with fhir_server(answers=answers) as (url, taken):
        trail = trail_of(sending := Collector(url, timeout=0.05))
        with pytest.raises(AuditUnavailableError):
            await trail.record(occurrence())
        answers[:] = [201]
        await sending.close(grace=20)
    assert told(taken)[-1] == ("8", "503 audit-unavailable")


async def test_what_was_refused_while_others_waited_before_it_never_arrives_as_a_success():
    answers = [503]
    async with fhir_server(answers=answers) as (url, taken):
        trail = trail_of(sending := Collector(url, timeout=0.05))
        sending.send({"outcome": "0", "outcomeDesc": "before"})
        with pytest.raises(AuditUnavailableError):
            await trail.record(occurrence())
        answers[:] = [201]
        await sending.close(grace=20)
    assert told(taken) == [("0", "before"), ("8", "503 audit-unavailable")]


async def test_what_the_collector_may_have_taken_as_a_success_is_corrected():
    answers = [0]  # takes it, and its answer is lost
    async with fhir_server(answers=answers) as (url, taken):
        trail = trail_of(sending := Collector(url, timeout=0.05))
        with pytest.raises(AuditUnavailableError):
            await trail.record(occurrence())
        answers[:] = [201]
        await sending.close(grace=20)
    assert told(taken)[0] == ("0", "200")
    assert told(taken)[-1] == ("8", "503 audit-unavailable")
    requests = {body["entity"][0]["what"]["identifier"]["value"] for _, _, body, _ in taken}
    assert requests == {"a" * 32}


async def test_an_answer_that_comes_after_giving_up_is_followed_by_a_correction(monkeypatch):
    """The first event is on its way when its request is refused, and is taken then."""
    answering = asyncio.Event()
    answers = [201]
    async with fhir_server(answers=answers) as (url, taken):
        trail = trail_of(sending := Collector(url, timeout=0.05))
        post = collector.httpx.AsyncClient.post

        async def slowly(client, *arguments, **how):
            reply = await post(client, *arguments, **how)
            await answering.wait()
            return reply

        monkeypatch.setattr(collector.httpx.AsyncClient, "post", slowly)
        with pytest.raises(AuditUnavailableError):
            await trail.record(occurrence())
        answering.set()
        await sending.close(grace=20)
    assert told(taken) == [("0", "200"), ("8", "503 audit-unavailable")]


async def test_alone_and_down_it_is_known_to_fail_at_once_and_tells_the_gap_when_it_is_back():
    answers = [503]
    async with fhir_server(answers=answers) as (url, taken):
        trail = trail_of(sending := Collector(url, timeout=0.05))
        assert not trail.failing
        with pytest.raises(AuditUnavailableError):
            await trail.record(occurrence())
        sending._timeout = 20.0
        assert trail.failing
        with pytest.raises(AuditUnavailableError, match="nothing now"):
            await trail.resume()
        trail.note_unrecorded()
        answers[:] = [201]
        await until(lambda: not sending.down)
        await trail.resume()
        assert not trail.failing
        await trail.record(occurrence())
        await trail.close()
    assert told(taken)[-3:] == [
        ("8", "503 audit-unavailable"),
        ("4", "unrecorded 2 refused"),
        ("0", "200"),
    ]


async def test_a_collector_that_refuses_every_event_is_tried_with_the_gap_first():
    answers = [422]
    async with fhir_server(answers=answers) as (url, taken):
        trail = trail_of(Collector(url))
        for _ in range(2):
            with pytest.raises(AuditUnavailableError, match="refuses"):
                await trail.record(occurrence())
        with pytest.raises(AuditUnavailableError, match="refuses"):
            await trail.resume()
        answers[:] = [201]
        await trail.resume()
        assert not trail.failing
        await trail.close()
    assert told(taken) == [("4", "unrecorded 2 refused")]


async def test_alone_and_open_a_full_queue_is_told_of_later():
    answers = [503]
    async with fhir_server(answers=answers) as (url, taken):
        trail = trail_of(sending := Collector(url, capacity=2), FailurePolicy.OPEN)
        for _ in range(2):
            await trail.record(occurrence())
        with pytest.raises(AuditUnavailableError, match="full"):
            await trail.record(occurrence())
        answers[:] = [201]
        await until(lambda: sending.waiting == 0)
        await trail.record(occurrence())
        await sending.close(grace=20)
    assert told(taken)[-2:] == [("8", "unrecorded 1 answered"), ("0", "200")]


async def test_a_sender_that_cannot_even_begin_is_down_and_tries_again(monkeypatch, caplog):
    client, broken = collector.httpx.AsyncClient, [True]

    def open_client(**how):
        if broken:
            raise FileNotFoundError("no certificates here")
        return client(**how)

    monkeypatch.setattr(collector.httpx, "AsyncClient", open_client)
    async with fhir_server(201) as (url, taken):
        sending = Collector(url)
        sending.send({"n": 1})
        await until(lambda: metrics.COLLECTOR_DOWN._value.get() == 1)
        assert sending.down
        broken.clear()
        await sending.close(grace=20)
    assert [body["n"] for _, _, body, _ in taken] == [1]
    assert metrics.COLLECTOR_DOWN._value.get() == 0
    assert "FileNotFoundError" in caplog.text
    assert "certificates here" not in caplog.text
