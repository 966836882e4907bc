"""What a call can end with instead of an answer.

The service answers every error with a problem document (RFC 9457); each of its kinds has an exception here, so that a
program catches what it can handle and leaves the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from roigcn.records import Job


class RoigcnError(Exception):
    """Everything that a client raises about a server or a job."""


class UnreachableError(RoigcnError):
    """The server does not answer, or the connection broke and did not come back in time."""


class ProblemError(RoigcnError):
    """The server refused, and says why.

    Attributes:
        status: HTTP status.
        type: stable slug of the kind of problem, such as `media-unreadable`.
        title: the kind in words.
        detail: what happened and what to do about it.
        document: the whole problem document, with what else it has (`errors`, `incident`).
        retry_after_seconds: when the server says that a repetition may be worthwhile; None where it does not say.
    """

    slug: ClassVar[str] = ""

    def __init__(self, status: int, document: Mapping[str, Any], retry_after_seconds: float | None = None) -> None:
        self.status = status
        self.document = dict(document)
        self.type = str(document.get("type") or "unknown")
        self.title = str(document.get("title") or "Error")
        self.detail = str(document.get("detail") or self.title)
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{status} {self.type}: {self.detail}{self._fields()}")

    def _fields(self) -> str:
        errors = self.document.get("errors")
        if not isinstance(errors, list):
            return ""
        named = [f"{error.get('where')}: {error.get('message')}" for error in errors if isinstance(error, dict)]
        return f" ({'; '.join(named)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.document, self.retry_after_seconds)


class ValidationError(ProblemError):
    """The request is not what the operation takes."""

    slug = "validation"


class UnauthorizedError(ProblemError):
    """No key, or an unknown or revoked one."""

    slug = "unauthorized"


class ForbiddenError(ProblemError):
    """The key may not do this."""

    slug = "forbidden"


class NotFoundError(ProblemError):
    """No such job, frame, face or Action Unit."""

    slug = "not-found"


class MethodNotAllowedError(ProblemError):
    """The address is not one of a roigcn service of this version."""

    slug = "method-not-allowed"


class UploadStalledError(ProblemError):
    """The upload paused for too long."""

    slug = "upload-stalled"


class JobNotFinishedError(ProblemError):
    """Asked of a running job what only a finished one can give."""

    slug = "job-not-finished"


class JobFinishedError(ProblemError):
    """Asked of a finished job what only a running one can do."""

    slug = "job-finished"


class PictureCancelledError(ProblemError):
    """The picture's job was cancelled or deleted while its request waited."""

    slug = "job-cancelled"


class IdempotencyConflictError(ProblemError):
    """The idempotency key was used for another clip or other options."""

    slug = "idempotency-conflict"


class CheckpointPinnedError(ProblemError):
    """The server's settings fix the checkpoint."""

    slug = "checkpoint-pinned"


class CheckpointUnknownError(ProblemError):
    """The named checkpoint is not installed."""

    slug = "checkpoint-unknown"


class FormatMismatchError(ProblemError):
    """The format, or the question, is for clips and this is a picture, or the other way round."""

    slug = "format-mismatch"


class NotExplainableError(ProblemError):
    """The checkpoint has no graph convolution to look into."""

    slug = "not-explainable"


class JobExpiredError(ProblemError):
    """The job's data is past its retention."""

    slug = "job-expired"


class MediaTooLargeError(ProblemError):
    """More bytes or pixels than the server takes."""

    slug = "media-too-large"


class MediaTooLongError(ProblemError):
    """A clip longer than the server takes."""

    slug = "media-too-long"


class UnsupportedMediaError(ProblemError):
    """A format that the server does not read."""

    slug = "unsupported-media"


class MediaUnreadableError(ProblemError):
    """The picture or clip is broken or empty."""

    slug = "media-unreadable"


class RateLimitedError(ProblemError):
    """Too many requests."""

    slug = "rate-limited"


class InternalError(ProblemError):
    """A mistake in the service."""

    slug = "internal"


class WorkerLostError(ProblemError):
    """The analysis was tried and its worker died each time."""

    slug = "worker-lost"


class QueueFullError(ProblemError):
    """More work waits than the server takes on, or no worker was free in time."""

    slug = "queue-full"


class CheckpointUnavailableError(ProblemError):
    """The server has no checkpoint to work with."""

    slug = "checkpoint-unavailable"


class DatabaseUnavailableError(ProblemError):
    """The server's database does not answer."""

    slug = "database-unavailable"


class StorageFullError(ProblemError):
    """The server has no room for the upload."""

    slug = "storage-full"


PROBLEMS: dict[str, type[ProblemError]] = {kind.slug: kind for kind in ProblemError.__subclasses__()}
"""Every kind of problem by its slug; a slug that a newer server sends is a plain `ProblemError`."""


def problem_from(status: int, body: bytes, retry_after_seconds: float | None = None) -> ProblemError:
    """The exception for an answer of status 400 and above, also for one of a proxy that is no problem document."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "type" not in document:
        text = " ".join(body.decode("utf-8", "replace").split())[:200]
        document = {"type": "unknown", "title": f"HTTP status {status}", "detail": text or f"HTTP status {status}"}
    return PROBLEMS.get(str(document["type"]), ProblemError)(status, document, retry_after_seconds)


class JobEndedError(RoigcnError):
    """A job that was waited for ended without success.

    Attributes:
        job: its last state; None where it was deleted.
    """

    def __init__(self, message: str, job: Job | None = None) -> None:
        super().__init__(message, job)
        self.job = job

    def __str__(self) -> str:
        return str(self.args[0])


class JobFailedError(JobEndedError):
    """The job failed; `job.error` has the reason."""


class JobCancelledError(JobEndedError):
    """The job was cancelled; what was stored before stays."""


class JobDeletedError(JobEndedError):
    """The job was deleted while it was followed."""
