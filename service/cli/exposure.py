"""No door to other machines without a lock: where ``deepmedix serve`` may listen."""

from __future__ import annotations

import logging
import socket

from service.api.known_host import KnownHosts
from service.identity import is_exposed, is_loopback
from service.settings import Settings, SettingsError

LOG = logging.getLogger("deepmedix")


def check_exposure(settings: Settings) -> None:
    """Refuse to listen where other machines reach the service and nobody must show who it is.

    A client certificate (mutual TLS) shows that a machine may connect, not who asks: it does not
    stand in for authentication.

    Raises
    ------
    SettingsError
        The text says how to mend it.
    """
    if not is_exposed(settings.host):
        return
    if _asks_who_calls(settings):
        if settings.tls_certificate is None:
            LOG.warning(
                "keys and films travel unencrypted unless a proxy in front of the service speaks "
                "TLS; DEEPMEDIX_TLS_CERTIFICATE and DEEPMEDIX_TLS_KEY turn it on here"
            )
        return
    if settings.insecure:
        LOG.warning("other machines reach the service, and nobody must show who it is (insecure)")
        return
    raise _refusal(settings)


def check_bound(settings: Settings, listener: socket.socket) -> None:
    """Refuse once more, by the address that the listener has got: a name may change its address.

    Raises
    ------
    SettingsError
        As :func:`check_exposure`; the listener is closed.
    """
    if _is_local(listener) or _asks_who_calls(settings) or settings.insecure:
        return
    listener.close()
    raise _refusal(settings)


def known_hosts(settings: Settings, listener: socket.socket) -> KnownHosts | None:
    """Return the hosts that requests may be addressed to, or ``None`` where any will do."""
    if _asks_who_calls(settings) or not _is_local(listener):
        return None
    return KnownHosts((settings.host, *settings.allowed_hosts))


def _asks_who_calls(settings: Settings) -> bool:
    return settings.keys_file is not None or settings.oidc_issuer is not None


def _is_local(listener: socket.socket) -> bool:
    return is_loopback(str(listener.getsockname()[0]))


def _refusal(settings: Settings) -> SettingsError:
    return SettingsError(
        f"Other machines can reach {settings.host or 'every address'}, and no caller would have to "
        "show who it is. Mend it in one of these ways:\n"
        "  API keys:   deepmedix keys add NAME --file keys.json, then "
        "DEEPMEDIX_KEYS_FILE=keys.json\n"
        "  tokens:     DEEPMEDIX_OIDC_ISSUER and DEEPMEDIX_OIDC_AUDIENCE\n"
        "  this machine only:   --host 127.0.0.1\n"
        "  no protection at all, on a network where everyone may read:   --insecure"
    )
