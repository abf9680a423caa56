"""Ask the service of this container whether it is ready: ``python -m service.health_check``.

The images' health check. It asks where the settings (environment and file) let the service listen;
no command of ``deepmedix``, since importing all of those takes a second of a core each time.
"""

from __future__ import annotations

import http.client
import ssl
import sys

from service.settings import Settings, SettingsError, load_settings

_TIMEOUT = 3.0
_ONE_OF_ALL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""An address to ask at, for those that stand for every address of the machine."""


def main() -> int:
    """Return 0 when the service is ready, else 1, with the reason on standard error."""
    try:
        status = _status(load_settings())
    except (SettingsError, OSError, http.client.HTTPException) as error:
        print(error, file=sys.stderr)
        return 1
    if status != 200:
        print(f"/readyz answers with {status}", file=sys.stderr)
    return 0 if status == 200 else 1


def _status(settings: Settings) -> int:
    host = _ONE_OF_ALL.get(settings.host, settings.host)
    if settings.tls_certificate is None:
        connection = http.client.HTTPConnection(host, settings.port, timeout=_TIMEOUT)
    else:
        # Its certificate is for the name that callers know, not for this address.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            host, settings.port, timeout=_TIMEOUT, context=context
        )
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
