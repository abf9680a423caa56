"""OpenID Connect bearer tokens: JWTs (RFC 7519) checked as RFC 8725 advises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from service.identity.jwks import SigningKeys
from service.identity.principal import CredentialsRefusedError, Principal, PrincipalKind, Scope

KEY_TYPES: Mapping[str, str] = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA",
    "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "ES512": "EC",
    "EdDSA": "OKP",
}  # fmt: skip
"""The algorithms that can be allowed, and what key each takes (RFC 7518). All are asymmetric, so
that neither ``none`` nor a public key used as a shared secret can ever pass."""

DEFAULT_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
DEFAULT_SCOPE_CLAIMS = ("scope", "scp", "roles")

_MAX_LENGTH = 16 * 1024
_MAX_KEY_ID = 256
_MAX_SUBJECT = 255  # OpenID Connect Core 1.0, section 2
_WRONG_SIGNATURE = "token-signature"

# What PyJWT and the parsers under it raise on hostile input.
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class OidcSettings:
    """What a token must show.

    Attributes
    ----------
    issuer
        Its ``iss``, exactly.
    audience
        One of its ``aud``.
    algorithms
        Signature algorithms taken, of :data:`KEY_TYPES`.
    leeway
        Seconds by which the two machines' clocks may differ, for ``exp``, ``nbf`` and ``iat``.
    scope_claims
        Claims that hold scopes or roles, as a list or separated by spaces; a dot leads into an
        object (``realm_access.roles``).
    scopes
        Which scope of ours each name of the provider's stands for.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    leeway: float = 60.0
    scope_claims: tuple[str, ...] = DEFAULT_SCOPE_CLAIMS
    scopes: Mapping[str, Scope] = field(
        default_factory=lambda: {scope.value: scope for scope in Scope}
    )


class TokenVerifier:
    """Tells who a bearer token stands for.

    Parameters
    ----------
    settings
        What a token must show.
    keys
        The issuer's keys. A token's own ``jku``, ``jwk`` and ``x5u`` are never looked at.
    """

    def __init__(self, settings: OidcSettings, keys: SigningKeys) -> None:
        self._settings = settings
        self._keys = keys

    async def identify(self, token: str) -> Principal:
        """Return the caller that a token stands for.

        Raises
        ------
        CredentialsRefusedError
            When the token is not one of this issuer's for this audience, or not now.
        IdentityUnavailableError
            When the issuer's keys cannot be had.
        """
        algorithm, key_id = self._header(token)
        named = key_id, KEY_TYPES[algorithm], algorithm
        key = await self._keys.find(*named)
        try:
            claims = self._claims(token, key, algorithm)
        except CredentialsRefusedError as error:
            if error.reason != _WRONG_SIGNATURE:
                raise
            other = await self._keys.find_instead(key, *named)
            if other is None:
                raise
            claims = self._claims(token, other, algorithm)
        subject = claims["sub"]
        # It goes into the audit trail as a FHIR string, which holds no control characters, and is
        # shown: nothing in it may hide, or turn what stands beside it.
        if not subject.strip() or len(subject) > _MAX_SUBJECT or not subject.isprintable():
            raise CredentialsRefusedError("token-subject")
        return Principal(f"oidc:{subject}", PrincipalKind.OIDC, self._scopes(claims))

    async def close(self) -> None:
        """Stop fetching keys."""
        await self._keys.close()

    def _header(self, token: str) -> tuple[str, str | None]:
        if len(token) > _MAX_LENGTH:
            raise CredentialsRefusedError("token-too-long")
        try:
            header = jwt.get_unverified_header(token)
        except _UNREADABLE as error:
            raise CredentialsRefusedError("token-malformed") from error
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._settings.algorithms:
            raise CredentialsRefusedError("token-algorithm")
        if "crit" in header:  # extensions that must be understood (RFC 7515, section 4.1.11)
            raise CredentialsRefusedError("token-critical-header")
        if not _is_access_token(header.get("typ")):
            raise CredentialsRefusedError("token-type")
        if key_id is not None and (not isinstance(key_id, str) or len(key_id) > _MAX_KEY_ID):
            raise CredentialsRefusedError("token-malformed")
        return str(algorithm), key_id

    def _claims(self, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise CredentialsRefusedError("token-expired") from error
        except jwt.ImmatureSignatureError as error:
            raise CredentialsRefusedError("token-not-yet-valid") from error
        # The latter: a key on another curve than the algorithm's.
        except (jwt.InvalidSignatureError, jwt.InvalidKeyError) as error:
            raise CredentialsRefusedError(_WRONG_SIGNATURE) from error
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError) as error:
            raise CredentialsRefusedError("token-for-another") from error
        except _UNREADABLE as error:
            raise CredentialsRefusedError("token-malformed") from error
        return claims

    def _scopes(self, claims: dict[str, Any]) -> frozenset[Scope]:
        named = {name for claim in self._settings.scope_claims for name in _names(claims, claim)}
        return frozenset(scope for name, scope in self._settings.scopes.items() if name in named)


def _is_access_token(kind: object) -> bool:
    """Whether the header's ``typ`` may be one's: providers say ``JWT``, RFC 9068 ``at+jwt``."""
    if kind is None:
        return True
    return isinstance(kind, str) and kind.lower().removeprefix("application/") in ("jwt", "at+jwt")


def _names(claims: dict[str, Any], path: str) -> list[str]:
    value: Any = claims
    # A provider may name a claim by a URL, dots included.
    for part in (path,) if path in claims else path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str)]
    return []
