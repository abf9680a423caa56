"""``POST /admin/...``: acts of the operator, for callers with the scope ``admin``."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from service.api.documentation import problem_replies
from service.api.problems import key_file_unusable
from service.identity import Authenticator, KeyFileError

LOG = logging.getLogger("deepmedix")

router = APIRouter(tags=["operation"])


class KeysReloaded(BaseModel):
    """The keys now in force."""

    usable_keys: Annotated[
        int, Field(description="Keys that are neither expired nor revoked.", examples=[3])
    ]


@router.post(
    "/admin/keys/reload",
    operation_id="reload_keys",
    responses={
        **problem_replies(400, 401, 403, 408, 421, 431, 503),
        500: {
            **problem_replies(500)[500],
            "description": "The service failed. Codes: `internal-error`, `key-file-unusable`.",
        },
    },
)
async def reload_keys(request: Request) -> KeysReloaded:
    """Read the key file again, as SIGHUP does. A file that cannot be used changes nothing."""
    return KeysReloaded(usable_keys=await reload_keys_of(request.app.state.authenticator))


async def reload_keys_of(authenticator: Authenticator) -> int:
    """Read the key file again and return how many keys are usable.

    Raises
    ------
    Problem
        ``key-file-unusable``; the log says why.
    """
    try:
        usable = await asyncio.to_thread(authenticator.reload)
    except KeyFileError as error:
        LOG.error("the keys in force stay as they were: %s", error)
        raise key_file_unusable() from error
    LOG.info("the key file was read again: %d usable keys", usable)
    return usable
