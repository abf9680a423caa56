"""The layer that tells who a request comes from, before anything of its body is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from service.api import metrics
from service.api.problems import (
    ambiguous_credentials,
    forbidden,
    identity_unavailable,
    unauthenticated,
    whole_seconds,
)
from service.identity import (
    ANONYMOUS,
    Authenticator,
    CredentialsRefusedError,
    IdentityUnavailableError,
    Scope,
)
from service.settings import Settings

_OPEN = frozenset({"/livez", "/readyz", "/docs", "/openapi.json", "/favicon.ico"})
"""Probes, and the reference, which says no more than what this project publishes anyway."""

_OPEN_FOLDERS = ("/docs/assets/",)


class Authentication:
    """Refuse a request that does not show who sends it, or whose sender may not do it.

    What is not known to be open needs a credential, paths that do not exist included. The caller
    is put into ``request.state.principal``. Settings and authenticator are looked up on the
    application, where ``service.app`` puts them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Run one request.

        Raises
        ------
        Problem
            ``unauthenticated`` (401), ``ambiguous-credentials`` (400), ``forbidden`` (403),
            ``identity-unavailable`` (503).
        """
        if scope["type"] == "http":
            await self._identify(scope)
        elif scope["type"] == "websocket":
            # There are none, and the server is told not to speak it; another one may.
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    async def _identify(self, scope: AsgiScope) -> None:
        parts = scope["app"].state
        authenticator: Authenticator = parts.authenticator
        settings: Settings = parts.service.settings
        state = scope.setdefault("state", {})
        needed = needed_scope(scope["path"], metrics_public=settings.metrics_public)
        if needed is None or not authenticator.enabled:
            state["principal"] = ANONYMOUS
        else:
            credential, bearer = _credential(scope)
            try:
                state["principal"] = await authenticator.identify(credential, bearer=bearer)
            except CredentialsRefusedError as error:
                state["refusal"] = error
                metrics.REFUSED_CREDENTIALS.labels(reason="invalid").inc()
                raise unauthenticated(presented=True) from error
            except IdentityUnavailableError as error:
                raise identity_unavailable(whole_seconds(error.retry_after)) from error
        if needed is not None and needed not in state["principal"].scopes:
            metrics.REFUSED_CREDENTIALS.labels(reason="scope").inc()
            raise forbidden(needed.value)


def needed_scope(path: str, *, metrics_public: bool) -> Scope | None:
    """Return the scope that a path needs, or ``None`` for an open one."""
    if path in _OPEN or path.startswith(_OPEN_FOLDERS):
        return None
    if path == "/metrics":
        return None if metrics_public else Scope.ADMIN
    if path == "/admin" or path.startswith("/admin/"):
        return Scope.ADMIN
    return Scope.READ


def _credential(scope: AsgiScope) -> tuple[str, bool]:
    """Return the request's one credential, and whether it came as a bearer's."""
    headers = Headers(scope=scope)
    authorizations = headers.getlist("authorization")
    keys = headers.getlist("x-api-key")
    if len(authorizations) + len(keys) > 1:
        metrics.REFUSED_CREDENTIALS.labels(reason="ambiguous").inc()
        raise ambiguous_credentials()
    if keys:
        return keys[0].strip(), False
    scheme, _, credential = (authorizations or [""])[0].strip().partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        metrics.REFUSED_CREDENTIALS.labels(reason="missing").inc()
        raise unauthenticated(presented=False)
    return credential.strip(), True
