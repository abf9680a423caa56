"""An OpenID Connect provider on a loopback port, with keys that a test can change."""

from __future__ import annotations

import base64
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "deepmedix"


class IdentityProvider:
    """Signs tokens, and serves the public keys of those it signs with."""

    def __init__(self, address: str) -> None:
        self.issuer = address
        self.private: dict[str, object] = {}
        self.published: list[dict] = []
        self.down = False
        self.asked = 0
        self.padding = ""
        self.keys_path = "/keys"
        self.answering = threading.Event()  # while it is not set, an answer does not come
        self.answering.set()

    def add_key(self, kid: str, kind: str = "RSA", *, publish: bool = True, **members) -> None:
        if kind == "RSA":
            key = _RSA
            algorithm = jwt.algorithms.RSAAlgorithm
        elif kind == "EC":
            key = ec.generate_private_key(ec.SECP256R1())
            algorithm = jwt.algorithms.ECAlgorithm
        else:
            key = ed25519.Ed25519PrivateKey.generate()
            algorithm = jwt.algorithms.OKPAlgorithm
        self.private[kid] = key
        if publish:
            entry = algorithm.to_jwk(key.public_key(), as_dict=True)
            self.published.append({**entry, "kid": kid, "use": "sig", **members})

    def token(self, kid: str = "one", algorithm: str = "RS256", *, headers=None, **claims) -> str:
        now = int(time.time())
        content = {
            "iss": self.issuer, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300,
            "scope": "openid read", **claims,
        }  # fmt: skip
        content = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(
            content, self.private[kid], algorithm, headers={"kid": kid, **(headers or {})}
        )


# One key for all: making one takes a while.
_RSA = rsa.generate_private_key(65537, 2048)


@contextmanager
def providing():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            provider.asked += 1
            provider.answering.wait()
            documents = {
                "/.well-known/openid-configuration": {
                    "issuer": provider.issuer, "jwks_uri": f"{provider.issuer}{provider.keys_path}",
                },
                provider.keys_path: {"keys": provider.published, "padding": provider.padding},
            }  # fmt: skip
            document = documents.get(self.path)
            self.send_response(503 if provider.down else 200 if document else 404)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = IdentityProvider(f"http://127.0.0.1:{server.server_port}")
    provider.add_key("one")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        provider.answering.set()
        server.shutdown()
        thread.join()
        server.server_close()


def forged(header: dict, claims: dict, signature: bytes = b"") -> str:
    """A token with any header, signed or not."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
