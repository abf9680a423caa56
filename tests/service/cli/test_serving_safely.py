"""Where the service listens, over which transport, and what SIGHUP does."""

import asyncio
import json
import logging
import os
import signal
import socket
import ssl
import sys
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trustme
import uvicorn
from prometheus_client import REGISTRY
from typer.testing import CliRunner

import service.app
from service.api.connection import bounded_protocol
from service.api.handshake import REASONS, HandshakeFailures
from service.app import create_app
from service.audit import AddressPolicy
from service.cli import build_cli
from service.cli.exposure import check_bound, check_exposure, known_hosts
from service.cli.hangup import reload_on_hangup
from service.cli.transport import check_tls, harden, transport
from service.identity import KeyFile, Scope
from service.settings import Settings, SettingsError, load_settings
from tests.service.scripted_engine import ScriptedEngine

RUNNER = CliRunner()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", ""])
def test_without_authentication_other_machines_are_kept_out(host):
    with pytest.raises(SettingsError) as refused:
        check_exposure(Settings(host=host))
    for mend in ("deepmedix keys add", "OIDC_ISSUER", "127.0.0.1", "--insecure"):
        assert mend in str(refused.value)


@pytest.fixture
def _format(monkeypatch):
    """What ``serve`` tells the engine's processes of the log's format stays here."""
    monkeypatch.setenv("DEEPMEDIX_LOG_FORMAT", "auto")
    monkeypatch.setattr(sys, "warnoptions", [*sys.warnoptions])


@pytest.mark.usefixtures("_format")
def test_serve_refuses_before_it_starts_anything(monkeypatch):
    monkeypatch.setattr(service.app, "VllmEngine", lambda settings: pytest.fail("started"))
    result = RUNNER.invoke(
        build_cli(),
        ["serve", "--host", "0.0.0.0", "--port", "0", "--log-format", "console"],
    )
    assert isinstance(result.exception, SettingsError)


@pytest.mark.parametrize(
    "arguments", [["--host", "0.0.0.0"], ["--log-level", "loud"], ["--port", "70000"]]
)
@pytest.mark.usefixtures("_format")
def test_a_refusal_to_serve_is_a_line_of_the_log_where_nobody_looks_on(arguments):
    result = RUNNER.invoke(build_cli(), ["serve", *arguments])
    assert result.exit_code == 2
    told = json.loads(result.stderr.splitlines()[-1])
    assert told["level"] == "error"
    assert told["event"].startswith("the service could not start: ")


