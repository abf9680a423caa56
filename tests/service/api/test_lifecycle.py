import asyncio
import threading
from contextlib import AsyncExitStack

import httpx
import pytest
from prometheus_client import REGISTRY

from service.engine import EngineUnavailable
from service.results.overlay.picture import overlay_png
from tests.service.api.conftest import client_from, running
from tests.service.scripted_engine import Script


async def test_it_is_alive_but_not_ready_while_the_engine_starts(make_app, engine, film):
    engine.starting = asyncio.Event()
    app = make_app(retry_after=3)
    async with running(app, ready=False) as client:
        assert (await client.get("/livez")).json() == {"status": "alive"}
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "not-ready")
        heads = [await client.head(path) for path in ("/livez", "/readyz")]
        assert [head.status_code for head in heads] == [200, 503]
        report = await client.post("/report", files={"image": film})
        assert (report.status_code, report.headers["Retry-After"]) == (503, "3")
        engine.starting.set()
        await app.state.service.started.wait()
        assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_the_engine_is_warmed_up_before_it_is_ready(make_app, engine):
    async with running(make_app()):
        assert engine.requests


@pytest.mark.parametrize("hanging", ["start", "warm-up"])
async def test_a_start_that_hangs_is_given_up(make_app, engine, hanging):
    if hanging == "start":
        engine.starting = asyncio.Event()
    else:
        engine.say(Script(hold_after=1))
    app = make_app(engine_start_timeout=0.05)
    async with running(app, ready=False):
        await app.state.service.started.wait()
        assert app.state.service.state == "failed"
        assert "DEEPMEDIX_ENGINE_START_TIMEOUT" in app.state.service.why_failed


async def test_a_start_that_fails_is_told_without_its_reason(make_app, engine):
    engine.start_failure = RuntimeError("weights of Mrs Smith")
    app = make_app(retry_after=3)
    async with running(app) as client:
        for reply in (await client.get("/readyz"), await client.post("/report")):
            assert (reply.status_code, reply.json()["code"]) == (503, "start-failed")
            assert reply.headers["Retry-After"] == "3"
            assert "Smith" not in reply.text
        assert (await client.get("/livez")).status_code == 200
        assert "weights" in app.state.service.why_failed


async def test_an_engine_that_died_is_not_ready(client, engine, film):
    engine.health = EngineUnavailable()
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "engine-unavailable")
    report = await client.post("/report", files={"image": film})
    assert (report.status_code, report.json()["code"]) == (503, "engine-unavailable")
    assert int(report.headers["Retry-After"]) > 0


async def test_draining_finishes_what_runs_and_takes_nothing_new(make_app, engine, film):
    app = make_app()
    async with running(app) as client:
        release = asyncio.Event()
        engine.say(Script(hold_after=2, release=release))
        engine.asked.clear()
        report = asyncio.create_task(client.post("/report", files={"image": film}))
        await engine.asked.wait()
        app.state.service.drain()
        late = await client.post("/report", files={"image": film})
        assert (late.status_code, late.json()["code"]) == (503, "shutting-down")
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
        release.set()
        assert (await report).status_code == 200
    assert engine.stopped


async def test_collectors_of_events_and_of_spans_are_told_at_the_same_time(make_app, monkeypatch):
    both = threading.Barrier(2)

    class Trail:
        async def close(self):
            await asyncio.to_thread(both.wait, 60)

    monkeypatch.setattr("service.app.stop_tracing", lambda: both.wait(60))
    app = make_app()
    async with app.router.lifespan_context(app):
        app.state.audit = Trail()
    assert not both.broken


async def test_draining_finishes_a_picture_that_is_being_drawn(make_app, film, monkeypatch):
    drawing, drawn = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def draw(interpretation):
        loop.call_soon_threadsafe(drawing.set)
        assert drawn.wait(60)
        return overlay_png(interpretation)

    monkeypatch.setattr("service.api.studies.overlay_png", draw)
    app = make_app()
    async with running(app) as client:
        headers = {"Accept": "image/png"}
        picture = asyncio.create_task(
            client.post("/report", files={"image": film}, headers=headers)
        )
        await drawing.wait()
        assert "deepmedix_requests_waiting 0.0" in (await client.get("/metrics")).text
        app.state.service.drain()
        drawn.set()
        assert (await picture).status_code == 200


async def test_beyond_a_callers_share_is_429_and_beyond_the_queue_503(make_app, engine, film):
    app = make_app(max_concurrency=1, max_queue=3, caller_share=0.5, retry_after=9)
    async with running(app), AsyncExitStack() as connected:
        one, two, three = [
            await connected.enter_async_context(client_from(app, f"192.0.2.{number}"))
            for number in (1, 2, 3)
        ]
        release = asyncio.Event()
        engine.say(Script(hold_after=1, release=release))
        reports = []
        for client in (one, one, two, two):
            reports.append(asyncio.create_task(client.post("/report", files={"image": film})))
        async with asyncio.timeout(20):
            while app.state.service.admission.admitted < 4:
                await asyncio.sleep(0)
        for client, answer in (
            (one, (429, "too-many-requests", "9")),
            (three, (503, "overloaded", "9")),
        ):
            late = await client.post("/report", files={"image": film})
            told = late.status_code, late.json()["code"], late.headers["Retry-After"]
            assert told == answer
        release.set()
        assert [(await report).status_code for report in reports] == [200] * 4


async def test_a_study_of_too_many_tokens_is_refused_before_the_engine(make_app, engine, film):
    app = make_app(max_admitted_tokens=1024)
    async with running(app) as client:
        engine.requests.clear()
        report = await client.post("/report", files={"image": film})
        assert (report.status_code, report.json()["code"]) == (422, "too-many-tokens")
        small = {"sections": "findings", "max_tokens": "9"}
        report = await client.post("/report", files={"image": film}, data=small)
        assert report.status_code == 200
        assert len(engine.requests) == 1
        assert app.state.service.admission.tokens == 0


