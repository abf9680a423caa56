"""The images' health check against a server that says what a test told it to."""

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from service.health_check import main


class Server(HTTPServer):
    status = 200
    asked: str | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked = self.path
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[tuple[Server, threading.Thread]] = []

    def begin(context: ssl.SSLContext | None = None) -> Server:
        server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return server

    yield begin
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "told"), [(200, 0), (503, 1)])
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_it_passes_when_the_service_is_ready(serve, monkeypatch, host, status, told) -> None:
    server = serve()
    server.status = status
    monkeypatch.setenv("DEEPMEDIX_HOST", host)
    monkeypatch.setenv("DEEPMEDIX_PORT", str(server.server_port))
    assert main() == told
    assert server.asked == "/readyz"


def test_it_asks_at_the_port_of_the_file(serve, monkeypatch, tmp_path: Path) -> None:
    server = serve()
    (tmp_path / "here.toml").write_text(f"port = {server.server_port}\n")
    monkeypatch.setenv("DEEPMEDIX_CONFIG", str(tmp_path / "here.toml"))
    assert main() == 0


def test_it_asks_over_tls_whatever_the_certificates_name(
    serve, monkeypatch, tmp_path: Path
) -> None:
    certificate = trustme.CA().issue_cert("reader.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = serve(context)
    for name in ("CERTIFICATE", "KEY"):
        monkeypatch.setenv(f"DEEPMEDIX_TLS_{name}", str(tmp_path / name))
    monkeypatch.setenv("DEEPMEDIX_PORT", str(server.server_port))
    assert main() == 0


def test_it_says_why_it_fails(serve, monkeypatch, capsys) -> None:
    server = serve()
    server.status = 503
    monkeypatch.setenv("DEEPMEDIX_PORT", str(server.server_port))
    assert main() == 1
    assert "503" in capsys.readouterr().err
    monkeypatch.setenv("DEEPMEDIX_PORT", "many")
    assert main() == 1
    assert "DEEPMEDIX_PORT" in capsys.readouterr().err
    monkeypatch.setenv("DEEPMEDIX_PORT", "1")
    assert main() == 1
    assert capsys.readouterr().err
