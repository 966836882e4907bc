"""The kinds of problem that the service answers with (RFC 9457).

One small class each. `slug` is the stable `type` of the document, which programs may compare; the detail given at the
place of the mistake is for a person and says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

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


class FormatMismatch(Problem):
    """A format, or a question, for clips that was asked of a picture, or the other way round."""

    slug, title, status = "format-mismatch", "The format does not fit the job", 409


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


class NotExplainable(Problem):
    """A network without the parts that were asked to be shown."""

    slug, title, status = "not-explainable", "There is nothing to explain in this network", 409


class JobExpired(Problem):
    """The rows or the media of a job are past their retention."""

    slug, title, status = "job-expired", "The job's data is gone", 410


class CheckpointUnknown(Problem):
    """A request names a checkpoint that is not installed."""

    slug, title, status = "checkpoint-unknown", "No such checkpoint", 422


class RangeNotSatisfiable(Problem):
    """A `Range` that begins behind the end of the file."""

    slug, title, status = "range-not-satisfiable", "No such part of the file", 416


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


class NotConfigured(Problem):
    """What is asked for needs settings that are not made."""

    slug, title, status = "not-configured", "The service is not set up for this", 503


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