async def test_the_queue_and_the_rate_are_measured(client, film):
    await client.post("/report", files={"image": film})
    page = (await client.get("/metrics")).text
    assert "deepmedix_requests_waiting 0.0" in page
    assert "deepmedix_admitted_tokens 0.0" in page
    rate = next(x for x in page.splitlines() if x.startswith("deepmedix_service_tokens_per"))
    assert float(rate.split()[1]) > 0


async def test_only_so_many_requests_are_at_work_at_once(make_app, engine, film):
    async with running(make_app(max_concurrency=2, max_queue=20)) as client:
        release = asyncio.Event()
        engine.say(Script(hold_after=1, release=release))
        engine.most_running = 0
        requests = [
            client.post("/report", files={"image": film}, data={"sections": "findings"})
            for _ in range(8)
        ]
        replies = asyncio.gather(*requests)
        async with asyncio.timeout(20):
            while engine.running < 2:
                await asyncio.sleep(0)
        release.set()
        assert {reply.status_code for reply in await replies} == {200}
        assert engine.most_running == 2


async def test_the_version_names_program_and_checkpoint(client, engine):
    version = (await client.get("/version")).json()
    assert version["model"] == engine.manifest.name
    assert version["manifest_sha256"] == engine.manifest_sha256


async def test_the_metrics_page_holds_what_else_is_registered(client):
    page = await client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert "deepmedix_requests_total" in page.text
    assert "python_info" in page.text  # the default registry, where vLLM's are too


async def test_no_metric_label_holds_what_a_caller_sent(client, film):
    await client.get("/1.2.840.10008.99/Smith")
    await client.post("/vqa", files={"image": film}, data={"question": "Smith?"})
    await client.post("/vqa?Smith=1", files={"image": film})
    page = (await client.get("/metrics")).text
    assert "Smith" not in page
    assert "1.2.840" not in page


async def test_the_reference_needs_no_internet(client):
    page = (await client.get("/docs")).text
    assert "http://" not in page.replace("http://test", "")
    assert "https://" not in page
    script = await client.get("/docs/assets/swagger-ui-bundle.js")
    assert script.status_code == 200
    assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")


@pytest.mark.parametrize("path", ["/redoc", "/report/1", "/invocations", "/tokenize"])
async def test_nothing_else_is_open(client, path):
    reply = await client.get(path)
    assert (reply.status_code, reply.json()["code"]) == (404, "not-found")


async def test_a_path_with_a_slash_too_many_is_not_found_and_leads_nowhere(client):
    for method, path in (("POST", "/report/"), ("GET", "/readyz/"), ("GET", "/docs/")):
        reply = await client.request(method, path, params={"question": "Smith"})
        assert (reply.status_code, reply.json()["code"]) == (404, "not-found")
        assert "location" not in reply.headers
        assert "Smith" not in reply.text + str(reply.headers)


async def test_a_caller_that_leaves_stops_the_generation(make_app, engine, film):
    """Straight through ASGI: the disconnect arrives behind the middleware."""
    app = make_app()
    async with running(app) as client:
        engine.say(Script(hold_after=2))
        engine.asked.clear()
        request = client.build_request("POST", "/report", files={"image": film})
        body = await _body(request)
        messages: asyncio.Queue[dict] = asyncio.Queue()
        messages.put_nowait({"type": "http.request", "body": body, "more_body": False})
        sent: list[dict] = []

        async def send(message):
            sent.append(message)

        before = _count_499()
        handling = asyncio.create_task(app(_scope(request), messages.get, send))
        await engine.asked.wait()
        messages.put_nowait({"type": "http.disconnect"})
        await handling
        assert engine.cancelled
        assert engine.running == 0
        assert app.state.service.admission.admitted == 0
        assert _count_499() == before + 1
        assert sent == []


async def _body(request: httpx.Request) -> bytes:
    return b"".join([chunk async for chunk in request.stream])


def _scope(request: httpx.Request) -> dict:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": request.url.query,
        "root_path": "",
        "scheme": "http",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }


def _count_499() -> float:
    labels = {"route": "/report", "code": "499"}
    return REGISTRY.get_sample_value("deepmedix_requests_total", labels) or 0.0


@pytest.mark.parametrize("announced", [True, False])
async def test_bodies_over_the_share_are_429_and_over_the_bound_503(
    make_app, engine, film, announced
):
    app = make_app(max_body_bytes=100_000, max_admitted_bytes=450_000, caller_share=0.5)
    body = film + b"\xff" * (90_000 - len(film))  # readers stop at the end of the image
    headers = {"Content-Type": "image/png"}

    async def pieces():
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    def content():
        return body if announced else pieces()

    async with running(app) as one, client_from(app, "192.0.2.2") as two:
        release = asyncio.Event()
        engine.say(Script(hold_after=2, release=release))
        engine.asked.clear()
        first = asyncio.create_task(one.post("/report", content=content(), headers=headers))
        await engine.asked.wait()
        assert "deepmedix_admitted_body_bytes 390000.0" in (await one.get("/metrics")).text
        own = await one.post("/report", content=content(), headers=headers)
        other = await two.post("/report", content=content(), headers=headers)
        assert (own.status_code, own.json()["code"]) == (429, "too-many-requests")
        assert (other.status_code, other.json()["code"]) == (503, "overloaded")
        assert int(other.headers["Retry-After"]) >= 1
        release.set()
        assert (await first).status_code == 200
        assert (await two.post("/report", content=content(), headers=headers)).status_code == 200