@pytest.mark.usefixtures("_format")
def test_so_is_one_of_settings_that_do_not_go_together(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPMEDIX_AUDIT_SITE_KEY", "k" * 32)
    monkeypatch.setenv("DEEPMEDIX_AUDIT_COLLECTOR", "http://collector.example")
    monkeypatch.setattr(
        "service.cli.serve.StartUp.begin", lambda self: None
    )  # signals are pytest's
    result = RUNNER.invoke(build_cli(), ["serve", "--port", "0"])
    assert result.exit_code == 2
    told = json.loads(result.stderr.splitlines()[-1])["event"]
    assert told.startswith("the service could not start: ")
    assert "AUDIT_COLLECTOR" in told


@pytest.mark.usefixtures("_format")
def test_a_port_that_is_taken_is_a_line_of_the_log(bound):
    taken = bound("127.0.0.1")
    taken.listen()
    port = str(taken.getsockname()[1])
    result = RUNNER.invoke(build_cli(), ["serve", "--port", port])
    assert result.exit_code == 1
    assert (
        f"cannot listen on 127.0.0.1 port {port}"
        in json.loads(result.stderr.splitlines()[-1])["event"]
    )


@pytest.mark.parametrize(
    "allowing",
    [
        {"insecure": True},
        {"keys_file": "keys.json"},
        {"oidc_issuer": "https://idp.example", "oidc_audience": "deepmedix"},
    ],
)
def test_with_authentication_or_when_told_they_are_let_in_with_a_warning(allowing, caplog):
    with caplog.at_level(logging.WARNING):
        check_exposure(Settings(host="0.0.0.0", **allowing))
    assert caplog.text


def test_a_client_certificate_does_not_stand_in_for_authentication():
    with pytest.raises(SettingsError):
        check_exposure(
            Settings(host="0.0.0.0", tls_certificate="c", tls_key="k", tls_client_ca="a")
        )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"oidc_issuer": "https://idp.example"}, "OIDC_AUDIENCE"),
        ({"tls_certificate": "c"}, "TLS_KEY"),
        ({"tls_client_ca": "c"}, "TLS_CERTIFICATE"),
        ({"audit_file": "a"}, "AUDIT_SITE_KEY"),
        ({"audit_site_key": "short"}, "32 characters"),
        ({"trusted_proxies": "*"}, "networks"),
        ({"oidc_leeway": 301}, "oidc_leeway"),
        ({"oidc_scopes": {"x": "write"}}, "oidc_scopes"),
        ({"oidc_scopes": {"read": "radiology-reader"}}, "each key must be a name of the issuer's"),
    ],
)
def test_settings_that_do_not_go_together_are_told(given, said):
    with pytest.raises(SettingsError, match=said) as refused:
        load_settings(**given)
    assert "short" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"oidc_algorithms": "RS256,HS256"}, "OIDC_ALGORITHMS"),
        ({"oidc_algorithms": "none"}, "OIDC_ALGORITHMS"),
        ({"oidc_issuer": "http://idp.example"}, "OIDC_ISSUER must begin with https"),
        ({"oidc_jwks_url": "http://idp.example"}, "OIDC_JWKS_URL"),
        ({"audit_collector": "http://fhir.example", "audit_site_key": "k" * 32}, "AUDIT_COLLECTOR"),
    ],
)
def test_what_could_be_forged_or_overheard_is_not_started_with(given, said):
    base = {"oidc_issuer": "https://idp.example", "oidc_audience": "deepmedix"}
    with pytest.raises(SettingsError, match=said):
        create_app(Settings(**{**base, **given}), engine=ScriptedEngine())


@pytest.fixture
def bound():
    """A function that binds a socket to a loopback address, or plays one of another machine's."""
    made = []

    def bind(address="127.0.0.1"):
        listener = socket.socket()
        made.append(listener)
        listener.bind(("127.0.0.1", 0))
        if address == "127.0.0.1":
            return listener
        return Elsewhere(listener, address)

    yield bind
    for listener in made:
        listener.close()


class Elsewhere:
    """A listener whose address is not the one that its name had a moment ago."""

    def __init__(self, listener, address):
        self._address = address
        self.close = listener.close
        self.is_closed = lambda: listener.fileno() == -1

    def getsockname(self):
        return self._address, 8000


def test_the_address_that_was_bound_counts_and_not_what_the_name_was_before(bound):
    moved = bound("192.168.1.7")
    with pytest.raises(SettingsError, match="keys add"):
        check_bound(Settings(host="localhost"), moved)
    assert moved.is_closed()
    check_bound(Settings(host="localhost"), bound())
    check_bound(Settings(host="localhost", insecure=True), bound("192.168.1.7"))
    check_bound(Settings(host="localhost", keys_file="keys.json"), bound("192.168.1.7"))


@pytest.mark.usefixtures("_format")
def test_serve_looks_at_the_address_before_it_starts_anything(monkeypatch, bound):
    moved = bound("192.168.1.7")
    monkeypatch.setattr("service.cli.serve._bind", lambda settings: moved)
    monkeypatch.setattr(service.app, "VllmEngine", lambda settings: pytest.fail("started"))
    result = RUNNER.invoke(build_cli(), ["serve", "--port", "0", "--log-format", "console"])
    assert isinstance(result.exception, SettingsError)


