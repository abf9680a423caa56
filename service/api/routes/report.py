"""``POST /report``: a grounded report of a study."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.deps import ServiceDep
from service.api.documentation import reading_replies, submission_of
from service.api.fields import ReportFields
from service.api.studies import answer_study
from service.interpretation import MAX_FILMS
from service.results import ReportReply

router = APIRouter(tags=["reading"])


@router.post(
    "/report",
    operation_id="report",
    response_model=ReportReply,
    responses=reading_replies("The report."),
    openapi_extra=submission_of(ReportFields, max_images=MAX_FILMS),
)
async def report(request: Request, service: ServiceDep) -> Response:
    """Write a report of one study's films, with reasoning steps that point at boxes on them.

    The `Accept` header chooses the format: JSON, the film with numbered boxes as PNG, Markdown,
    or a stream of events.
    """
    return await answer_study(request, service, ReportFields)
