"""Exceptions of the framework and of the rooms, mapped to problem+json in one place."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.api import metrics
from service.api.problems import (
    FieldProblem,
    InvalidFields,
    internal_error,
    malformed_request,
    method_not_allowed,
    not_found,
    problem_response,
)
from service.problem import Problem


def add_handlers(app: FastAPI) -> None:
    """Register the handlers; what they do not know reaches ``middleware.RequestRecord``."""
    app.add_exception_handler(Problem, _handle)
    app.add_exception_handler(HTTPException, _handle)
    app.add_exception_handler(RequestValidationError, _handle)


async def _handle(request: Request, error: Exception) -> Response:
    problem = _problem_of(error)
    metrics.PROBLEMS.labels(code=problem.code).inc()
    request.state.problem = problem.code  # for the audit trail and the log
    response = problem_response(problem, getattr(request.state, "request_id", None))
    if isinstance(error, HTTPException) and error.status_code == 405:
        response.headers["Allow"] = ", ".join(_methods(request))
    return response


def _methods(request: Request) -> list[str]:
    """Return what the path can be asked by; the router names those of one route only."""
    path = request.scope["path"]
    routes = (route for route in request.app.routes if getattr(route, "path", None) == path)
    methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        # The locations that FastAPI gives are names of declared parameters.
        fields = [FieldProblem.of(str(item["loc"][-1]), item) for item in error.errors()]
        return InvalidFields(fields, [])
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return not_found()
        if error.status_code == 405:
            return method_not_allowed()
        if error.status_code < 500:
            return malformed_request("GET /docs lists what each path takes.")
    return internal_error()
