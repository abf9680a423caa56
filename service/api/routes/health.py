"""Probes, metrics and versions: cheap, without the engine's help."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from pydantic import BaseModel, Field
from starlette.responses import Response

from service.api import metrics, series
from service.api.deps import ServiceDep
from service.api.documentation import problem_replies
from service.api.service import Service
from service.api.version import program_version
from service.problem import Problem

router = APIRouter(tags=["operation"])

series.begin()

_ANYWHERE = (400, 408, 421, 431, 503)
"""Statuses that a request to any path can meet before its path is looked at."""


class Health(BaseModel):
    """Answer of a probe."""

    status: Literal["alive", "ready"] = Field(
        description="What the probe found.", examples=["ready"]
    )


class Version(BaseModel):
    """What is running."""

    service: Annotated[str, Field(description="Version of this program.", examples=["0.1.0"])]
    model: Annotated[str, Field(description="Checkpoint's name.", examples=["DeepMedix-R1"])]
    revision: Annotated[str, Field(description="Checkpoint's revision.", examples=["1"])]
    stage: Annotated[str, Field(description="Last training stage.", examples=["grpo"])]
    manifest_sha256: Annotated[
        str,
        Field(
            description="Digest of the checkpoint's manifest, in hexadecimal.",
            examples=["5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"],
        ),
    ]


@router.get("/livez", operation_id="livez", responses=problem_replies(*_ANYWHERE))
async def livez() -> Health:
    """Is the process alive? 200 as soon as it listens, also while the engine starts."""
    return Health(status="alive")


@router.get("/readyz", operation_id="readyz", responses=problem_replies(*_ANYWHERE))
async def readyz(service: ServiceDep) -> Health:
    """Will a request be answered? Engine healthy, warm-up done, not shutting down."""
    await service.check_ready()
    return Health(status="ready")


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}, "description": "Prometheus text format."},
        **problem_replies(*_ANYWHERE),
    },
)
async def prometheus(service: ServiceDep) -> Response:
    """Metrics of the service (`deepmedix_*`) and of vLLM (`vllm:*`), in Prometheus' format."""
    admission = service.admission
    metrics.ADMITTED.set(admission.admitted)
    metrics.WAITING.set(admission.waiting)
    metrics.ADMITTED_TOKENS.set(admission.tokens)
    metrics.ADMITTED_BYTES.set(admission.body_bytes)
    metrics.SERVICE_RATE.set(admission.tokens_per_second)
    metrics.TASKS.set(len(asyncio.all_tasks()))
    metrics.READY.set(await _is_ready(service))
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


async def _is_ready(service: Service) -> bool:
    """Whether ``/readyz`` says so: an engine that hangs is told of by that alone at first."""
    try:
        await service.check_ready()
    except Problem:
        return False
    return True


@router.get("/version", operation_id="version", responses=problem_replies(401, 403, *_ANYWHERE))
async def versions(service: ServiceDep) -> Version:
    """Versions of the program and of the checkpoint that it serves."""
    manifest = service.engine.manifest
    return Version(
        service=program_version(),
        model=manifest.name,
        revision=manifest.revision,
        stage=manifest.stage,
        manifest_sha256=service.engine.manifest_sha256,
    )
