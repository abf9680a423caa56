"""``POST /render``: the exact PNG that the model sees of a film."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import metrics
from service.api.admission import Place
from service.api.arrival import arrival
from service.api.audit import note_films
from service.api.deps import ServiceDep
from service.api.disconnect import until_disconnect
from service.api.documentation import film_replies, submission_of
from service.api.fields import RenderFields
from service.api.held_films import HeldFilms
from service.api.negotiation import PNG, accept_of, choose_format
from service.api.service import Service
from service.api.submission import Submission
from service.radiograph import PixelGrid, fit_to_grid, render_png
from service.telemetry import stage

router = APIRouter(tags=["reading"])


@router.post(
    "/render",
    operation_id="render",
    response_class=Response,
    responses=film_replies(
        {"content": {PNG: {"schema": {"format": "binary"}}}, "description": "The PNG."}
    ),
    openapi_extra=submission_of(RenderFields, max_images=1),
)
async def render(request: Request, service: ServiceDep) -> Response:
    """Render a film as the model sees it: windowed, upright, on the grid of its vision tower."""
    choose_format(accept_of(request.headers), (PNG,))
    async with arrival(request, service, RenderFields, max_images=1) as (place, submission):
        work = place.ending.within(_render(request, service, place, submission))
        png = await until_disconnect(request.receive, work)
    return Response(png, media_type=PNG, headers={"Vary": "Accept"})


async def _render(
    request: Request, service: Service, place: Place, submission: Submission[RenderFields]
) -> bytes:
    fields = submission.fields
    pixels = service.engine.manifest.pixels
    grid = PixelGrid(pixels.min_pixels, pixels.max_pixels, pixels.patch_size, pixels.merge_size)
    async with AsyncExitStack() as held:
        with stage("queue"), metrics.STAGE_SECONDS.labels(stage="queue").time():
            await held.enter_async_context(place.turn())
        decoding = stage("decode", {"deepmedix.films": 1})
        with decoding, metrics.STAGE_SECONDS.labels(stage="decode").time():
            radiograph = await HeldFilms(service.decoder, place).load(
                submission.films[0],
                frame=fields.frame,
                allow_other_anatomy=fields.allow_other_anatomy,
            )
        note_films(request, (radiograph,))
        for notice in radiograph.notices:
            metrics.NOTICES.labels(code=notice.code).inc()
        with stage("render"), metrics.STAGE_SECONDS.labels(stage="render").time():
            return await asyncio.to_thread(lambda: render_png(fit_to_grid(radiograph, grid)))
