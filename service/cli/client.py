"""One client for two ways to reach the service: over HTTP, or inside this process.

Both send the same request to the same routes, so that the command line and HTTP cannot
disagree.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from rich.console import Console

from service.engine import ManifestError
from service.identity import is_loopback
from service.settings import ENV_PREFIX, load_settings

_TIMEOUT = httpx.Timeout(10.0, read=600.0, write=120.0)


class ServiceError(Exception):
    """The service could not be reached, could not start or refused; the text says why."""


@asynccontextmanager
async def connect(
    url: str | None, console: Console, *, with_engine: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the service at ``url``, or of one started in this process.

    Parameters
    ----------
    url
        Base address of a running service, or ``None``.
    console
        Where the progress of a start is shown.
    with_engine
        Whether what will be asked needs the engine; opening a film alone does not.

    Raises
    ------
    ServiceError
        When the address or the key is none, or the service in this process could not start.
    """
    if url is not None:
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ServiceError(f"--url is no web address: {error}.") from error
        if address.scheme not in ("http", "https") or not address.host:
            raise ServiceError("--url is no web address: write it like http://127.0.0.1:8000.")
        if address.scheme == "http" and not _is_here(address.host):
            console.print(
                f"Films, and a key if there is one, go to {address.host} unencrypted: use https://."
            )
        async with httpx.AsyncClient(
            base_url=address, timeout=_TIMEOUT, headers=_credential()
        ) as client:
            yield client
        return
    from service.app import create_app
    from service.audit import AuditUnavailableError
    from service.identity import Authenticator
    from service.telemetry import TracingNotInstalledError

    try:
        # Whoever can start this process can read the checkpoint itself: no key is asked for.
        app = create_app(load_settings(), authenticator=Authenticator())
    except (ManifestError, AuditUnavailableError, TracingNotInstalledError) as error:
        raise ServiceError(str(error)) from error
    async with AsyncExitStack() as running:
        service = app.state.service
        if with_engine:
            with console.status("Starting the engine; --url of a running service is quicker."):
                await running.enter_async_context(app.router.lifespan_context(app))
                await service.started.wait()
        else:
            await service.decoder.start()
            running.push_async_callback(service.decoder.close)
        if service.failure is not None:
            raise ServiceError(
                f"The engine could not start. {service.why_failed}\n"
                "`deepmedix doctor` says how to mend what is missing."
            )
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://deepmedix", timeout=_TIMEOUT
        )
        yield await running.enter_async_context(client)


def _is_here(host: str) -> bool:
    return host == "localhost" or is_loopback(host)


def _credential() -> dict[str, str]:
    """Return the header with the key or token of the environment; options show in `ps`."""
    credential = os.environ.get(f"{ENV_PREFIX}API_KEY", "").strip()
    if not credential.isascii():
        raise ServiceError(f"{ENV_PREFIX}API_KEY is no key or token: they are plain ASCII.")
    return {"Authorization": f"Bearer {credential}"} if credential else {}


async def post(
    client: httpx.AsyncClient,
    path: str,
    *,
    films: list[bytes],
    fields: dict[str, str | list[str]],
    accept: str,
) -> httpx.Response:
    """Post films and fields as a form.

    Raises
    ------
    ServiceError
        When the service cannot be reached, or answers with a problem.
    """
    # The files' names stay here: they often hold a patient's.
    files = [("image", ("film", film, "application/octet-stream")) for film in films]
    try:
        response = await client.post(path, files=files, data=fields, headers={"Accept": accept})
    except httpx.TransportError as error:
        raise ServiceError(
            f"The service at {client.base_url.copy_with(userinfo=b'')} cannot be reached "
            f"({type(error).__name__})."
        ) from error
    if response.is_success:
        return response
    raise ServiceError(_explain(response))


def _explain(response: httpx.Response) -> str:
    try:
        problem = response.json()
        lines = [f"{problem['title']} ({problem['code']})", str(problem["detail"])]
        for item in problem.get("errors", []):
            bound = item.get("bound")
            kept = "" if bound is None else f" {bound:.10g}"
            lines.append(f"  {item['field']}: {item['kind']}{kept}")
    except (ValueError, KeyError, TypeError):
        return f"The service answered with status {response.status_code}."
    return "\n".join(lines)