def test_only_an_open_service_on_loopback_asks_what_it_is_called(bound):
    hosts = known_hosts(Settings(host="Reader", allowed_hosts="a.example, b.example"), bound())
    for name in ("localhost", "127.0.0.1", "reader", "a.example", "b.example"):
        assert hosts.hold(name)
    assert not hosts.hold("c.example")
    assert known_hosts(Settings(keys_file="keys.json"), bound()) is None
    assert known_hosts(Settings(insecure=True), bound("192.168.1.7")) is None


class Certificates:
    """A certificate authority of the test's own, with the service's and a client's certificate."""

    def __init__(self, folder):
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        server, client = authority.issue_cert("localhost"), authority.issue_cert("client@test")
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        server.private_key_pem.write_to_path(self.key)
        for number, pem in enumerate(server.cert_chain_pems):
            pem.write_to_path(self.certificate, append=number > 0)
        self.client = folder / "client.pem"
        client.private_key_and_cert_chain_pem.write_to_path(self.client)

    def trusting(self, *, with_client=False, **how):
        context = ssl.create_default_context(cafile=self.ca)
        if with_client:
            context.load_cert_chain(self.client)
        for name, value in how.items():
            setattr(context, name, value)
        return httpx.AsyncClient(verify=context)

    def settings(self, **more):
        return Settings(tls_certificate=self.certificate, tls_key=self.key, **more)


@pytest.fixture
def certificates(tmp_path):
    return Certificates(tmp_path)


@asynccontextmanager
async def serving(settings, **parts):
    app = create_app(settings, engine=ScriptedEngine(), **parts)
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="on",
        http=bounded_protocol(settings),
        **transport(settings),
    )
    harden(config)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        await asyncio.wait_for(app.state.service.started.wait(), 60)
        yield app, listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def test_tls_is_spoken_from_1_2_on(certificates):
    settings = certificates.settings()
    check_tls(settings)
    async with serving(settings) as (_, port):
        url = f"https://localhost:{port}/livez"
        async with certificates.trusting() as client:
            assert (await client.get(url)).status_code == 200
        old = certificates.trusting(maximum_version=ssl.TLSVersion.TLSv1_1)
        async with old as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(url)
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"http://localhost:{port}/livez")


async def test_a_websocket_needs_credentials_and_is_recorded_like_any_request(tmp_path):
    file, trail = KeyFile(tmp_path / "keys.json"), tmp_path / "audit.jsonl"
    file.add("viewer", [Scope.READ])
    settings = Settings(keys_file=file.path, audit_file=trail, audit_site_key="k" * 32)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    async with serving(settings) as (_, port), httpx.AsyncClient() as client:
        reply = await client.get(f"http://127.0.0.1:{port}/report", headers=upgrade)
    assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
    assert reply.headers["X-Request-Id"] in trail.read_text()


async def test_with_client_authorities_a_client_without_certificate_gets_no_connection(
    certificates, tmp_path
):
    settings = certificates.settings(tls_client_ca=certificates.ca)
    check_tls(settings)
    (tmp_path / "other").mkdir()
    stranger = Certificates(tmp_path / "other")
    async with serving(settings) as (_, port):
        url = f"https://localhost:{port}/livez"
        async with certificates.trusting(with_client=True) as client:
            assert (await client.get(url)).status_code == 200
        async with certificates.trusting() as client:
            with pytest.raises(httpx.TransportError):
                await client.get(url)
        context = ssl.create_default_context(cafile=certificates.ca)
        context.load_cert_chain(stranger.client)
        async with httpx.AsyncClient(verify=context) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(url)


def handshake_failures():
    name = "deepmedix_tls_handshake_failures_total"
    found = {reason: REGISTRY.get_sample_value(name, {"reason": reason}) for reason in REASONS}
    assert None not in found.values()
    return found


