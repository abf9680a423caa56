import io
import json
import logging
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI, Request
from prometheus_client import REGISTRY

from service.api.handlers import add_handlers
from service.api.known_host import KnownHosts
from service.api.metrics import OUTCOMES, outcome_of
from service.api.middleware import RequestRecord
from service.api.problems import ClientDisconnectedError, too_many_requests
from service.identity import KeyFile, Scope
from service.telemetry import LogFormat
from service.telemetry.logs import LogHandler
from tests.service.api.conftest import running

SECRET = "Mrs Smith born 1950"


@pytest.fixture
def client():
    app = FastAPI(openapi_url=None)

    @app.get("/fine")
    async def fine(request: Request):
        return {"id": request.state.request_id}

    @app.get("/broken")
    async def broken():
        raise RuntimeError(SECRET)

    @app.get("/known")
    async def known(request: Request):
        request.state.principal = SimpleNamespace(name="ris")
        logging.getLogger("deepmedix").warning("at work")

    @app.get("/full")
    async def full():
        raise too_many_requests(9)

    @app.get("/gone")
    async def gone():
        raise ClientDisconnectedError

    @app.get("/typed")
    async def typed(number: int):
        return number

    add_handlers(app)
    app.add_middleware(RequestRecord)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def count(route: str, code: str) -> float:
    labels = {"route": route, "code": code}
    return REGISTRY.get_sample_value("deepmedix_requests_total", labels) or 0.0


async def test_every_reply_has_an_id_and_is_not_to_be_stored(client):
    reply = await client.get("/fine")
    assert reply.headers["X-Request-Id"] == reply.json()["id"]
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Security-Policy"] == "frame-ancestors 'none'"


@pytest.mark.parametrize(
    "given",
    [
        "0d9f1c1e-5a0b-4a0f-b2f4-c9f0a1b2c3d4",
        "0D9F1C1E-5A0B-4A0F-B2F4-C9F0A1B2C3D4",
        "0d9f1c1e5a0b4a0fb2f4c9f0a1b2c3d4",
    ],
)
async def test_a_callers_id_is_kept_when_it_can_hold_no_name(client, given):
    assert (await client.get("/fine", headers={"X-Request-Id": given})).json() == {"id": given}


@pytest.mark.parametrize(
    "given",
    [
        SECRET,
        "19500214-0012345678",
        "1950-02-14-0012345678",
        "19500214001234567800000000000000",
        "19500214-0012-3456-7800-000000000000",
        "19500214-0012345678-feed",
        "0d9f1c1e-5a0b4a0fb2f4c9f0a1b2c3d4",
        "0d9f1c1e5a0b4a0fb2f4c9f0a1b2c3d4e5",
        "0d9f1c1e5a0b4a0f",
        "",
    ],
)
async def test_any_other_id_is_replaced_by_one_of_ours(client, caplog, given):
    with caplog.at_level(logging.DEBUG):
        reply = await client.get("/fine", headers={"X-Request-Id": given})
    ours = reply.json()["id"]
    assert reply.headers["X-Request-Id"] == ours != given
    assert len(ours) == 32
    if given:
        assert given not in str(reply.headers) + reply.text + caplog.text


async def test_an_unforeseen_error_is_500_without_its_text(client, caplog):
    with caplog.at_level(logging.DEBUG):
        reply = await client.get("/broken")
    assert (reply.status_code, reply.json()["code"]) == (500, "internal-error")
    assert "Smith" not in reply.text + caplog.text
    assert "RuntimeError at" in caplog.text
    assert reply.json()["request_id"] in caplog.text


async def test_a_full_queue_says_when_to_come_back(client):
    reply = await client.get("/full")
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "9")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"/{SECRET}", 404, "not-found"),
        ("POST", "/fine", 405, "method-not-allowed"),
        ("GET", f"/typed?number={SECRET}", 422, "invalid-field"),
    ],
)
async def test_the_frameworks_own_errors_are_problems_too(client, method, path, status, code):
    reply = await client.request(method, path)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert "Smith" not in reply.text


async def test_a_refused_method_says_which_are_allowed(client):
    assert (await client.post("/fine")).headers["Allow"] == "GET, HEAD"


