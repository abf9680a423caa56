"""``deepmedix serve``: the service, from start-up messages to a graceful stop."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import uvicorn
from uvicorn.lifespan.off import LifespanOff

from service.cli.exposure import check_bound, check_exposure, known_hosts
from service.cli.hangup import reload_on_hangup
from service.cli.start_up import StartUp, StoppedWhileStarting
from service.cli.transport import check_tls, harden, transport
from service.freed_memory import return_freed_memory
from service.private_memory import forbid_core_dumps, forbid_inspection
from service.settings import Settings, SettingsError, load_settings, unknown_environment
from service.telemetry import (
    FORMAT_VARIABLE,
    LogFormat,
    TracingNotInstalledError,
    configure_logging,
    format_for,
)

if TYPE_CHECKING:
    from service.api.service import Service

LOG = logging.getLogger("deepmedix")

_LAST_REPLIES = 2
"""Seconds at least for what is still to be sent once no request is at work."""

_LAST_WORDS = 0.05
"""Seconds in which those at work are told that the engine is given up."""

_LOOK = 0.05
"""Seconds between two looks at whether all has been sent."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks one.")] = None,
    model: Annotated[str | None, typer.Option(help="Checkpoint folder or hub id.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[LogFormat | None, typer.Option(help="How a line looks.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines in without authentication.")
    ] = False,
) -> None:
    """Serve readings over HTTP. Every setting: docs/settings.md."""
    _quieten_resource_tracker()
    try:
        settings, listener = _prepare(
            host=host,
            port=port,
            model=model,
            log_level=log_level,
            log_format=log_format,
            insecure=insecure or None,
        )
        status = _serve(settings, listener)
    except SettingsError as error:
        named = log_format or _format_of_environment()
        if format_for(named, sys.stderr) is LogFormat.CONSOLE:
            raise
        configure_logging("info", named)
        LOG.error("the service could not start: %s", error)
        raise typer.Exit(2) from error
    _exit_now(status)


def _serve(settings: Settings, listener: socket.socket) -> int:
    starting = StartUp()
    starting.begin()
    try:
        return asyncio.run(_run(settings, listener, starting))
    except StoppedWhileStarting:
        LOG.info("stopped while starting")
        return 0


def _prepare(**options: Any) -> tuple[Settings, socket.socket]:
    settings = load_settings(**options)
    forbid_core_dumps()
    forbid_inspection()
    return_freed_memory()
    configure_logging(settings.log_level, settings.log_format)
    for name in unknown_environment():
        LOG.warning("%s is set, but there is no such setting", name)
    check_exposure(settings)
    check_tls(settings)
    listener = _bind(settings)
    check_bound(settings, listener)
    return settings, listener


def _format_of_environment() -> LogFormat:
    """What the environment says of the log, where the settings as a whole cannot be used."""
    named = os.environ.get(FORMAT_VARIABLE, "").lower()
    return LogFormat(named) if named in set(LogFormat) else LogFormat.AUTO


def _quieten_resource_tracker() -> None:
    """Keep Python's note of semaphores that a killed engine has left out of the log.

    The tracker is a process of its own, which frees them and is told what to warn of as it starts.
    """
    option = "ignore::UserWarning:multiprocessing.resource_tracker"
    if option not in sys.warnoptions:
        sys.warnoptions.append(option)


