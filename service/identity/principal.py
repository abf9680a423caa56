"""Who a caller is, and what that allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a caller may do. Neither scope contains the other."""

    READ = "read"
    """Have films read and rendered, and see what is running."""

    ADMIN = "admin"
    """Operate the service over HTTP: ``/admin/...``, and ``/metrics`` where it is not public."""


class PrincipalKind(StrEnum):
    """How a caller showed who it is."""

    ANONYMOUS = "anonymous"
    API_KEY = "api-key"
    OIDC = "oidc"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    Attributes
    ----------
    name
        Of the API key, or ``oidc:`` and the token's subject; the two cannot meet, for no key's
        name has a colon. Unique, so it can stand for the caller in shares and in the audit trail.
    kind
        How the caller showed who it is.
    scopes
        What it may do.
    """

    name: str
    kind: PrincipalKind
    scopes: frozenset[Scope]


ANONYMOUS = Principal("anonymous", PrincipalKind.ANONYMOUS, frozenset({Scope.READ}))
"""Every caller of a service that runs without authentication: it may read, not administer."""


class CredentialsRefusedError(Exception):
    """A credential does not identify anyone.

    Parameters
    ----------
    reason
        Kebab-case, one of ours; for the audit trail alone, never for the caller, who would learn
        from it which keys exist.
    name
        Of the key that the credential claims to be, where there is one of that id.
    """

    def __init__(self, reason: str, name: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.name = name


class IdentityUnavailableError(Exception):
    """A credential cannot be judged now: the identity provider's keys cannot be had.

    Parameters
    ----------
    retry_after
        Seconds until the provider may be asked again.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__("the identity provider's keys cannot be had")
        self.retry_after = retry_after
