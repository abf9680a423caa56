"""From a credential to a caller: API keys, tokens, or both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from service.identity import metrics
from service.identity.api_keys import PREFIX, KeySet
from service.identity.key_file import KeyFile, KeyFileError
from service.identity.principal import ANONYMOUS, CredentialsRefusedError, Principal
from service.identity.tokens import TokenVerifier


def _now() -> datetime:
    return datetime.now(UTC)


class Authenticator:
    """Tells who a credential stands for; with neither keys nor tokens it lets everyone read.

    Parameters
    ----------
    key_file
        API keys are taken where it is given; it is read at once.
    tokens
        Bearer tokens are taken where it is given.
    clock
        The present, for keys' expiry.

    Raises
    ------
    KeyFileError
        When the key file cannot be used.
    """

    def __init__(
        self,
        *,
        key_file: KeyFile | None = None,
        tokens: TokenVerifier | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._key_file = key_file
        self._tokens = tokens
        self._clock = clock
        self._reloading = threading.Lock()
        self._keys = KeySet() if key_file is None else key_file.load()
        # Of an earlier one in the same process, nothing is in force any more.
        metrics.KEYS_STALE.set(0)
        metrics.PROVIDER_KEYS_STALE.set(0)

    @property
    def enabled(self) -> bool:
        """Whether a caller must say who it is."""
        return self._key_file is not None or self._tokens is not None

    @property
    def takes_keys(self) -> bool:
        """Whether there is a key file."""
        return self._key_file is not None

    @property
    def usable_keys(self) -> int:
        """Keys that are neither expired nor revoked."""
        return self._keys.usable(self._clock())

    def reload(self) -> int:
        """Read the key file again and return how many keys are usable.

        Raises
        ------
        KeyFileError
            When it cannot be used; the keys in force stay as they were.
        """
        if self._key_file is not None:
            # Of two at once, the one that reads first must not have the last word.
            with self._reloading:
                try:
                    self._keys = self._key_file.load()
                except KeyFileError:
                    metrics.KEYS_STALE.set(1)
                    raise
                metrics.KEYS_STALE.set(0)
        return self.usable_keys

    async def identify(self, credential: str, *, bearer: bool = True) -> Principal:
        """Return the caller that a credential stands for.

        Parameters
        ----------
        credential
            An API key, or a token.
        bearer
            Whether it came as a bearer credential; a token is taken as nothing else.

        Raises
        ------
        CredentialsRefusedError
            When it stands for nobody.
        IdentityUnavailableError
            When that cannot be told now.
        """
        if not self.enabled:
            return ANONYMOUS
        if self._key_file is not None and (credential.startswith(PREFIX) or not bearer):
            return self._keys.identify(credential, self._clock())
        if self._tokens is not None and bearer:
            return await self._tokens.identify(credential)
        raise CredentialsRefusedError("kind-not-taken")

    async def close(self) -> None:
        """Stop fetching the provider's keys."""
        if self._tokens is not None:
            await self._tokens.close()
