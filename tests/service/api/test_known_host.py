"""Which names an open service on loopback answers to."""

import pytest

from service.api.known_host import KnownHosts
from tests.service.api.conftest import running


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8000",
        "localhost:",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.8.9.10",
        "[::1]",
        "[::1]:8000",
        "reader.example",
        "Reader.example:443",
    ],
)
def test_loopback_and_the_operators_names_are_known(host):
    assert KnownHosts(["Reader.Example"]).hold(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "rebound.example",
        "rebound.example:8000",
        "localhost.rebound.example",
        "127.0.0.1.rebound.example",
        "rebound.example@localhost",
        "localhost:80@rebound.example",
        "localhost, rebound.example",
        "0.0.0.0",
        "192.168.1.7",
        "[::]",
        "[::1",
        "::1]",
        "[fe80::1]:8000",
    ],
)
def test_any_other_host_is_not(host):
    assert not KnownHosts().hold(host)


async def test_a_request_for_another_host_is_refused_without_echo(make_app, engine, film):
    app = make_app()
    async with running(app) as client:
        before = len(engine.requests)
        app.state.known_hosts = KnownHosts(["test"])
        assert (await client.get("/livez")).status_code == 200
        for path in ("/report", "/livez", "/metrics", "/none"):
            reply = await client.post(
                path, files={"image": film}, headers={"Host": "rebound.example"}
            )
            assert (reply.status_code, reply.json()["code"]) == (421, "unknown-host")
            assert reply.json()["request_id"] == reply.headers["X-Request-Id"]
            assert "rebound" not in reply.text + str(reply.headers)
        assert len(engine.requests) == before


async def test_of_several_host_headers_each_must_be_known(make_app):
    app = make_app()
    async with running(app) as client:
        app.state.known_hosts = KnownHosts()
        twice = [("Host", "localhost"), ("Host", "rebound.example")]
        assert (await client.get("/livez", headers=twice)).status_code == 421


@pytest.mark.parametrize(
    "origin", ["https://elsewhere.example", "http://localhost.elsewhere.example", "null", "", "x"]
)
async def test_a_page_of_another_site_is_refused_without_echo(make_app, engine, film, origin):
    app = make_app()
    async with running(app) as client:
        app.state.known_hosts = KnownHosts(["test"])
        before = len(engine.requests)
        reply = await client.post("/report", files={"image": film}, headers={"Origin": origin})
        assert (reply.status_code, reply.json()["code"]) == (403, "cross-site")
        assert "elsewhere" not in reply.text + str(reply.headers)
        assert len(engine.requests) == before


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://test"])
async def test_a_page_of_a_known_host_may_ask(make_app, film, origin):
    app = make_app()
    async with running(app) as client:
        app.state.known_hosts = KnownHosts(["test"])
        reply = await client.post("/report", files={"image": film}, headers={"Origin": origin})
        assert reply.status_code == 200


async def test_with_credentials_any_page_may_ask(make_app, film):
    app = make_app()
    async with running(app) as client:
        app.state.known_hosts = None
        origin = {"Origin": "https://viewer.example"}
        assert (await client.post("/report", files={"image": film}, headers=origin)).is_success
