"""``deepmedix serve``: the service, from start-up messages to a graceful stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
import uvicorn

from service.settings import Settings, load_settings, unknown_environment

if TYPE_CHECKING:
    from service.api.service import Service

LOG = logging.getLogger("deepmedix")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks one.")] = None,
    model: Annotated[str | None, typer.Option(help="Checkpoint folder or hub id.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Serve readings over HTTP. Every setting: docs/settings.md."""
    settings = load_settings(host=host, port=port, model=model, log_level=log_level)
    configure_logging(settings.log_level)
    for name in unknown_environment():
        LOG.warning("%s is set, but there is no such setting", name)
    listener = _listen(settings)
    # Uvicorn handles both, and after its graceful stop raises them again for whoever handled
    # them before: nobody, so that this process ends by itself and with its own exit status.
    for received in (signal.SIGINT, signal.SIGTERM):
        signal.signal(received, _handled_already)
    raise typer.Exit(asyncio.run(_run(settings, listener)))


def _handled_already(sig: int, frame: FrameType | None) -> None:
    pass


def configure_logging(level: str) -> None:
    """Send our log and uvicorn's to standard error; vLLM's joins in for debugging only."""
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", level=logging.WARNING)
    logging.getLogger("deepmedix").setLevel(level.upper())
    if level == "debug":
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "DEBUG")


def _listen(settings: Settings) -> socket.socket:
    """Take the port first: a start that is bound to fail should fail at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        typer.echo(
            f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
            "Choose others with --host and --port (or DEEPMEDIX_HOST, DEEPMEDIX_PORT).",
            err=True,
        )
        raise typer.Exit(1) from error


class _Server(uvicorn.Server):
    """Uvicorn, telling the service of a signal so that it takes no new request meanwhile."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        LOG.info("stopping: requests at work get to finish")
        self._service.drain()
        super().handle_exit(sig, frame)


async def _run(settings: Settings, listener: socket.socket) -> int:
    from service.api.malformed_http import ProblemProtocol
    from service.app import create_app
    from service.engine import ManifestError

    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    LOG.info("listening on %s; not ready yet", url)
    try:
        app = create_app(settings)
    except ManifestError as error:
        LOG.error("the service could not start: %s", error)
        return 1
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        log_config=None,
        http=ProblemProtocol,
        access_log=False,  # ours leaves out the query, see service.api.middleware
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_grace,
    )
    server = _Server(config, service)
    announcer = asyncio.create_task(_announce(service, server, url))
    try:
        await server.serve(sockets=[listener])
    finally:
        announcer.cancel()
    return 1 if service.failure is not None else 0


async def _announce(service: Service, server: uvicorn.Server, url: str) -> None:
    await service.started.wait()
    if service.failure is None:
        LOG.info("ready on %s", url)
        return
    # The operator's own log: the text of a start-up failure holds no caller's data.
    LOG.error("the service could not start: %s", service.why_failed)
    LOG.error("`deepmedix doctor` checks what it needs and says how to mend what is missing")
    server.should_exit = True
