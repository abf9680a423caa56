"""Where images and text may go: not to a public address, unless the user says so.

PhysioNet's terms forbid sending its data to third parties' APIs, and other sets' terms are no
laxer. A name is resolved once and the connection goes to the address that was judged: a name that
comes to mean another machine while the run goes on is not followed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from training.chat.errors import ChatError

_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
)
"""Loopback, RFC 1918 and RFC 4193."""

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Endpoint:
    """Where a server is asked.

    Attributes
    ----------
    url
        Address of chat completions; its host is numeric where the host was resolved.
    host
        The name that the server is known by, with its port: the HTTP ``Host``, and the name on
        its certificate.
    """

    url: httpx.URL
    host: str

    @property
    def server_name(self) -> str:
        """The host without its port."""
        return httpx.URL(f"http://{self.host}").host


def resolve_name(host: str, port: int) -> Sequence[str]:
    """Every address of a host, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def endpoint_of(
    address: str,
    *,
    option: str = "--url",
    allow_remote: bool = False,
    resolve: Resolve = resolve_name,
) -> Endpoint:
    """The endpoint of chat completions that a server's URL names.

    Parameters
    ----------
    address
        Base URL such as ``http://127.0.0.1:8000/v1``; ``/v1`` is added where there is no path.
    option
        How the caller gave the address; what is wrong with it is said of that.
    allow_remote
        Whether data may go to a public address.

    Raises
    ------
    ChatError
        When it is no HTTP address, its host is not known, or one of its addresses is public and
        ``allow_remote`` was not given.
    """
    url = address_of(address, option)
    path = url.path.rstrip("/") or "/v1"
    url = url.copy_with(path=f"{path.removesuffix('/chat/completions')}/chat/completions")
    return settle(url, option=option, allow_remote=allow_remote, resolve=resolve)


def address_of(address: str, option: str = "--url") -> httpx.URL:
    """A server's base URL, read.

    Raises
    ------
    ChatError
        When it is no HTTP address, or holds more than one.
    """
    try:
        base = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ChatError(f"{option} {address!r} is no address ({error}).") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ChatError(
            f"{option} {address!r} is no address of a server: write http://127.0.0.1:8000."
        )
    if base.userinfo or base.query:
        raise ChatError(f"{option} holds more than an address. A key goes into the environment.")
    return base


def settle(
    url: httpx.URL,
    *,
    option: str = "--url",
    allow_remote: bool = False,
    resolve: Resolve = resolve_name,
) -> Endpoint:
    """Resolve a URL's host and judge where it leads.

    Raises
    ------
    ChatError
        When its host is not known, or one of its addresses is public and ``allow_remote`` was not
        given.
    """
    host = url.netloc.decode()
    if allow_remote:
        return Endpoint(url, host)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        addresses = resolve(url.host, port)
    except OSError as error:
        raise ChatError(f"The host of {option}, {url.host}, is not known here.") from error
    public = [found for found in addresses if not _is_private(found)]
    if public or not addresses:
        raise ChatError(
            f"{url.host} is a public address ({', '.join(public)}). Images and reports would leave "
            "your network; the terms of PhysioNet and of most other sets forbid that. Use a "
            "server on your own machines (vLLM serves most open models). Where the data's terms "
            "allow it, give --allow-remote."
        )
    return Endpoint(url.copy_with(host=addresses[0]), host)


def _is_private(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in _PRIVATE)
