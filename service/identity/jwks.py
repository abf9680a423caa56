"""The identity provider's public keys (RFC 7517): fetched when needed, kept, and rotated."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from service.identity import metrics
from service.identity.principal import CredentialsRefusedError, IdentityUnavailableError
from service.identity.web import TIMEOUT, FetchError, check_url, fetch_json

LOG = logging.getLogger("deepmedix")

_KEY_TYPES = frozenset({"RSA", "EC", "OKP"})  # no "oct": a shared secret is no public key
_MIN_RSA_BITS = 2048  # NIST SP 800-131A
_MAX_KEYS = 64


class SigningKeys:
    """The keys that an issuer signs with.

    A set that is older than ``max_age``, lacks the key that is asked for, or holds one that does
    not verify what it should, is renewed before the request goes on, but no more often than every
    ``cooldown`` seconds, so that invented keys and signatures cannot be used to flood the
    provider. A renewal that fails leaves the old set in force until it is older than
    ``longest_age``; it is tried again after each cool-down, whether or not requests come, and one
    whose key is known does not wait for it. Discovery is then asked again, too.

    Parameters
    ----------
    issuer
        Where the set's address is asked for (OpenID Connect Discovery 1.0) if it is not given.
    jwks_url
        Address of the set.
    max_age, longest_age, cooldown
        Seconds.
    clock
        Seconds that never run backwards, so that setting the machine's clock changes nothing.
    """

    def __init__(
        self,
        issuer: str,
        jwks_url: str | None = None,
        *,
        max_age: float = 3600.0,
        longest_age: float = 86_400.0,
        cooldown: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._discovered: str | None = None
        self._max_age = max_age
        self._longest_age = longest_age
        self._cooldown = cooldown
        self._clock = clock
        self._keys: list[jwt.PyJWK] = []
        self._fetched: float | None = None
        self._tried: float | None = None
        self._failed = False
        self._renewal: asyncio.Task[None] | None = None
        self._repeat: asyncio.TimerHandle | None = None

    async def find(self, key_id: str | None, key_type: str, algorithm: str) -> jwt.PyJWK:
        """Return the key that a token names.

        Parameters
        ----------
        key_id
            The token's ``kid``; a token without one is taken where one key alone can be meant.
        key_type, algorithm
            What the key must be for; a key that names an algorithm is for that one only.

        Raises
        ------
        CredentialsRefusedError
            When there is no such key.
        IdentityUnavailableError
            When no set could be had yet, or none that is young enough.
        """
        key = self._choose(key_id, key_type, algorithm)
        if key is not None and self._failed and self._age() <= self._longest_age:
            if self._may_try():
                self._renew()  # beside this request: a provider that is down holds up nobody
        elif key is None or self._age() > self._max_age:
            await self._renewed()
            key = self._choose(key_id, key_type, algorithm)
        if self._age() > self._longest_age:
            raise IdentityUnavailableError(self._rest_of_cooldown())
        if key is None:
            raise CredentialsRefusedError("token-key-unknown")
        return key

    async def find_instead(
        self, wrong: jwt.PyJWK, key_id: str | None, key_type: str, algorithm: str
    ) -> jwt.PyJWK | None:
        """Return the key that a token names in a set fetched since, or ``None`` without such.

        A provider may change a key and keep its id, or name no ids.

        Parameters
        ----------
        wrong
            What :meth:`find` returned, and did not verify the token.
        key_id, key_type, algorithm
            As there.
        """
        if self._choose(key_id, key_type, algorithm) is wrong:
            await self._renewed()
        key = self._choose(key_id, key_type, algorithm)
        return None if key is wrong else key

    async def close(self) -> None:
        """Give up a renewal, at work or to come."""
        if self._repeat is not None:
            self._repeat.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    def _choose(self, key_id: str | None, key_type: str, algorithm: str) -> jwt.PyJWK | None:
        fitting = [
            key
            for key in self._keys
            if key.key_type == key_type
            and (key_id is None or key.key_id == key_id)
            and _algorithm_of(key) in (None, algorithm)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def _age(self) -> float:
        return math.inf if self._fetched is None else self._clock() - self._fetched

    def _rest_of_cooldown(self) -> float:
        return 0.0 if self._tried is None else self._tried + self._cooldown - self._clock()

    def _may_try(self) -> bool:
        return self._rest_of_cooldown() <= 0

    async def _renewed(self) -> None:
        """Wait for a renewal, where one is at work or may be begun."""
        if self._may_try():
            await asyncio.shield(self._renew())
        elif self._renewal is not None and not self._renewal.done():
            await asyncio.shield(self._renewal)

    def _renew(self) -> asyncio.Task[None]:
        if self._renewal is None or self._renewal.done():
            self._tried = self._clock()
            if self._repeat is not None:
                self._repeat.cancel()
            self._renewal = asyncio.create_task(self._fetch())
        return self._renewal

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):  # of both, where there is something to discover
                url = self._jwks_url or self._discovered
                if url is None:
                    url = self._discovered = await self._discover()
                document = await fetch_json(url)
            self._keys = _usable(document)
            self._fetched = self._clock()
            self._tell(failed=False)
        except Exception as error:  # what a provider sends may break whatever reads it
            self._discovered = None  # the provider may have moved its keys
            self._tell(failed=True)
            kept = "those known stay in force" if self._fetched is not None else "none are known"
            reason = str(error) if isinstance(error, FetchError) else type(error).__name__
            LOG.warning("the identity provider's keys cannot be fetched (%s): %s", reason, kept)
            # Of no request: its lines are not to bear the id of the one that asked.
            self._repeat = asyncio.get_running_loop().call_later(
                self._cooldown, self._renew, context=contextvars.Context()
            )

    def _tell(self, *, failed: bool) -> None:
        self._failed = failed
        metrics.PROVIDER_KEYS_STALE.set(failed)

    async def _discover(self) -> str:
        url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = await fetch_json(url)
        if document.get("issuer") != self._issuer:
            raise FetchError("the discovery document names another issuer")
        found = document.get("jwks_uri")
        if not isinstance(found, str):
            raise FetchError("the discovery document names no jwks_uri")
        try:
            return check_url(found)
        except ValueError as error:
            raise FetchError(f"the jwks_uri {error}") from error


def _usable(document: dict[str, Any]) -> list[jwt.PyJWK]:
    """Return the public signature keys of a set; others are passed over (RFC 7517, section 5).

    Raises
    ------
    FetchError
        When none is left.
    """
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise FetchError("no key set")
    keys = []
    for entry in entries[:_MAX_KEYS]:
        if not isinstance(entry, dict):
            continue
        kind = entry.get("kty")
        if not isinstance(kind, str) or kind not in _KEY_TYPES:
            continue
        if entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        # Public keys only: a set that holds private ones is passed over, not worked with.
        if "d" in entry:
            continue
        if isinstance(key.key, RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS:
            continue
        keys.append(key)
    if not keys:
        raise FetchError("no usable key in the set")
    return keys


def _algorithm_of(key: jwt.PyJWK) -> str | None:
    named = key._jwk_data.get("alg")  # what the set says, not what PyJWT guesses where it is silent
    return named if isinstance(named, str) else None
