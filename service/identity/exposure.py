"""Whether an address to listen on can be reached from other machines."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address


def is_exposed(host: str) -> bool:
    """Tell whether listening on a host name or address can be reached from elsewhere.

    A name is exposed if any of its addresses is. A name that has none is not: listening on it
    fails anyway.
    """
    if not host:
        return True  # every interface
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return not all(is_loopback(str(address[0])) for *_, address in found)


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's loopback (RFC 1122, RFC 4291)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback
