"""Requests that no route answers, and repeats, with an identity in each: see ``sentinels``."""

from __future__ import annotations

import base64
import socket
from pathlib import Path

import httpx

from service.identity import KeyFile, Scope
from tests.integration.sentinels import SENTINELS, dicom, laced

Replies = list[tuple[int, httpx.Response]]
"""Each with the status expected."""

_SECRET_LENGTH = 43
_HEAD_BYTES = 64 * 1024  # DEEPMEDIX_MAX_HEADER_BYTES as it is by default


class Keys:
    """A key file with a key for each scope."""

    def __init__(self, path: Path) -> None:
        self.path = path
        file = KeyFile(path)
        self.read = file.add("reader", [Scope.READ])[1]
        self.admin = file.add("operator", [Scope.ADMIN])[1]


def film(**headers: str) -> dict[str, dict]:
    """Arguments of a request with a film and these headers beside others."""
    files = {"image": (f"{SENTINELS['filename']}.dcm", dicom())}
    return {"files": files, "headers": laced() | headers}


def repeats(client: httpx.Client) -> Replies:
    """Repeat requests by their key: replayed, refused as another's, refused while in flight."""
    key = {"Idempotency-Key": f"{SENTINELS['idempotency']}-again"}
    bad = {"Idempotency-Key": f"{SENTINELS['idempotency']} again"}
    question = {"question": SENTINELS["question"]}
    kept, replayed = [client.post("/render", **film(**key)) for _ in range(2)]
    assert replayed.headers["Idempotency-Replayed"] == "true"
    return [
        (200, kept),
        (200, replayed),
        (422, client.post("/vqa", data=question, **film(**key))),
        (422, client.post(f"/render?frame={SENTINELS['query']}", **film(**key))),
        (409, _in_flight(client)),
        (400, client.post("/render", **film(**bad))),
    ]


def _in_flight(client: httpx.Client) -> httpx.Response:
    """Ask with the key of a request whose body has yet to come."""
    key = {"Idempotency-Key": f"{SENTINELS['idempotency']}-early"}
    headers = {name: value for name, value in client.headers.items() if name == "x-api-key"}
    headers |= laced() | key | {"Host": client.base_url.netloc.decode(), "Expect": "100-continue"}
    headers |= {"Content-Type": "application/dicom", "Content-Length": "9000"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with _connected(str(client.base_url)) as first:
        first.sendall(f"POST /render HTTP/1.1\r\n{lines}\r\n".encode())
        assert first.recv(100).startswith(b"HTTP/1.1 100 ")  # it is being read
        return client.post("/render", **film(**key))


def malformed_heads(url: str) -> Replies:
    """Send what is no HTTP, or too much of it, and what only looks like a request."""
    name = SENTINELS["requestline"]
    long = f"{name}{'x' * _HEAD_BYTES}"
    heads = {
        f"GET /{name} {name} HTTP/1.1\r\nHost: localhost\r\n\r\n": 400,
        f"{name} / HTTP/1.1\r\nHost: localhost\r\n\r\n": 501,
        f"GET /livez HTTP/1.1\r\nHost: localhost\r\n{name} {name}\r\n\r\n": 400,
        f"GET /livez?q={name} HTTP/{name}\r\n\r\n": 400,
        f"GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n": 431,
        f"GET /{name} HTTP/1.1\r\nHost: localhost\r\nX-Patient: {long}\r\n\r\n": 431,
    }
    return [(status, _exchange(url, head.encode())) for head, status in heads.items()]


def _exchange(url: str, head: bytes) -> httpx.Response:
    with _connected(url) as connection:
        connection.sendall(head)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    top, _, body = answer.partition(b"\r\n\r\n")
    line, *headers = top.decode("latin-1").split("\r\n")
    return httpx.Response(
        int(line.split()[1]),
        headers=[
            (name, value) for name, _, value in (header.partition(": ") for header in headers)
        ],
        content=body,
        request=httpx.Request("GET", url),
    )


def _connected(url: str) -> socket.socket:
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=300)


def unknown_hosts(client: httpx.Client) -> Replies:
    """Address a service without keys as another host."""
    host = {"Host": f"{SENTINELS['host']}.example"}
    return [
        (421, client.post("/report", **film(**host))),
        (421, client.get(f"/livez?q={SENTINELS['query']}", headers=laced() | host)),
        (403, client.post("/report", **film(Origin=f"https://{SENTINELS['host']}.example"))),
    ]


def refused_credentials(url: str, keys: Keys, max_body_bytes: int) -> Replies:
    """Ask a service with keys as somebody whom it does not know, or who may not do it."""
    s = SENTINELS
    path, query = f"/{s['path']}", f"?q={s['query']}"
    secret = s["apikey"].ljust(_SECRET_LENGTH, "A")
    basic = base64.b64encode(f"{s['authorization']}:x".encode()).decode()
    strangers = [
        {},
        {"Authorization": s["authorization"]},
        {"Authorization": f"Bearer {s['authorization']}"},
        {"Authorization": f"Basic {basic}"},
        {"X-API-Key": s["apikey"]},
        {"X-API-Key": f"dmx_{'0' * 12}_{secret}"},
        {"X-API-Key": keys.read[:-_SECRET_LENGTH] + secret},
    ]
    several = {"Authorization": f"Bearer {s['authorization']}", "X-API-Key": s["apikey"]}
    reader, operator = {"X-API-Key": keys.read}, {"Authorization": f"Bearer {keys.admin}"}
    reload = f"/admin/keys/reload{query}"
    with httpx.Client(base_url=url, timeout=300) as client:
        replies = []
        for status, refused in [(401, stranger) for stranger in strangers] + [(400, several)]:
            headers = laced() | refused
            replies += [
                (status, client.post(f"/report{query}", **film(**refused))),
                (status, client.post(reload, headers=headers)),
                (status, client.get(f"/version{query}", headers=headers)),
                (status, client.get(path, headers=headers)),
            ]
        replies += [
            (403, client.post("/report", **film(**operator))),
            (403, client.post(reload, headers=laced() | reader)),
            (404, client.get(path, headers=laced() | reader)),
            (405, client.get(reload, headers=laced() | operator)),
            (413, client.post(reload, content=bytes(max_body_bytes + 1), headers=operator)),
            (200, client.post(reload, content=s["wrongvalue"], headers=laced() | operator)),
        ]
        kept = keys.path.read_text()
        keys.path.write_text("{")
        replies.append((500, client.post(reload, headers=laced() | operator)))
        keys.path.write_text(kept)
        replies.append((200, client.get(f"/version{query}", headers=laced() | reader)))
    return replies
