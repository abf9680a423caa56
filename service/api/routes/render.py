"""``POST /render``: the exact PNG that the model sees of a film."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import metrics
from service.api.audit import note_films
from service.api.deps import ServiceDep
from service.api.disconnect import until_disconnect
from service.api.documentation import problem_replies, submission_of
from service.api.fields import RenderFields
from service.api.negotiation import PNG, accept_of, choose_format
from service.api.service import Service
from service.api.submission import Submission, read_submission
from service.radiograph import PixelGrid, fit_to_grid, render_png

router = APIRouter(tags=["reading"])


@router.post(
    "/render",
    operation_id="render",
    response_class=Response,
    responses={
        200: {"content": {PNG: {"schema": {"format": "binary"}}}, "description": "The PNG."},
        **problem_replies(),
    },
    openapi_extra=submission_of(RenderFields, max_images=1),
)
async def render(request: Request, service: ServiceDep) -> Response:
    """Render a film as the model sees it: windowed, upright, on the grid of its vision tower."""
    choose_format(accept_of(request.headers), (PNG,))
    async with service.admission.admit():
        submission = await read_submission(
            request, RenderFields, max_images=1, timeout=service.settings.body_timeout
        )
        png = await until_disconnect(request.receive, _render(request, service, submission))
    return Response(png, media_type=PNG, headers={"Vary": "Accept"})


async def _render(
    request: Request, service: Service, submission: Submission[RenderFields]
) -> bytes:
    fields = submission.fields
    pixels = service.engine.manifest.pixels
    grid = PixelGrid(pixels.min_pixels, pixels.max_pixels, pixels.patch_size, pixels.merge_size)
    async with service.admission.turn():
        with metrics.STAGE_SECONDS.labels(stage="decode").time():
            radiograph = await service.decoder.load(
                submission.films[0],
                frame=fields.frame,
                allow_other_anatomy=fields.allow_other_anatomy,
            )
        note_films(request, (radiograph,))
        for notice in radiograph.notices:
            metrics.NOTICES.labels(code=notice.code).inc()
        return await asyncio.to_thread(lambda: render_png(fit_to_grid(radiograph, grid)))