def attempt(port, context=None, said=b""):
    """Speak TLS as the context has it, or say something else; until the service hangs up.

    Not with asyncio, which keeps to itself what it has against a certificate.
    """
    plain = socket.create_connection(("127.0.0.1", port), 20)
    with suppress(OSError), plain if context is None else context.wrap_socket(plain) as connection:
        connection.sendall(said)
        connection.recv(1024)
    plain.close()


class Heard(logging.Handler):
    """What a logger says, as it says it."""

    def __init__(self):
        super().__init__()
        self.lines = asyncio.Queue()

    def emit(self, record):
        self.lines.put_nowait(record.getMessage())


@pytest.mark.parametrize(
    ("client", "reason", "words"),
    [
        ("plain", "plain-http", "HTTP_REQUEST"),
        ("noise", "not-tls", "WRONG_VERSION_NUMBER"),
        ("old", "version", "UNSUPPORTED_PROTOCOL"),
        ("without", "no-certificate", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("stranger", "certificate", "CERTIFICATE_VERIFY_FAILED"),
        ("distrusting", "alert", "ALERT_UNKNOWN_CA"),
    ],
)
async def test_who_is_refused_by_tls_is_told_and_counted(
    certificates, tmp_path, caplog, client, reason, words
):
    caplog.set_level(logging.INFO, "deepmedix")
    (tmp_path / "other").mkdir()
    stranger = Certificates(tmp_path / "other")
    context, said = ssl.create_default_context(cafile=certificates.ca), b""
    context.check_hostname = False
    if client in ("plain", "noise"):
        context, said = None, b"GET /Smith HTTP/1.1\r\n\r\n" if client == "plain" else b"Smith" * 9
    elif client == "old":
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    elif client == "stranger":
        context.load_cert_chain(stranger.client)
    elif client == "distrusting":
        context = ssl.create_default_context(cafile=stranger.ca)
        context.check_hostname = False
    before, heard = handshake_failures(), Heard()
    settings = certificates.settings(tls_client_ca=certificates.ca, audit_addresses="prefix")
    logging.getLogger("deepmedix").addHandler(heard)
    try:
        async with serving(settings) as (_, port):
            await asyncio.to_thread(attempt, port, context, said)
            async with asyncio.timeout(20):
                while (line := await heard.lines.get())[:4] != "TLS ":
                    pass
    finally:
        logging.getLogger("deepmedix").removeHandler(heard)
    assert line.startswith(f"TLS with 127.0.0.0 failed: {reason} (")
    assert words in line
    assert "Smith" not in line
    now = handshake_failures()
    assert {it: now[it] - before[it] for it in now if now[it] != before[it]} == {reason: 1}


async def received(reader):
    data = await reader.read(65536)
    assert data, "the service hung up"
    return data


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(certificates):
    async with serving(certificates.settings()) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=certificates.ca)
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await received(reader))
        tls.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        writer.write(outgoing.read())  # the client's last words of the handshake, and the request
        answer = b""
        async with asyncio.timeout(20):
            while b"alive" not in answer:
                try:
                    answer += tls.read(65536)
                except ssl.SSLWantReadError:
                    incoming.write(await received(reader))
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_who_leaves_in_the_handshake_is_counted(certificates):
    before = handshake_failures()["left"]
    async with serving(certificates.settings()) as (_, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        async with asyncio.timeout(20):
            while handshake_failures()["left"] == before:
                await asyncio.sleep(0)


def test_of_many_failed_handshakes_one_line_a_second_is_written(caplog):
    now = [100.0]
    failures = HandshakeFailures(AddressPolicy.NONE, clock=lambda: now[0])
    error = ssl.SSLError(1, "x")
    with caplog.at_level(logging.INFO, "deepmedix"):
        for _ in range(5):
            failures.note("192.0.2.7", error)
        failures.note("192.0.2.7", None)  # a look at the port
        now[0] += 1
        failures.note("192.0.2.7", ConnectionAbortedError("SSL handshake is taking longer"))
    assert [record.getMessage() for record in caplog.records] == [
        "TLS with withheld failed: other (UNKNOWN)",
        "TLS with withheld failed: timeout; 4 others since the last such line",
    ]


def test_certificates_that_cannot_be_used_are_told(certificates, tmp_path):
    with pytest.raises(SettingsError, match="TLS_KEY"):
        check_tls(Settings(tls_certificate=tmp_path / "no.pem", tls_key=certificates.key))
    with pytest.raises(SettingsError, match="belong together"):
        check_tls(Settings(tls_certificate=certificates.ca, tls_key=certificates.key))
    with pytest.raises(SettingsError, match="TLS_CLIENT_CA"):
        check_tls(certificates.settings(tls_client_ca=tmp_path / "no.pem"))


@pytest.mark.parametrize(
    ("trusted", "believed"), [((), False), (("127.0.0.0/8",), True), (("10.0.0.1",), False)]
)
async def test_a_forwarded_address_is_believed_from_proxies_that_are_named(
    trusted, believed, tmp_path, monkeypatch
):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    trail = tmp_path / "audit.jsonl"
    settings = Settings(trusted_proxies=trusted, audit_file=trail, audit_site_key="k" * 32)
    async with serving(settings) as (_, port), httpx.AsyncClient() as client:
        await client.post(
            f"http://127.0.0.1:{port}/report", headers={"X-Forwarded-For": "203.0.113.9"}
        )
    assert ("203.0.113.9" in trail.read_text()) is believed


async def test_sighup_reads_the_keys_again_and_opens_the_audit_file_anew(tmp_path, caplog):
    file, trail = KeyFile(tmp_path / "keys.json"), tmp_path / "audit.jsonl"
    _, old = file.add("old", [Scope.READ])
    settings = Settings(keys_file=file.path, audit_file=trail, audit_site_key="k" * 32)
    before = signal.getsignal(signal.SIGHUP)
    async with serving(settings) as (app, port), httpx.AsyncClient() as client:
        reload_on_hangup(app)

        async def status(key):
            reply = await client.get(f"http://127.0.0.1:{port}/version", headers={"X-API-Key": key})
            return reply.status_code

        async def hang_up(said):
            caplog.clear()
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(20):
                while said not in caplog.text or "opened anew" not in caplog.text:
                    await asyncio.sleep(0.001)

        caplog.set_level(logging.INFO, logger="deepmedix")
        _, new = file.add("new", [Scope.READ])
        file.revoke("old")
        assert (await status(new), await status(old)) == (401, 200)
        trail.rename(tmp_path / "audit.jsonl.1")
        await hang_up("1 usable keys")
        assert trail.exists()
        assert (await status(new), await status(old)) == (200, 401)
        assert REGISTRY.get_sample_value("deepmedix_keys_stale") == 0
        kept = file.path.read_text()
        file.path.write_text("broken")
        await hang_up("stay as they were")
        assert "ERROR" in [record.levelname for record in caplog.records]
        assert REGISTRY.get_sample_value("deepmedix_keys_stale") == 1
        assert await status(new) == 200
        file.path.write_text(kept)
        await hang_up("1 usable keys")
        assert REGISTRY.get_sample_value("deepmedix_keys_stale") == 0
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
    signal.signal(signal.SIGHUP, before)
    lines = [json.loads(line) for line in trail.read_text().splitlines()]
    said = [line["event"] for line in lines if "event" in line]
    reloads = [event for event in said if "sighup" in event["outcomeDesc"]]
    assert [event["outcomeDesc"] for event in reloads] == [
        "200 on-sighup",
        "500 key-file-unusable on-sighup",
        "200 on-sighup",
    ]
    assert {event["subtype"][1]["code"] for event in reloads} == {"keys-reload"}
