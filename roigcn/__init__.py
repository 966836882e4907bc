"""A client of a roigcn service: pictures and clips in, Action Units out.

    import roigcn

    client = roigcn.Client("http://127.0.0.1:8000")
    found = client.detect("portrait.jpg")
    found.faces[0]["AU12"].probability

    job = client.wait(client.submit("interview.mp4"))
    table = client.to_pandas(job)

`AsyncClient` has the same methods to await. Nothing of the service is imported here.
"""

from roigcn.async_client import AsyncClient
from roigcn.client import Client
from roigcn.errors import (
    CheckpointUnavailableError,
    CheckpointUnknownError,
    DatabaseUnavailableError,
    ForbiddenError,
    FormatMismatchError,
    IdempotencyConflictError,
    JobCancelledError,
    JobDeletedError,
    JobEndedError,
    JobFailedError,
    JobNotFinishedError,
    MediaTooLargeError,
    MediaUnreadableError,
    NotFoundError,
    ProblemError,
    QueueFullError,
    RoigcnError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedMediaError,
    ValidationError,
)
from roigcn.exports import AuEvent, AuEvents, ExportFormat
from roigcn.pictures import Picture
from roigcn.records import (
    ActionUnit,
    Box,
    CheckpointInfo,
    CheckpointRef,
    Detection,
    Face,
    Frame,
    Job,
    JobMedia,
    JobProblem,
    JobProgress,
)

__all__ = [
    "ActionUnit",
    "AsyncClient",
    "AuEvent",
    "AuEvents",
    "Box",
    "CheckpointInfo",
    "CheckpointRef",
    "CheckpointUnavailableError",
    "CheckpointUnknownError",
    "Client",
    "DatabaseUnavailableError",
    "Detection",
    "ExportFormat",
    "Face",
    "ForbiddenError",
    "FormatMismatchError",
    "Frame",
    "IdempotencyConflictError",
    "Job",
    "JobCancelledError",
    "JobDeletedError",
    "JobEndedError",
    "JobFailedError",
    "JobMedia",
    "JobNotFinishedError",
    "JobProblem",
    "JobProgress",
    "MediaTooLargeError",
    "MediaUnreadableError",
    "NotFoundError",
    "Picture",
    "ProblemError",
    "QueueFullError",
    "RoigcnError",
    "UnauthorizedError",
    "UnreachableError",
    "UnsupportedMediaError",
    "ValidationError",
]
