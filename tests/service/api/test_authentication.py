import asyncio
import time

import httpx
import pytest
from prometheus_client import REGISTRY

from service.api.authentication import needed_scope
from service.identity import KeyFile, Scope
from tests.service.api.conftest import running
from tests.service.api.test_server import serving
from tests.service.identity_provider import AUDIENCE, providing


class Keys:
    def __init__(self, path):
        self.file = KeyFile(path)
        self.reader = self.file.add("reader", [Scope.READ])[1]
        self.admin = self.file.add("operator", [Scope.ADMIN])[1]


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys.json")


@pytest.fixture
def provider():
    with providing() as provider:
        yield provider


def bearer(credential):
    return {"Authorization": f"Bearer {credential}"}


async def report(client, film, headers=None):
    return await client.post("/report", files={"image": film}, headers=headers)


async def test_without_keys_or_tokens_everyone_may_read_and_nobody_administer(client, film):
    assert (await report(client, film)).status_code == 200
    reply = await client.post("/admin/keys/reload")
    assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("path", ["/report", "/vqa", "/render", "/version", "/nowhere", "/readyz/"])
async def test_what_is_not_open_needs_a_credential(make_app, keys, path):
    async with running(make_app(keys_file=keys.file.path)) as client:
        reply = await client.post(path)
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="deepmedix"'
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["request_id"] == reply.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json"])
async def test_probes_metrics_and_the_reference_are_open(make_app, keys, path):
    async with running(make_app(keys_file=keys.file.path)) as client:
        assert (await client.get(path)).status_code == 200


async def test_metrics_may_be_closed(make_app, keys):
    async with running(make_app(keys_file=keys.file.path, metrics_public=False)) as client:
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers=bearer(keys.reader))).status_code == 403
        assert (await client.get("/metrics", headers=bearer(keys.admin))).status_code == 200


async def test_a_key_comes_as_bearer_or_in_its_own_header(make_app, keys, film):
    async with running(make_app(keys_file=keys.file.path)) as client:
        for headers in (
            bearer(keys.reader),
            {"authorization": f"bearer  {keys.reader} "},
            {"X-API-Key": keys.reader},
        ):
            assert (await report(client, film, headers)).status_code == 200


