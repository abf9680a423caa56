"""SIGHUP: read again what may have changed, without a restart."""

from __future__ import annotations

import asyncio
import logging
import signal
import uuid

from fastapi import FastAPI

from service.api.routes.admin import reload_keys_of
from service.audit import AuditKind, AuditTrail, AuditUnavailableError, Occurrence
from service.problem import Problem

LOG = logging.getLogger("deepmedix")


def reload_on_hangup(app: FastAPI, *, at_once: bool = False) -> None:
    """On SIGHUP, read the key file again and open the audit file anew (it may have been moved).

    ``at_once``: do so now as well, since the signal came before this could be called.
    """
    loop = asyncio.get_running_loop()
    at_work: set[asyncio.Task[None]] = set()

    def hang_up() -> None:
        task = loop.create_task(_reload(app))
        at_work.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(at_work.discard)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    if at_once:
        hang_up()


async def _reload(app: FastAPI) -> None:
    refused: Problem | None = None
    if app.state.authenticator.takes_keys:
        try:
            await reload_keys_of(app.state.authenticator)
        except Problem as problem:  # logged, and the keys in force stay
            refused = problem
    trail: AuditTrail | None = app.state.audit
    if trail is not None:
        try:
            await trail.reopen()
            if app.state.authenticator.takes_keys:
                await trail.record(_reloading(refused))
            LOG.info("the audit file was opened anew")
        except AuditUnavailableError as error:
            LOG.error("the audit trail cannot be written: %s", error)


def _reloading(refused: Problem | None) -> Occurrence:
    """The act of administration, of which no request tells: whoever may send signals did it."""
    return Occurrence(
        kind=AuditKind.ADMINISTRATION,
        operation="keys-reload",
        principal=None,
        client_address=None,
        server_address=None,
        request_id=uuid.uuid4().hex,
        status=200 if refused is None else refused.status,
        reason="on-sighup" if refused is None else f"{refused.code} on-sighup",
    )
