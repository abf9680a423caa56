"""Dependencies that routes declare."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from service.api.service import Service


async def get_service(request: Request) -> Service:
    """Return the running parts, put on the application by ``service.app``.

    A coroutine although it awaits nothing: others are called in a thread, which takes longer.
    """
    service = request.app.state.service
    if not isinstance(service, Service):  # wiring error, not the caller's
        raise TypeError("app.state.service is not a Service")
    return service


ServiceDep = Annotated[Service, Depends(get_service)]
