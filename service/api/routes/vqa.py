"""``POST /vqa``: a grounded answer to a question about a study."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.deps import ServiceDep
from service.api.documentation import reading_replies, submission_of
from service.api.fields import VqaFields
from service.api.studies import answer_study
from service.interpretation import MAX_FILMS
from service.results import VqaReply

router = APIRouter(tags=["reading"])


@router.post(
    "/vqa",
    operation_id="vqa",
    response_model=VqaReply,
    responses=reading_replies("The answer."),
    openapi_extra=submission_of(VqaFields, max_images=MAX_FILMS),
)
async def vqa(request: Request, service: ServiceDep) -> Response:
    """Answer a question about one study's films, with reasoning steps that point at boxes.

    The `Accept` header chooses the format: JSON, the film with numbered boxes as PNG, Markdown,
    or a stream of events.
    """
    return await answer_study(request, service, VqaFields)
