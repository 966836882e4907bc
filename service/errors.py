"""Every error becomes a problem document: problems themselves, what the store and the framework raise, mistakes.

No answer of the service is an error in another shape.
"""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from service.problems import (
    MEDIA_TYPE,
    PROBLEMS,
    DatabaseUnavailable,
    FieldError,
    IdempotencyConflict,
    Internal,
    MediaTooLarge,
    MethodNotAllowed,
    NotFound,
    Problem,
    StorageFull,
    Validation,
)
from worker.store.errors import (
    IdempotencyConflictError,
    MediaTooLargeError,
    NotFoundError,
    StorageFullError,
    StoreError,
)
from worker.store.records import JobError

log = logging.getLogger(__name__)

_NOT_LET_IN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_MUCH_BYTES = 1 << 20


def problem_response(request: Request, problem: Problem) -> JSONResponse:
    """The response for a problem: document, status and headers."""
    body = problem_document(problem, request.scope.get("path", ""))
    headers = problem.headers
    if problem.status in _NOT_LET_IN and _announces_much(request):
        headers = {**headers, "Connection": "close"}
    return JSONResponse(body, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def problem_document(problem: Problem, instance: str) -> dict[str, Any]:
    """The members of a problem document; `instance` is the path of the request."""
    return {
        "type": problem.slug,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        **problem.extra,
    }


def _announces_much(request: Request) -> bool:
    """Whether a large body follows, which nobody will read: the connection is closed rather than drained."""
    length = request.headers.get("content-length", "")
    return "transfer-encoding" in request.headers or (length.isdecimal() and int(length) > _MUCH_BYTES)


def from_job_error(error: JobError) -> Problem:
    """The problem for what a worker found wrong with a job."""
    kind = PROBLEMS.get(error.slug, Internal)
    later = kind.status == HTTPStatus.SERVICE_UNAVAILABLE
    return kind(_sentence(error.detail), headers={"Retry-After": "5"} if later else None)


def from_store(error: StoreError) -> Problem:
    """The problem for what a repository or the media store refused."""
    detail = _sentence(str(error))
    match error:
        case NotFoundError():
            return NotFound(detail)
        case IdempotencyConflictError():
            return IdempotencyConflict(f"{detail} Use a new Idempotency-Key for a new request.")
        case MediaTooLargeError():
            return MediaTooLarge(detail)
        case StorageFullError():
            return StorageFull(f"{detail} Delete finished jobs or give the service more disk.")
    return Internal(detail)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def from_http_exception(request: Request, error: HTTPException) -> Problem:
    """The problem for what Starlette and FastAPI raise themselves: unknown pages, wrong methods, bad bodies."""
    method, path = request.method, request.scope.get("path", "")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFound(f"There is no page {path}. All operations are listed at /docs.", headers=headers)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed_methods(request, headers.get("Allow", ""))
        return MethodNotAllowed(f"{path} does not take {method}. Use {allowed}.", headers={**headers, "Allow": allowed})
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return MediaTooLarge(f"{error.detail}. Send a smaller body.", headers=headers)
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Validation(f"{error.detail}. The operations and what they take are at /docs.", headers=headers)
    return Internal(f"{error.detail}. Try again; if it stays, look into the service's log.", headers=headers)


def _allowed_methods(request: Request, first_route: str) -> str:
    """All methods of a path; Starlette itself names those of the first route that fits."""
    template = getattr(request.scope.get("route"), "path", "")
    documented = request.app.openapi()["paths"].get(template, {})
    return ", ".join(sorted(method.upper() for method in documented)) or first_route


def from_validation(error: RequestValidationError) -> Problem:
    """The problem for parameters that pydantic refused: one line per parameter, without the refused input."""
    errors = [
        FieldError(where=".".join(str(part) for part in item["loc"]), message=str(item["msg"])).model_dump()
        for item in error.errors()
    ]
    named = ", ".join(dict.fromkeys(item["where"] for item in errors))
    return Validation(f"Correct {named or 'the request'}: see `errors` for what is wrong with each.", errors=errors)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""

    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> JSONResponse:
        return problem_response(request, error)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        return problem_response(request, from_http_exception(request, error))

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(request, from_validation(error))

    @app.exception_handler(StoreError)
    async def on_store(request: Request, error: StoreError) -> JSONResponse:
        return problem_response(request, from_store(error))

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    @app.exception_handler(PoolTimeoutError)
    async def on_database(request: Request, error: Exception) -> JSONResponse:
        log.warning("database: %s", error)
        problem = DatabaseUnavailable(
            "The database does not answer. Try again in a few seconds; /health/ready says when it is back.",
            headers={"Retry-After": "5"},
        )
        return problem_response(request, problem)

    @app.exception_handler(Exception)
    async def on_anything(request: Request, error: Exception) -> JSONResponse:
        incident = secrets.token_hex(4)
        log.error("incident %s: %s %s", incident, request.method, request.scope.get("path"), exc_info=error)
        problem = Internal(
            f"The service made a mistake. Try again; if it stays, report incident {incident}, "
            "under which the service's log has the details.",
            incident=incident,
        )
        return problem_response(request, problem)
