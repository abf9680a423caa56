"""API keys: how one is made, kept and recognised.

A key is ``dmx_<id>_<secret>``: the prefix lets secret scanners find a leaked one, the id (12
hexadecimal digits, no secret) finds its record, the secret is 256 random bits in base64url.

Of the key its SHA-256 alone is kept. A slow, salted hash (scrypt, Argon2) protects secrets that can
be guessed; 256 random bits cannot, at any speed of hashing, and a slow hash would give every
caller a way to keep the processor busy.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from service.identity.principal import CredentialsRefusedError, Principal, PrincipalKind, Scope

PREFIX = "dmx_"

_KEY = re.compile(r"dmx_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_CONTEXT = b"deepmedix-api-key/1\0"
_NO_DIGEST = "0" * 64

KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Letters, digits, dot, dash and underscore: it goes into the audit trail as it is."""


class ApiKey(BaseModel):
    """The record of one key; the key itself is not in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
    name: KeyName
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None

    def status(self, now: datetime) -> str:
        """Return ``active``, ``expired`` or ``revoked``."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        return "active"


def new_key(
    name: str, scopes: Iterable[Scope], *, now: datetime, expires: datetime | None = None
) -> tuple[ApiKey, str]:
    """Make a key.

    Returns
    -------
    tuple
        The record to keep, and the key itself, to be shown once.

    Raises
    ------
    pydantic.ValidationError
        When the name has other characters than it may, or there is no scope.
    """
    key_id = secrets.token_hex(6)
    key = f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
    record = ApiKey(
        id=key_id,
        name=name,
        scopes=tuple(sorted(set(scopes))),
        sha256=digest(key),
        created=now,
        expires=expires,
    )
    return record, key


def digest(key: str) -> str:
    """Return what is kept of a key, in hexadecimal."""
    return hashlib.sha256(_CONTEXT + key.encode()).hexdigest()


class KeySet:
    """The keys in force, found by their id.

    Parameters
    ----------
    keys
        Records; ids must be unique.
    """

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._by_id = {key.id: key for key in keys}

    def __len__(self) -> int:
        return len(self._by_id)

    def usable(self, now: datetime) -> int:
        """Return how many keys open the door at the moment."""
        return sum(key.status(now) == "active" for key in self._by_id.values())

    def identify(self, presented: str, now: datetime) -> Principal:
        """Return the caller that a key stands for.

        Raises
        ------
        CredentialsRefusedError
            When it is malformed, unknown, wrong, expired or revoked.
        """
        shape = _KEY.fullmatch(presented)
        if shape is None:
            raise CredentialsRefusedError("key-malformed")
        key = self._by_id.get(shape[1])
        kept = _NO_DIGEST if key is None else key.sha256
        # Digests are compared in constant time, an unknown id's as well as a known one's.
        matches = hmac.compare_digest(digest(presented), kept)
        if key is None:
            raise CredentialsRefusedError("key-unknown")
        if not matches:
            raise CredentialsRefusedError("key-wrong", key.name)
        status = key.status(now)
        if status != "active":
            raise CredentialsRefusedError(f"key-{status}", key.name)
        return Principal(key.name, PrincipalKind.API_KEY, frozenset(key.scopes))
