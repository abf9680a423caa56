"""What the identity provider says over HTTPS: small JSON documents, in time or not at all."""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_address
from typing import Any

import httpx

TIMEOUT = 5.0  # seconds for the whole exchange
_MAX_BYTES = 256 * 1024


class FetchError(Exception):
    """A document cannot be had; the text names the kind of failure, never what was sent."""


def check_url(url: str) -> str:
    """Return the URL, if its answers can be trusted: HTTPS, or HTTP on this machine.

    Raises
    ------
    ValueError
        Else; the text says what is wanted.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError("is no web address") from error
    if parsed.scheme == "https" and parsed.host:
        return url
    if parsed.scheme == "http" and _is_local(parsed.host):
        return url
    raise ValueError("must begin with https:// (http:// only towards this machine)")


async def fetch_json(url: str) -> dict[str, Any]:
    """Fetch one JSON object; redirects are not followed.

    Raises
    ------
    FetchError
        When it does not come in time, is too large, or is no JSON object.
    """
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            httpx.AsyncClient(timeout=TIMEOUT) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as reply,
        ):
            if reply.status_code != httpx.codes.OK:
                raise FetchError(f"status {reply.status_code}")
            body = bytearray()
            async for chunk in reply.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise FetchError(f"more than {_MAX_BYTES} bytes")
        document = json.loads(bytes(body))
    except TimeoutError as error:
        raise FetchError("no answer in time") from error
    except httpx.HTTPError as error:
        raise FetchError(type(error).__name__) from error
    except (ValueError, RecursionError) as error:
        raise FetchError("no JSON") from error
    if not isinstance(document, dict):
        raise FetchError("no JSON object")
    return document


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