async def test_no_reply_tells_why_a_key_is_refused(make_app, keys):
    wrong = keys.reader[:-1] + ("A" if keys.reader[-1] != "A" else "B")
    revoked = keys.file.add("gone", [Scope.READ])[1]
    keys.file.revoke("gone")
    unknown = "dmx_" + "0" * 12 + keys.reader[16:]
    async with running(make_app(keys_file=keys.file.path)) as client:
        replies = [
            await client.get("/version", headers=headers)
            for headers in (
                *map(bearer, (wrong, revoked, unknown, "dmx_", "a.b.c", "x")),
                {"X-API-Key": wrong},
                {"X-API-Key": "a.b.c"},
            )
        ]
    seen = set()
    for reply in replies:
        body = reply.json()
        del body["request_id"]
        seen.add((reply.status_code, str(body), reply.headers["WWW-Authenticate"]))
    assert len(seen) == 1
    assert 'error="invalid_token"' in seen.pop()[2]


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer x"), ("X-API-Key", "x")],
        [("Authorization", "Bearer x"), ("Authorization", "Bearer x")],
        [("X-API-Key", "x"), ("X-API-Key", "y")],
    ],
)
async def test_two_credentials_are_one_too_many(make_app, keys, headers):
    async with running(make_app(keys_file=keys.file.path)) as client:
        reply = await client.get("/version", headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (400, "ambiguous-credentials")
    assert 'error="invalid_request"' in reply.headers["WWW-Authenticate"]


@pytest.mark.parametrize("value", ["Basic eDp5", "Bearer", "Bearer ", "dmx_x", ""])
async def test_another_scheme_is_no_credential(make_app, keys, value):
    async with running(make_app(keys_file=keys.file.path)) as client:
        reply = await client.get("/version", headers={"Authorization": value})
        assert reply.status_code == 401
        query = await client.get(f"/version?access_token={keys.reader}")
        assert query.status_code == 401


async def test_a_scope_does_not_contain_the_other(make_app, keys, film):
    async with running(make_app(keys_file=keys.file.path)) as client:
        reply = await report(client, film, bearer(keys.admin))
        assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
        challenge = reply.headers["WWW-Authenticate"]
        assert 'error="insufficient_scope", scope="read"' in challenge
        assert (
            await client.post("/admin/keys/reload", headers=bearer(keys.reader))
        ).status_code == 403


async def test_keys_are_reloaded_by_an_administrator(make_app, keys):
    async with running(make_app(keys_file=keys.file.path)) as client:
        new = keys.file.add("new", [Scope.READ])[1]
        keys.file.revoke("reader")
        assert (await client.get("/version", headers=bearer(new))).status_code == 401
        reply = await client.post("/admin/keys/reload", headers=bearer(keys.admin))
        assert reply.json() == {"usable_keys": 2}
        assert (await client.get("/version", headers=bearer(new))).status_code == 200
        assert (await client.get("/version", headers=bearer(keys.reader))).status_code == 401


async def test_a_broken_key_file_leaves_the_keys_in_force(make_app, keys, caplog):
    async with running(make_app(keys_file=keys.file.path)) as client:
        keys.file.path.write_text("{")
        reply = await client.post("/admin/keys/reload", headers=bearer(keys.admin))
        assert (reply.status_code, reply.json()["code"]) == (500, "key-file-unusable")
        assert "stay as they were" in caplog.text
        assert (await client.get("/version", headers=bearer(keys.reader))).status_code == 200


async def test_tokens_stand_alone_and_beside_keys(make_app, keys, provider, film):
    oidc = {"oidc_issuer": provider.issuer, "oidc_audience": AUDIENCE}
    async with running(make_app(**oidc)) as client:
        assert (await report(client, film, bearer(provider.token()))).status_code == 200
        assert (await report(client, film, bearer(keys.reader))).status_code == 401
        assert (await report(client, film, bearer(provider.token(scope="")))).status_code == 403
        stale = provider.token(exp=int(time.time()) - 3600)
        assert (await report(client, film, bearer(stale))).status_code == 401
        as_key = await client.get("/version", headers={"X-API-Key": provider.token()})
        assert as_key.status_code == 401
    async with running(make_app(**oidc, keys_file=keys.file.path)) as client:
        for credential in (provider.token(), keys.reader):
            assert (await report(client, film, bearer(credential))).status_code == 200


async def test_a_provider_that_is_down_is_503_for_tokens_and_nothing_for_keys(
    make_app, keys, provider
):
    provider.down = True
    oidc = {"oidc_issuer": provider.issuer, "oidc_audience": AUDIENCE}
    app = make_app(**oidc, keys_file=keys.file.path)
    now = [100.0]
    app.state.authenticator._tokens._keys._clock = lambda: now[0]
    async with running(app) as client:
        for now[0], told in ((100.0, "30"), (111.5, "19")):  # until the provider is asked again
            reply = await client.get("/version", headers=bearer(provider.token()))
            assert (reply.status_code, reply.json()["code"]) == (503, "identity-unavailable")
            assert reply.headers["Retry-After"] == told
        assert (await client.get("/version", headers=bearer(keys.reader))).status_code == 200


async def test_readings_that_fail_for_want_of_the_providers_keys_are_counted_as_such(
    make_app, provider, film
):
    provider.down = True
    labels = {"route": "/report", "code": "503"}
    before = REGISTRY.get_sample_value("deepmedix_requests_total", labels)
    async with running(make_app(oidc_issuer=provider.issuer, oidc_audience=AUDIENCE)) as client:
        reply = await report(client, film, bearer(provider.token()))
    assert (reply.status_code, reply.json()["code"]) == (503, "identity-unavailable")
    assert REGISTRY.get_sample_value("deepmedix_requests_total", labels) == before + 1


async def test_refusals_are_counted_by_nothing_finer_than_their_kind(make_app, keys):
    def counted(reason):
        name = "deepmedix_refused_credentials_total"
        return REGISTRY.get_sample_value(name, {"reason": reason}) or 0

    before = {reason: counted(reason) for reason in ("missing", "invalid", "scope", "ambiguous")}
    async with running(make_app(keys_file=keys.file.path)) as client:
        await client.get("/version")
        await client.get("/version", headers=bearer("dmx_x"))
        await client.get("/version", headers=bearer(keys.admin))
        await client.get("/version", headers={"X-API-Key": "x", **bearer("x")})
    assert {reason: counted(reason) - n for reason, n in before.items()} == dict.fromkeys(before, 1)


async def test_a_stranger_is_refused_before_the_body_is_read(make_app, keys):
    """On a real server: the headers alone are sent, the body never."""
    async with serving(make_app(keys_file=keys.file.path)) as url:
        address = httpx.URL(url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(
            b"POST /report HTTP/1.1\r\nHost: test\r\nContent-Type: image/png\r\n"
            b"Content-Length: 50000000\r\n\r\n"
        )
        async with asyncio.timeout(20):
            assert b" 401 " in await reader.readline()
        writer.close()


async def test_a_name_that_leads_elsewhere_opens_nothing(make_app, keys):
    async with serving(make_app(keys_file=keys.file.path)) as url, httpx.AsyncClient() as client:
        for path in ("//report", "/livez/../report", "/docs/assets/../../version", "/%2e/version"):
            reply = await client.post(httpx.URL(url).copy_with(raw_path=path.encode()))
            assert reply.status_code in (401, 404, 405), path
            assert "manifest" not in reply.text


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/livez", None), ("/docs/assets/swagger-ui.css", None), ("/metrics", None),
        ("/docs/assets", "read"), ("/report", "read"), ("/Livez", "read"), ("/", "read"),
        ("/admin", "admin"), ("/admin/keys/reload", "admin"), ("/administration", "read"),
    ],
)  # fmt: skip
def test_every_path_needs_what_it_needs(path, scope):
    assert needed_scope(path, metrics_public=True) == scope
