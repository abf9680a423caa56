"""Which names the service answers to where nobody must show who they are.

A page in a browser on this machine can reach a service on loopback by a name of its own that it
lets resolve to 127.0.0.1 (DNS rebinding). The browser takes the service for the page's own site
then, and only the Host header tells. By a name of loopback any page can send it a form, too, whose
reply it may not read; the Origin header tells of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import cross_site, unknown_host
from service.identity import is_loopback

_AUTHORITY = re.compile(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:\[\]]+))(?::[0-9]*)?")  # RFC 3986


class KnownHosts:
    """The names and addresses of this machine's loopback, and some more.

    Parameters
    ----------
    names
        Further names, without a port.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower() for name in names) | {"localhost"}

    def hold(self, host: str) -> bool:
        """Tell whether the value of a Host header, with any port, is one of them."""
        found = _AUTHORITY.fullmatch(host.strip())
        if found is None:
            return False
        name = (found["address"] or found["name"] or "").lower()
        return name in self._names or is_loopback(name)

    def hold_origin(self, origin: str) -> bool:
        """Tell whether the value of an Origin header (RFC 6454) is a page of one of them."""
        scheme, _, authority = origin.strip().partition("://")
        return scheme in ("http", "https") and self.hold(authority)


class HostCheck:
    """Refuse a request that is addressed to a host that the service is not, or sent by the page of
    another.

    The application's state holds the :class:`KnownHosts`; with ``None`` there, any host will do. A
    request without the header comes from no browser.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request.

        Raises
        ------
        Problem
            ``unknown-host`` (421), ``cross-site`` (403).
        """
        if scope["type"] == "http":
            known: KnownHosts | None = scope["app"].state.known_hosts
            headers = Headers(scope=scope)
            if known is not None and not all(map(known.hold, headers.getlist("host"))):
                raise unknown_host()
            if known is not None and not all(map(known.hold_origin, headers.getlist("origin"))):
                raise cross_site()
        await self._app(scope, receive, send)
