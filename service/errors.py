"""Everything that can go wrong over HTTP, as RFC 9457 problem documents.

One small class per kind of problem. `type` is a stable slug that programs may compare; `detail` is for a person and
says what to do. Anything that is not a `Problem` when it reaches `install` becomes one here, so that no answer of the
service is an error in another shape.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from worker.store.errors import (
    IdempotencyConflictError,
    MediaTooLargeError,
    NotFoundError,
    StorageFullError,
    StoreError,
)
from worker.store.records import JobError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """A problem to answer a request with.

    Args:
        detail: what happened here and what to do about it, one or two sentences.
        headers: extra response headers, such as `Retry-After`.
        extra: extension members of the document (RFC 9457, section 3.2).
    """

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra


class Validation(Problem):
    """The request is not what the operation takes."""

    slug, title, status = "validation", "The request is not valid", 422


class Unauthorized(Problem):
    """No key, or an unknown or revoked one."""

    slug, title, status = "unauthorized", "An API key is needed", 401

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="roigcn"'}, **extra)


class Forbidden(Problem):
    """A known caller who may not do this."""

    slug, title, status = "forbidden", "Not allowed", 403


class NotFound(Problem):
    """Nothing of that name in the caller's tenant."""

    slug, title, status = "not-found", "Not found", 404


class MethodNotAllowed(Problem):
    """The page exists but not for this method."""

    slug, title, status = "method-not-allowed", "Method not allowed", 405


class RequestTimeout(Problem):
    """The client stopped sending in the middle of a body."""

    slug, title, status = "upload-stalled", "The upload stalled", 408


class JobNotFinished(Problem):
    """Asked of a running job what only a finished one can give."""

    slug, title, status = "job-not-finished", "The job is not finished", 409


class JobFinished(Problem):
    """Asked of a finished job what only a running one can do."""

    slug, title, status = "job-finished", "The job is already finished", 409


class JobCancelled(Problem):
    """The job was cancelled or deleted while its request waited."""

    slug, title, status = "job-cancelled", "The job was cancelled", 409


class IdempotencyConflict(Problem):
    """One Idempotency-Key, two different requests."""

    slug, title, status = "idempotency-conflict", "The Idempotency-Key was used for another request", 409


class CheckpointPinned(Problem):
    """The installation fixes the checkpoint."""

    slug, title, status = "checkpoint-pinned", "The checkpoint is fixed by the settings", 409


class JobExpired(Problem):
    """The rows or the media of a job are past their retention."""

    slug, title, status = "job-expired", "The job's data is gone", 410


class MediaTooLarge(Problem):
    """More bytes or pixels than the limits allow."""

    slug, title, status = "media-too-large", "The upload is too large", 413


class MediaTooLong(Problem):
    """A clip longer than the limits allow."""

    slug, title, status = "media-too-long", "The clip is too long", 422


class UnsupportedMedia(Problem):
    """A format that is not read here."""

    slug, title, status = "unsupported-media", "The format is not supported", 415


class MediaUnreadable(Problem):
    """The right format by name, but broken or empty."""

    slug, title, status = "media-unreadable", "The file cannot be read", 422


class RateLimited(Problem):
    """Too many requests from one caller."""

    slug, title, status = "rate-limited", "Too many requests", 429


class Internal(Problem):
    """A mistake in the service itself."""


class WorkerLost(Problem):
    """The analysis was tried and its worker died or failed each time."""

    slug, title, status = "worker-lost", "The analysis did not finish", 500


class QueueFull(Problem):
    """More work is waiting than is taken on, or no worker was free before a request's deadline."""

    slug, title, status = "queue-full", "No worker is free", 503


class CheckpointUnavailable(Problem):
    """No checkpoint of that name, or none at all."""

    slug, title, status = "checkpoint-unavailable", "The checkpoint is not available", 503


class DatabaseUnavailable(Problem):
    """Postgres does not answer."""

    slug, title, status = "database-unavailable", "The database does not answer", 503


class StorageFull(Problem):
    """No room for the upload."""

    slug, title, status = "storage-full", "No room for the upload", 507


PROBLEMS: dict[str, type[Problem]] = {problem.slug: problem for problem in Problem.__subclasses__()}
"""Every kind of problem by its slug."""


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="Which part of the request", examples=["query.limit"])
    message: str = Field(examples=["Input should be less than or equal to 1000"])


class ProblemDocument(BaseModel):
    """The body of every error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Stable slug of the kind of problem", examples=["not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What happened and what to do", examples=["There is no job of that id."])
    instance: str | None = Field(default=None, description="Path of the request", examples=["/jobs/0192"])
    errors: list[FieldError] | None = Field(default=None, description="With `validation`: each thing that is wrong")


def problem_response(request: Request, problem: Problem) -> JSONResponse:
    """The response for a problem: document, status and headers."""
    body = {
        "type": problem.slug,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.scope.get("path", ""),
        **problem.extra,
    }
    return JSONResponse(body, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


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
