"""What is recorded of requests, over the whole application."""

import asyncio
import base64
import io
import json
import os
import threading
from functools import partial

import httpx
import jwt
import pytest
from prometheus_client import REGISTRY
from pydicom import dcmread
from pydicom.data import get_testdata_file
from starlette.responses import Response

import service.app
from service.api.known_host import KnownHosts
from service.api.middleware import CUT_OFF
from service.audit import (
    AuditFile,
    AuditTrail,
    AuditUnavailableError,
    Collector,
    StudyHasher,
    collector,
    verify,
)
from service.identity import KeyFile, Scope
from tests.service.api.conftest import client_from, running
from tests.service.api.test_server import serving
from tests.service.audit.fhir_server import fhir_server
from tests.service.scripted_engine import Script

SITE_KEY = "0123456789abcdef" * 2
UID = "1.2.826.0.1.3680043.8.498.4242"


@pytest.fixture
def trail(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def recording(make_app, trail):
    """A function that makes an application which records into ``trail``."""

    def make(**settings):
        return make_app(audit_file=trail, audit_site_key=SITE_KEY, **settings)

    return make


@pytest.fixture(scope="module")
def dicom():
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.StudyInstanceUID = UID
    dataset.Modality = "DX"
    dataset.PatientName = "Sentinel^Smith"
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def events(trail):
    lines = [json.loads(line) for line in trail.read_bytes().splitlines()]
    return [line["event"] for line in lines if "event" in line]


def told(event):
    operation = event["subtype"][-1]["code"]
    return operation, event["outcome"], event["outcomeDesc"]


async def post(client, path, film, **more):
    return await client.post(path, files={"image": film}, **more)


async def test_each_reading_is_recorded_once_with_who_what_when_and_outcome(
    recording, trail, film, tmp_path
):
    _, key = KeyFile(tmp_path / "keys.json").add("ward-3", [Scope.READ])
    headers = {"Authorization": f"Bearer {key}"}
    async with running(recording(keys_file=tmp_path / "keys.json")) as client:
        replies = [
            await post(client, "/report", film, headers=headers),
            await post(client, "/vqa", film, data={"question": "Effusion?"}, headers=headers),
            await post(client, "/render", film, headers=headers),
            await post(client, "/report", film, headers={**headers, "Accept": "text/event-stream"}),
        ]
    assert [reply.status_code for reply in replies] == [200] * 4
    assert [told(event) for event in events(trail)] == [
        (name, "0", "200") for name in ("report", "vqa", "render", "report")
    ]
    for event, reply in zip(events(trail), replies, strict=True):
        assert event["agent"][0]["who"]["identifier"]["value"] == "ward-3"
        request_id = event["entity"][0]["what"]["identifier"]["value"]
        assert request_id == reply.headers["X-Request-Id"]
        assert event["entity"][1]["what"]["identifier"]["system"].endswith("pixels:hmac-sha256")
    assert verify([trail]).intact


async def test_a_study_is_recorded_by_its_keyed_hash_and_nothing_of_the_patient(
    recording, trail, dicom
):
    async with running(recording()) as client:
        reply = await post(client, "/report", dicom, data={"allow_other_anatomy": "true"})
        assert reply.status_code == 200, reply.text
    (event,) = events(trail)
    identity = event["entity"][1]["what"]["identifier"]["value"]
    assert identity == StudyHasher(SITE_KEY.encode()).of_uid(UID).value
    text = trail.read_text() + reply.text
    assert UID not in text
    assert "Smith" not in text
    assert identity not in reply.text


async def test_a_replayed_reading_is_recorded_with_its_study_too(recording, trail, dicom):
    headers = {"Idempotency-Key": "again"}
    async with running(recording()) as client:
        for _ in range(2):
            data = {"allow_other_anatomy": "true"}
            last = await post(client, "/report", dicom, data=data, headers=headers)
    assert last.headers["Idempotency-Replayed"] == "true"
    first, replayed = (event["entity"][1]["what"]["identifier"] for event in events(trail))
    assert first == replayed


async def test_failures_are_recorded_with_their_code(recording, trail, film, engine):
    async with running(recording(max_body_bytes=100_000)) as client:
        await post(client, "/report", b"not a film")
        await post(client, "/vqa", film)
        await post(client, "/report", film, headers={"Accept": "text/html"})
        await client.post("/report", content=bytes(200_000))
        engine.say(Script(failure=RuntimeError("Mrs Smith")))
        await post(client, "/report", film)
    assert [told(event)[1:] for event in events(trail)] == [
        ("4", "415 unsupported-media-type"),
        ("4", "422 invalid-field"),
        ("4", "406 not-acceptable"),
        ("4", "413 body-too-large"),
        ("8", "500 internal-error"),
    ]
    assert "Smith" not in trail.read_text()


async def test_refused_credentials_are_recorded_with_the_reason(recording, trail, film, tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    _, key = file.add("ward-3", [Scope.READ])
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    app = recording(keys_file=file.path)
    async with running(app) as client:
        for number, headers in enumerate(({}, {"X-API-Key": wrong})):
            async with client_from(app, f"192.0.2.{number}") as another:
                assert (await post(another, "/report", film, headers=headers)).status_code == 401
        await client.get("/Smith", headers={"X-API-Key": "x"})
        await client.post("/admin/keys/reload", headers={"X-API-Key": key})
        await client.get("/livez")
        await client.get("/version", headers={"X-API-Key": key})
    assert [told(event) for event in events(trail)] == [
        ("report", "4", "401 unauthenticated"),
        ("report", "4", "401 unauthenticated key-wrong"),
        ("other", "4", "401 unauthenticated key-malformed"),
        ("keys-reload", "4", "403 forbidden"),
    ]
    assert {event["type"]["code"] for event in events(trail)} == {"110114"}
    assert wrong not in trail.read_text()


async def test_a_flood_of_tokens_that_nobody_can_judge_is_one_event_too(recording, trail, film):
    oidc = {"oidc_issuer": "http://127.0.0.1:9", "oidc_audience": "deepmedix"}
    token = jwt.encode({"sub": "x"}, "0" * 32, headers={"kid": "x", "alg": "HS256"})
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"x"}').rstrip(b"=").decode()
    unsigned = {"Authorization": f"Bearer {head}.{token.partition('.')[2]}"}
    async with running(recording(**oidc)) as client:
        for _ in range(30):
            reply = await post(client, "/report", film, headers=unsigned)
            assert (reply.status_code, reply.json()["code"]) == (503, "identity-unavailable")
        assert len(events(trail)) == 1
    assert len(events(trail)) == 2


async def test_a_flood_of_refused_credentials_is_one_event_and_their_count(
    recording, trail, tmp_path
):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    async with running(recording(keys_file=file.path)) as client:
        for _ in range(30):
            assert (await client.get("/version", headers={"X-API-Key": "x"})).status_code == 401
        assert len(events(trail)) == 1
    _, rest = events(trail)
    assert told(rest) == ("version", "4", "401 unauthenticated key-malformed")
    assert rest["entity"][0]["detail"][0] == {"type": "requests", "valueString": "29"}
    assert verify([trail]).intact


async def test_every_request_can_be_recorded_by_itself_probes_apart(recording, trail, tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    _, key = file.add("ward-3", [Scope.READ])
    app = recording(keys_file=file.path, audit_scope="all")
    async with running(app) as client:
        known = {"X-API-Key": key}
        replies = [
            await client.get("/version", headers=known),
            await client.get("/metrics"),
            await client.get("/docs"),
            await client.get("/Smith", headers=known),
            *[await client.get("/version", headers={"X-API-Key": "x"}) for _ in range(3)],
            await client.put("/vqa", headers=known),
        ]
        app.state.known_hosts = KnownHosts()
        replies += [await client.get("/version", headers=known)]
        for probe in ("/livez", "/readyz"):
            await client.get(probe)
    assert [told(event) for event in events(trail)] == [
        ("version", "0", "200"),
        ("metrics", "0", "200"),
        ("docs", "0", "200"),
        ("other", "4", "404 not-found"),
        *[("version", "4", "401 unauthenticated key-malformed")] * 3,
        ("vqa", "4", "405 method-not-allowed"),
        ("version", "4", "421 unknown-host"),
    ]
    assert [event["entity"][0]["what"]["identifier"]["value"] for event in events(trail)] == [
        reply.headers["X-Request-Id"] for reply in replies
    ]
    assert events(trail)[0]["agent"][0]["who"]["identifier"]["value"] == "ward-3"
    assert "Smith" not in trail.read_text()
    assert verify([trail]).intact


async def test_of_requests_without_patients_data_none_is_recorded_unless_told(
    recording, trail, film
):
    app = recording()
    async with running(app) as client:
        for path in ("/version", "/metrics", "/docs", "/Smith", "/livez"):
            await client.get(path)
        app.state.known_hosts = KnownHosts()
        assert (await post(client, "/report", film)).status_code == 421
    assert events(trail) == []


async def test_where_all_is_recorded_and_cannot_be_the_metrics_still_tell(
    recording, trail, monkeypatch
):
    async with running(recording(audit_scope="all")) as client:
        write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        refused = await client.get("/version")
        assert (refused.status_code, refused.json()["code"]) == (503, "audit-unavailable")
        assert "deepmedix_audit_events_total" in (await client.get("/metrics")).text
        monkeypatch.undo()
        assert (await client.get("/version")).status_code == 200
    lines = [json.loads(line) for line in trail.read_bytes().splitlines()]
    assert [line["resumed"]["unrecorded"] for line in lines if "resumed" in line] == [2]


async def test_acts_of_administration_are_recorded(recording, trail, tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    _, key = file.add("operator", [Scope.ADMIN])
    async with running(recording(keys_file=file.path)) as client:
        await client.post("/admin/keys/reload", headers={"X-API-Key": key})
    (event,) = events(trail)
    assert told(event) == ("keys-reload", "0", "200")
    assert event["subtype"][0]["code"] == "110137"


async def test_an_event_is_on_the_file_before_the_replys_first_byte(recording, trail, film):
    app = recording()
    seen = []

    async with running(app):
        inner = app.state.audit.record

        async def record(occurrence):
            await inner(occurrence)
            seen.append("recorded")

        app.state.audit.record = record

        class Watched(httpx.ASGITransport):
            async def handle_async_request(self, request):
                async def watched(scope, receive, send):
                    async def watched_send(message):
                        seen.append(message["type"])
                        await send(message)

                    await app(scope, receive, watched_send)

                return await httpx.ASGITransport(watched).handle_async_request(request)

        async with httpx.AsyncClient(transport=Watched(app), base_url="http://test") as watching:
            for accept in ("application/json", "text/event-stream"):
                seen.clear()
                await post(watching, "/report", film, headers={"Accept": accept})
                assert seen[:2] == ["recorded", "http.response.start"]
                assert seen.count("recorded") == 1


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "image/png"])
async def test_closed_means_that_no_reading_leaves_unrecorded(
    recording, trail, film, engine, monkeypatch, accept
):
    async with running(recording()) as client:
        write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        engine.requests.clear()
        first = await post(client, "/report", film, headers={"Accept": accept})
        assert (first.status_code, first.json()["code"]) == (503, "audit-unavailable")
        assert "Retry-After" in first.headers
        assert "heart" not in first.text
        asked = len(engine.requests)
        labels = {"route": "/report", "code": "503"}
        counted = REGISTRY.get_sample_value("deepmedix_requests_total", labels)
        second = await post(client, "/report", film, headers={"Accept": accept})
        assert second.json()["code"] == "audit-unavailable"
        # Refused before the routing, and a reading that failed all the same.
        assert REGISTRY.get_sample_value("deepmedix_requests_total", labels) == counted + 1
        assert len(engine.requests) == asked  # nothing is worked on that could not be handed out
        assert engine.running == 0
        monkeypatch.undo()
        third = await post(client, "/report", film, headers={"Accept": accept})
        assert third.status_code == 200
    assert [told(event) for event in events(trail)] == [("report", "0", "200")]
    lines = [json.loads(line) for line in trail.read_bytes().splitlines()]
    assert [line["resumed"] for line in lines if "resumed" in line] == [
        {"unrecorded": 2, "answered": False}
    ]
    assert verify([trail]).intact


async def test_while_the_collector_alone_is_down_nothing_is_worked_on(
    make_app, film, engine, monkeypatch
):
    answers = [503]
    monkeypatch.setattr(service.app, "Collector", partial(Collector, timeout=0.5))
    monkeypatch.setattr(collector, "_FIRST_PAUSE", 0.0)
    async with fhir_server(answers=answers) as (url, taken):
        app = make_app(audit_collector=url, audit_site_key=SITE_KEY)
        async with running(app) as client:
            engine.requests.clear()
            first = await post(client, "/report", film)
            assert (first.status_code, first.json()["code"]) == (503, "audit-unavailable")
            asked = len(engine.requests)
            second = await post(client, "/report", film)
            assert (second.status_code, second.json()["code"]) == (503, "audit-unavailable")
            assert len(engine.requests) == asked
            answers[:] = [201]
            async with asyncio.timeout(20):
                while app.state.audit.failing:
                    await asyncio.sleep(0)  # let the collector be asked again
                    third = await post(client, "/report", film)
            assert third.status_code == 200
    arrived = [
        (event["outcome"], event["outcomeDesc"]) for _, _, event, status in taken if status == 201
    ]
    assert arrived[-3] == ("8", "503 audit-unavailable")
    assert arrived[-2][1].startswith("unrecorded ")
    assert arrived[-1] == ("0", "200")


async def test_a_refusal_tells_when_the_collector_is_asked_again(make_app, film, monkeypatch):
    monkeypatch.setattr(service.app, "Collector", partial(Collector, clock=lambda: 0.0))
    monkeypatch.setattr(collector, "_FIRST_PAUSE", 17.25)
    async with fhir_server(503) as (url, _):
        app = make_app(audit_collector=url, audit_site_key=SITE_KEY)
        async with running(app) as client:
            sending = app.state.audit._collector
            sending.send({"n": 1})
            async with asyncio.timeout(20):
                while sending.retry_after is None:
                    await asyncio.sleep(0)
            sending._timeout = 0.01
            for _ in range(2):  # one that waited for the collector, one that did not
                reply = await post(client, "/report", film)
                assert (reply.status_code, reply.json()["code"]) == (503, "audit-unavailable")
                assert reply.headers["Retry-After"] == "18"
            await sending.close(grace=0)


async def test_a_line_that_cannot_be_taken_back_from_a_refused_request_is_corrected(
    recording, trail, film, monkeypatch
):
    """The file may only be appended to, and the disk fails after the line was written."""

    class Broken:
        def __getattr__(self, name):
            return getattr(os, name)

        def fsync(self, descriptor):
            raise OSError(5, "Input/output error")

        def ftruncate(self, descriptor, size):
            raise PermissionError(1, "Operation not permitted")

    async with running(recording()) as client:
        monkeypatch.setattr("service.audit.file.os", Broken())
        assert (await post(client, "/report", film)).status_code == 503
        monkeypatch.undo()
        assert (await post(client, "/report", film)).status_code == 200
    first, second, third = events(trail)
    assert [told(event)[1:] for event in (first, second, third)] == [
        ("0", "200"),
        ("8", "503 audit-unavailable"),
        ("0", "200"),
    ]
    assert first["entity"] == second["entity"]
    assert verify([trail]).intact


@pytest.mark.parametrize("policy", ["closed", "open"])
async def test_a_disk_that_does_not_answer_is_not_waited_for(
    recording, trail, film, engine, monkeypatch, policy
):
    class Stalled:
        going = threading.Event()

        def __getattr__(self, name):
            return getattr(os, name)

        def fsync(self, descriptor):
            self.going.wait()

    monkeypatch.setattr(service.app, "AuditTrail", partial(AuditTrail, file_timeout=0.1))
    app = recording(audit_failure=policy)
    async with running(app) as client:
        monkeypatch.setattr("service.audit.file.os", Stalled())
        try:
            replies = [await post(client, "/report", film)]
            asked = len(engine.requests)
            replies += [await post(client, "/report", film) for _ in range(2)]
        finally:
            Stalled.going.set()
        if policy == "closed":
            assert {(one.status_code, one.json()["code"]) for one in replies} == {
                (503, "audit-unavailable")
            }
            assert len(engine.requests) == asked
        else:
            assert [reply.status_code for reply in replies] == [200] * 3
        async with asyncio.timeout(20):
            while app.state.audit._writer.stalled:
                await asyncio.sleep(0.001)
        app.state.audit._writer._timeout = 3600
        assert (await post(client, "/report", film)).status_code == 200
    lines = [json.loads(line) for line in trail.read_bytes().splitlines()]
    assert [line["resumed"] for line in lines if "resumed" in line] == [
        {"unrecorded": 2, "answered": policy == "open"}
    ]
    correction = [("8", "503 audit-unavailable")] if policy == "closed" else []
    assert [told(event)[1:] for event in events(trail)] == [
        ("0", "200"),
        *correction,
        ("0", "200"),
    ]
    assert verify([trail]).intact


async def test_open_answers_and_records_the_gap(recording, trail, film, monkeypatch, caplog):
    async with running(recording(audit_failure="open")) as client:
        write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        for _ in range(2):
            assert (await post(client, "/report", film)).status_code == 200
        assert "audit trail cannot be written" in caplog.text
        monkeypatch.undo()
        assert (await post(client, "/report", film)).status_code == 200
    lines = [json.loads(line) for line in trail.read_bytes().splitlines()]
    assert [line["resumed"] for line in lines if "resumed" in line] == [
        {"unrecorded": 2, "answered": True}
    ]


@pytest.mark.parametrize("policy", ["closed", "open"])
async def test_requests_that_come_at_once_record_the_gap_once(
    recording, trail, film, monkeypatch, policy
):
    async with running(recording(audit_failure=policy)) as client:
        write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        await asyncio.gather(*(post(client, "/report", film) for _ in range(3)))
        monkeypatch.undo()
        replies = await asyncio.gather(*(post(client, "/report", film) for _ in range(4)))
        assert [reply.status_code for reply in replies] == [200] * 4
    lines = [json.loads(line) for line in trail.read_bytes().splitlines()]
    assert [line["resumed"] for line in lines if "resumed" in line] == [
        {"unrecorded": 3, "answered": policy == "open"}
    ]
    assert len(events(trail)) == 4
    assert verify([trail]).intact


async def test_a_refusal_stays_a_refusal_when_it_cannot_be_recorded(
    recording, tmp_path, monkeypatch
):
    file = KeyFile(tmp_path / "keys.json")
    file.add("ward-3", [Scope.READ])
    async with running(recording(keys_file=file.path)) as client:
        monkeypatch.setattr(os, "write", lambda fd, data: 0)
        assert (await client.get("/version")).status_code == 401


async def test_a_refusal_stays_a_refusal_while_nothing_can_be_recorded(
    recording, trail, film, tmp_path, monkeypatch
):
    file = KeyFile(tmp_path / "keys.json")
    _, key = file.add("ward-3", [Scope.READ])
    async with running(recording(keys_file=file.path)) as client:
        write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        known = {"X-API-Key": key}
        assert (await post(client, "/report", film, headers=known)).status_code == 503
        for _ in range(3):
            assert (await post(client, "/report", film)).status_code == 401
        assert (await post(client, "/report", film, headers=known)).status_code == 503
        monkeypatch.undo()
        assert (await post(client, "/report", film, headers=known)).status_code == 200
    lines = [json.loads(line) for line in trail.read_bytes().splitlines()]
    (gap,) = [line["resumed"] for line in lines if "resumed" in line]
    assert gap == {"unrecorded": 3, "answered": False}  # two readings and the first refusal
    assert told(events(trail)[-1]) == ("report", "4", "401 unauthenticated")


async def test_a_stream_that_runs_out_of_time_is_recorded_with_that_status(
    recording, trail, film, engine
):
    async with running(recording()) as client:
        engine.say(Script(hold_after=3))
        headers = {"Accept": "text/event-stream", "X-Request-Timeout": "1"}
        await post(client, "/report", film, headers=headers)
    assert told(events(trail)[-1])[1:] == ("8", "504 broken-off deadline-exceeded")


async def test_a_replayed_refusal_is_recorded_with_its_code(recording, trail):
    async with running(recording()) as client:
        for _ in range(2):
            last = await post(client, "/report", b"no film", headers={"Idempotency-Key": "again"})
    assert last.headers["Idempotency-Replayed"] == "true"
    assert [told(event)[2] for event in events(trail)] == ["415 unsupported-media-type"] * 2


async def test_a_stream_that_breaks_off_is_recorded_a_second_time(recording, trail, film, engine):
    async with running(recording()) as client:
        engine.say(Script(failure=RuntimeError("x"), fail_after=3))
        reply = await post(client, "/report", film, headers={"Accept": "text/event-stream"})
        assert reply.status_code == 200
    assert [told(event)[1:] for event in events(trail)] == [
        ("0", "200"),
        ("8", "500 broken-off internal-error"),
    ]
    first, second = events(trail)
    assert first["entity"] == second["entity"]


async def test_a_reply_that_its_client_did_not_take_is_recorded_a_second_time(
    recording, trail, film, monkeypatch
):
    app = recording()
    sent = Response.__call__

    async def cut_off(self, scope, receive, send):
        scope["state"][CUT_OFF] = True  # as the connection says of it
        await sent(self, scope, receive, send)

    labels = {"route": "/render", "code": "499"}
    before = REGISTRY.get_sample_value("deepmedix_requests_total", labels) or 0
    async with running(app) as client:
        monkeypatch.setattr(Response, "__call__", cut_off)
        await post(client, "/render", film)
    assert [told(event)[1:] for event in events(trail)] == [
        ("0", "200"),
        ("4", "499 broken-off client-left"),
    ]
    assert REGISTRY.get_sample_value("deepmedix_requests_total", labels) == before + 1


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_caller_that_leaves_is_recorded(recording, trail, film, engine, accept):
    app = recording()
    async with serving(app) as url:
        engine.say(Script(hold_after=2))
        engine.asked.clear()
        async with httpx.AsyncClient(base_url=url) as client:
            request = asyncio.create_task(
                client.post("/report", files={"image": film}, headers={"Accept": accept})
            )
            await engine.asked.wait()
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
        async with asyncio.timeout(20):
            while not any("client-left" in told(event)[2] for event in events(trail)):
                await asyncio.sleep(0.005)
    said = "499 client-left" if accept == "application/json" else "499 broken-off client-left"
    assert told(events(trail)[-1]) == ("report", "4", said)
    assert len(events(trail)) == (1 if accept == "application/json" else 2)


async def test_requests_side_by_side_make_one_chain(recording, trail, film):
    async with running(recording()) as client:
        await asyncio.gather(*(post(client, "/render", film) for _ in range(12)))
    found = verify([trail])
    assert (found.intact, found.events) == (True, 12)


def test_a_file_that_another_process_writes_stops_the_start(recording, trail):
    other = AuditFile(trail)
    other.open()
    with pytest.raises(AuditUnavailableError, match="another process"):
        recording()
    other.close()