def _bind(settings: Settings) -> socket.socket:
    """Take the port first: a start that is bound to fail should fail at once.

    It is not listened on before the service can answer: until then a connection is refused, where
    it would hang.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named. With it, the first event
    # of a stream waits for the client's delayed acknowledgement of the headers: 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        LOG.error(
            "cannot listen on %s port %d: %s; choose others with --host and --port (or "
            "DEEPMEDIX_HOST, DEEPMEDIX_PORT)",
            *(settings.host, settings.port, error.strerror),
        )
        raise typer.Exit(1) from error
    return listener


class _Server(uvicorn.Server):
    """Uvicorn that goes on answering, ``/readyz`` with 503, until the service has drained.

    Uvicorn alone closes its port at the first signal, so that nobody could see that the service
    is not ready. A second signal ends everything at once.
    """

    def __init__(
        self, config: uvicorn.Config, service: Service, starting: StartUp, url: str
    ) -> None:
        super().__init__(config)
        self._service = service
        self._starting = starting
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._stopping: asyncio.Task[None] | None = None
        self.forced_by: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._starting.end()
        await super().startup(sockets)
        LOG.info("listening on %s; not ready yet", self._url)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # A signal comes amid whatever the loop is doing; what it starts must wait for its turn.
        self._loop.call_soon_threadsafe(self._stop, sig)

    def _stop(self, sig: int) -> None:
        settings = self._service.settings
        if self._stopping is None:
            LOG.info(
                "stopping: requests at work get %d s to finish; a second signal stops now",
                settings.shutdown_grace,
            )
            self._service.drain()
            self._stopping = asyncio.create_task(self._stop_gently())
        elif self.forced_by is None:
            LOG.warning("stopping now")
            self.forced_by = sig
            self._stopping.cancel()
            if self.should_exit:  # nothing is at work any more; what stops takes its time, or hangs
                _exit_now(_killed_by(sig))
            self._service.end_all()
            self.config.timeout_graceful_shutdown = _LAST_REPLIES
            self.lifespan = LifespanOff(self.config)  # whose end stops the engine in good order
            self.should_exit = True

    async def _stop_gently(self) -> None:
        from service.api.connection import ProblemProtocol

        settings = self._service.settings
        end = self._loop.time() + settings.shutdown_grace
        await asyncio.gather(
            asyncio.sleep(settings.shutdown_delay), self._service.finish(settings.shutdown_grace)
        )
        # A reply has left the service's hands long before a slow client has taken it.
        while self._loop.time() < end and not all(
            connection.has_sent_all
            for connection in self.server_state.connections
            if isinstance(connection, ProblemProtocol)
        ):
            await asyncio.sleep(_LOOK)
        self.should_exit = True


async def _run(settings: Settings, listener: socket.socket, starting: StartUp) -> int:
    from service.api.connection import bounded_protocol
    from service.app import create_app
    from service.audit import AuditUnavailableError
    from service.engine import ManifestError, require_weights
    from service.identity import KeyFileError

    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.tls_certificate is None else "https"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    LOG.info("starting on %s", url)
    try:
        require_weights(settings.model)
        app = create_app(settings)
    except (
        ManifestError,
        TracingNotInstalledError,
        KeyFileError,
        AuditUnavailableError,
    ) as error:
        LOG.error("the service could not start: %s", error)
        return 1
    app.state.known_hosts = known_hosts(settings, listener)
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        log_config=None,
        http=bounded_protocol(settings),
        access_log=False,  # ours leaves out the query, see service.api.middleware
        server_header=False,
        timeout_graceful_shutdown=_LAST_REPLIES,
        **transport(settings),
    )
    harden(config)
    server = _Server(config, service, starting, url)
    announcer = asyncio.create_task(_announce(service, server, url))
    try:
        reload_on_hangup(app, at_once=starting.hung_up)
        await server.serve(sockets=[listener])
    finally:
        announcer.cancel()
    status = 1 if service.failure is not None else 0
    if server.forced_by is not None:  # every request has its answer
        _exit_now(_killed_by(server.forced_by))
    if service.stuck:
        _exit_now(status)  # asyncio's own end may wait for what hangs
    return status


def _killed_by(sig: int) -> int:
    """The exit status of a process that a signal ended, as the shell has it."""
    return 128 + sig


def _exit_now(status: int) -> NoReturn:
    """End without the interpreter's own end.

    That waits without a limit for processes that cannot be killed, an engine's that hangs in its
    driver for one, and goes through all of vLLM's and PyTorch's objects once more, for seconds.
    """
    LOG.info("stopped, exit status %d", status)
    for child in multiprocessing.active_children():
        child.kill()
    logging.shutdown()
    os._exit(status)


async def _announce(service: Service, server: uvicorn.Server, url: str) -> None:
    await service.started.wait()
    if service.failure is None:
        if not service.admission.draining:  # a start may end after it was told to stop
            LOG.info("ready on %s", url)
        await service.failed.wait()
        LOG.error("the service gives up, so that it is replaced: %s", service.why_failed)
    else:
        # The operator's own log: the text of a start-up failure holds no caller's data.
        LOG.error("the service could not start: %s", service.why_failed)
        LOG.error("`deepmedix doctor` checks what it needs and says how to mend what is missing")
    await service.finish(_LAST_WORDS)  # else the server cuts off who still waits for a film to open
    server.should_exit = True
