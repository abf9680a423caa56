"""The TLS handshake before any HTTP, so that those that fail leave a trace.

Asyncio's own server says nothing of a handshake that failed, in a log or to its protocol. So the
port takes plain connections, and each is made one of TLS here (``loop.start_tls``) before HTTP gets
it. Nothing that a client sent is told: OpenSSL's words for what went wrong, and the address.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from prometheus_client import Counter

from service.audit import AddressPolicy, kept_address

LOG = logging.getLogger("deepmedix")

REASONS = (
    "plain-http",
    "not-tls",
    "version",
    "cipher",
    "no-certificate",
    "certificate",
    "alert",
    "timeout",
    "left",
    "other",
)
"""What a handshake may fail for."""

FAILURES = Counter(
    "deepmedix_tls_handshake_failures_total",
    "Connections that ended before TLS stood, by what was wrong.",
    ["reason"],
)

_OPENSSL = {
    "HTTP_REQUEST": "plain-http",
    "HTTPS_PROXY_REQUEST": "plain-http",
    "WRONG_VERSION_NUMBER": "not-tls",  # of the first record, which is none
    "UNSUPPORTED_PROTOCOL": "version",
    "NO_SHARED_CIPHER": "cipher",
    "NO_SUITABLE_KEY_SHARE": "cipher",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "cipher",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no-certificate",
    "CERTIFICATE_VERIFY_FAILED": "certificate",
}
_PAUSE = 1.0
"""Seconds from one line to the next: whoever can reach the port could else fill the log."""


class HandshakeFailures:
    """Counts the handshakes that fail, and tells of one a second.

    Parameters
    ----------
    addresses
        How much of a client's address is told.
    clock
        Seconds that never run backwards.
    """

    def __init__(
        self,
        addresses: AddressPolicy = AddressPolicy.FULL,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._addresses = addresses
        self._clock = clock
        self._told_at: float | None = None
        self._untold = 0

    def note(self, address: str | None, error: Exception | None) -> None:
        """Take note of one; without an error, the client just left."""
        reason, words = _reason(error)
        FAILURES.labels(reason=reason).inc()
        now = self._clock()
        if reason == "left":  # as every look of a load balancer at whether the port is open
            LOG.debug("%s left before TLS stood", kept_address(address, self._addresses))
        elif self._told_at is not None and now - self._told_at < _PAUSE:
            self._untold += 1
        else:
            others = f"; {self._untold} others since the last such line" if self._untold else ""
            who = kept_address(address, self._addresses)
            LOG.info("TLS with %s failed: %s%s%s", who, reason, words, others)
            self._told_at, self._untold = now, 0


def _reason(error: Exception | None) -> tuple[str, str]:
    """Return one of ``REASONS``, and OpenSSL's own words where it has some."""
    if isinstance(error, ConnectionAbortedError):  # asyncio's limit on a handshake
        return "timeout", ""
    if error is not None and not isinstance(error, OSError):
        return "other", f" ({type(error).__name__})"
    if not isinstance(error, ssl.SSLError) or isinstance(
        error, ssl.SSLEOFError | ssl.SSLZeroReturnError
    ):
        return "left", ""
    name = getattr(error, "reason", None) or "UNKNOWN"
    # An alert is what the client says, of our certificate for one.
    reason = _OPENSSL.get(name, "alert" if "_ALERT_" in name else "other")
    more = getattr(error, "verify_message", None)
    return reason, f" ({name}, {more})" if more else f" ({name})"


class TlsHandshake(asyncio.Protocol):
    """One connection until its TLS stands; then it is handed to HTTP.

    Parameters
    ----------
    context
        Certificate, authorities and versions.
    failures
        Is told of a handshake that fails.
    http
        Makes the protocol that goes on.
    options
        What that is made with.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        failures: HandshakeFailures,
        http: Callable[..., asyncio.Protocol],
        **options: Any,
    ) -> None:
        self._context = context
        self._failures = failures
        self._make_http = partial(http, **options)
        self._patience = getattr(http, "header_timeout", None)
        self._early: list[bytes] = []  # may come before we know that the handshake is over
        self._work: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self._work = asyncio.get_running_loop().create_task(self._shake_hands(transport))

    def data_received(self, data: bytes) -> None:
        """Keep what came in the same breath as the handshake's end."""
        self._early.append(data)

    async def _shake_hands(self, plain: asyncio.Transport) -> None:
        peer = plain.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) and peer else None
        try:
            secure = await asyncio.get_running_loop().start_tls(
                plain,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._patience,
            )
        except Exception as error:  # OpenSSL's, and what Python makes of an odd certificate
            self._failures.note(address, error)
            return
        if secure is None:
            self._failures.note(address, None)
            return
        try:
            http = self._make_http()
            secure.set_protocol(http)
            http.connection_made(secure)
            for data in self._early:
                http.data_received(data)
            self._early.clear()
        except BaseException:
            secure.abort()
            raise


def shake_hands_first(config: uvicorn.Config) -> None:
    """Have a server's TLS begin here; its configuration must be loaded."""
    if config.ssl is None:
        return
    context, config.ssl = config.ssl, None
    http = config.http_protocol_class
    failures = HandshakeFailures(getattr(http, "addresses", AddressPolicy.FULL))
    config.http_protocol_class = partial(TlsHandshake, context, failures, http)  # type: ignore[assignment]  # called and no more