async def test_requests_are_counted_by_route_and_code(client):
    before = count("/fine", "200"), count("unmatched", "404")
    await client.get(f"/fine?patient={SECRET}")
    await client.get(f"/{SECRET}")
    assert (count("/fine", "200"), count("unmatched", "404")) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "rebound.example"}, "421"),
        ({}, "401"),
        ({"X-API-Key": "reader", "Content-Length": "2000"}, "413"),
        ({"X-API-Key": "reader", "Content-Length": "9" * 5000}, "413"),
    ],
)
async def test_what_a_layer_refuses_before_the_routing_is_counted_under_the_route_asked_for(
    make_app, tmp_path, lines, headers, status
):
    file = KeyFile(tmp_path / "keys.json")
    _, key = file.add("reader", [Scope.READ])
    if "X-API-Key" in headers:
        headers = headers | {"X-API-Key": key}
    app = make_app(keys_file=file.path, max_body_bytes=1024)
    async with running(app) as client:
        app.state.known_hosts = KnownHosts(["test"])
        before = count("/report", status), count("unmatched", status)
        for path in ("/report", f"/{SECRET}"):
            reply = await client.post(path, content=bytes(2000), headers=headers)
            assert reply.status_code == int(status)
    assert (count("/report", status), count("unmatched", status)) == (before[0] + 1, before[1] + 1)
    access = [line["route"] for line in lines() if line["logger"] == "deepmedix.access"]
    assert access == ["/report", "unmatched"]


async def test_a_length_may_have_any_number_of_leading_zeros(make_app):
    async with running(make_app()) as client:
        reply = await client.get("/livez", headers={"Content-Length": "0" * 5000})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("status", "problem", "outcome"),
    [
        (200, None, "answered"),
        (401, "unauthenticated", "refused"),
        (408, "body-timeout", "refused"),
        (429, "too-many-requests", "refused"),
        (499, None, "left"),
        (500, "internal-error", "failed"),
        (503, None, "failed"),
        (503, "engine-unavailable", "failed"),
        (503, "start-failed", "failed"),
        (503, "audit-unavailable", "failed"),
        (503, "decode-worker-died", "failed"),
        (503, "not-ready", "refused"),
        (503, "overloaded", "refused"),
        (503, "shutting-down", "refused"),
        (504, "deadline-exceeded", "late"),
    ],
)
def test_what_came_of_a_request_is_told_by_its_status_and_its_problem(status, problem, outcome):
    assert outcome_of(status, problem) == outcome
    assert outcome in OUTCOMES


@pytest.mark.parametrize(
    ("path", "outcome"), [("/fine", "answered"), ("/full", "refused"), ("/broken", "failed")]
)
async def test_times_are_kept_apart_by_what_came_of_the_request(client, path, outcome):
    def times() -> dict[str, float]:
        return {
            it: REGISTRY.get_sample_value(
                "deepmedix_request_seconds_count", {"route": path, "outcome": it}
            )
            or 0
            for it in OUTCOMES
        }

    before = times()
    await client.get(path)
    assert times() == before | {outcome: before[outcome] + 1}


async def test_a_caller_that_left_is_counted_as_499(client):
    before = count("/gone", "499")
    with pytest.raises(AssertionError):  # the test transport misses the reply nobody waits for
        await client.get("/gone")
    assert count("/gone", "499") == before + 1


async def test_the_access_log_leaves_out_the_query(client, caplog):
    with caplog.at_level(logging.INFO, logger="deepmedix.access"):
        await client.get(f"/fine?indication={SECRET}")
    assert "GET /fine 200" in caplog.text
    assert "Smith" not in "".join(r.getMessage() for r in caplog.records if "access" in r.name)


@pytest.fixture
def lines():
    """A function that gives what has been logged, as the service writes it."""
    out = io.StringIO()
    handler = LogHandler(LogFormat.JSON, stream=out)
    logger = logging.getLogger("deepmedix")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_the_access_line_holds_the_facts_of_a_request(client, lines):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    reply = await client.get("/known", headers={"traceparent": parent})
    at_work, access = lines()
    ids = {
        "request_id": reply.headers["X-Request-Id"],
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    assert at_work.items() >= {"event": "at work", **ids}.items()
    facts = {"method": "GET", "route": "/known", "status": 200, "caller": "ris", **ids}
    assert access.items() >= facts.items()
    assert access["seconds"] >= 0
    assert reply.headers["traceresponse"].startswith(f"00-{ids['trace_id']}-")


@pytest.mark.parametrize(("method", "told"), [("PUT", "PUT"), ("BREW", "_OTHER")])
async def test_a_method_that_is_none_of_https_is_not_repeated(client, lines, method, told):
    await client.request(method, "/fine")
    assert [line["method"] for line in lines()] == [told]


async def test_the_access_line_names_the_problem(client, lines):
    await client.get("/full")
    assert [line["code"] for line in lines()] == ["too-many-requests"]


async def test_a_request_without_a_valid_trace_begins_its_own(client):
    headers = {"traceparent": SECRET}
    traces = [(await client.get("/fine", headers=headers)).headers["traceresponse"] for _ in "ab"]
    assert len({trace.split("-")[1] for trace in traces}) == 2
    assert "Smith" not in str(traces)
