"""TLS and proxies: what ``deepmedix serve`` tells uvicorn of the way that callers come."""

from __future__ import annotations

import ssl
from typing import Any

import uvicorn

from service.settings import Settings, SettingsError

MINIMUM_TLS = ssl.TLSVersion.TLSv1_2


def transport(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options for TLS and for proxies' headers.

    Uvicorn would believe ``X-Forwarded-For`` of any proxy on this machine; here it believes none
    that is not named.
    """
    options: dict[str, Any] = {
        "ws": "none",  # a request to upgrade is HTTP like any other, credentials and log included
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": list(settings.trusted_proxies),
    }
    if settings.tls_certificate is not None:
        options |= {
            "ssl_certfile": str(settings.tls_certificate),
            "ssl_keyfile": str(settings.tls_key),
            "ssl_keyfile_password": _password(settings),
        }
    if settings.tls_client_ca is not None:
        options |= {
            "ssl_ca_certs": str(settings.tls_client_ca),
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }
    return options


def check_tls(settings: Settings) -> None:
    """Read the certificate, its key and the authorities once, before anything is started.

    Raises
    ------
    SettingsError
        When one of them is missing or unusable, or they do not belong together.
    """
    if settings.tls_certificate is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(
            settings.tls_certificate, settings.tls_key, lambda: _password(settings) or ""
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(
            f"DEEPMEDIX_TLS_CERTIFICATE and DEEPMEDIX_TLS_KEY cannot be used ({_reason(error)}). "
            "They must be PEM files that belong together; an encrypted key needs "
            "DEEPMEDIX_TLS_KEY_PASSWORD."
        ) from error
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except OSError as error:
            raise SettingsError(
                f"DEEPMEDIX_TLS_CLIENT_CA cannot be used ({_reason(error)}). It must be a PEM file "
                "of the authorities that clients' certificates come from."
            ) from error


def harden(config: uvicorn.Config) -> None:
    """Load the configuration, take no TLS older than 1.2, whatever OpenSSL's default is, and see to
    it that handshakes which fail are told of.
    """
    from service.api.handshake import shake_hands_first

    if not config.loaded:
        config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = MINIMUM_TLS
        shake_hands_first(config)


def _password(settings: Settings) -> str | None:
    password = settings.tls_key_password
    return None if password is None else password.get_secret_value()


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
