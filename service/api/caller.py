"""Whom a request counts against: a principal by its name, anyone else by their address."""

from __future__ import annotations

from typing import Any

from starlette.types import Scope

_ANONYMOUS = "anonymous"


def caller_of(scope: Scope) -> str:
    """Return what tells this request's caller from others.

    The principal that authentication found, by its name; without one, the client's address as
    the server knows it (behind a trusted proxy: as that proxy forwards it).
    """
    principal: Any = scope.get("state", {}).get("principal")
    name = getattr(principal, "name", None)
    kind = str(getattr(principal, "kind", ""))
    if isinstance(name, str) and name and _ANONYMOUS not in (name, kind):
        return f"principal {name}"
    client = scope.get("client")
    return f"address {client[0]}" if client else "address unknown"
