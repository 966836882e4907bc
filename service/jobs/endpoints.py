"""Endpoints of jobs."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from service.auth import Reader, Writer
from service.checkpoints.choice import CheckpointRef, chosen
from service.context import Ctx
from service.jobs import service
from service.jobs.events import job_events
from service.jobs.schemas import JobAnswer, JobsPage
from service.neutral import NeutralJob, rest_of
from service.openapi import problems
from service.problems import (
    CheckpointPinned,
    CheckpointUnavailable,
    CheckpointUnknown,
    IdempotencyConflict,
    JobFinished,
    MediaTooLarge,
    MediaUnreadable,
    NotFound,
    QueueFull,
    RequestTimeout,
    StorageFull,
    UnsupportedMedia,
)
from service.uploads import receive_file
from worker.store.records import FaceSelection, JobKind, JobOptions, JobState, RoiStorage

router = APIRouter(prefix="/jobs", tags=["jobs"])

_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "Fields of one event",
    "required": ["event", "id", "data"],
    "properties": {
        "event": {"enum": ["progress", "succeeded", "failed", "cancelled", "deleted"]},
        "id": {"type": "string", "description": "For `Last-Event-ID`"},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "The job"},
        "retry": {"type": "integer", "description": "Milliseconds"},
    },
}
_VIDEO_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["video"],
                    "additionalProperties": False,
                    "properties": {"video": {"type": "string", "format": "binary", "description": "The clip"}},
                },
            }
        },
    }
}


@router.post(
    "",
    status_code=202,
    summary="Submit a clip",
    response_model=JobAnswer,
    responses={
        202: {
            "description": "Queued; follow `Location`",
            "headers": {
                "Location": {"schema": {"type": "string"}, "description": "Path of the job"},
                "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until a look is worthwhile"},
            },
        },
        **problems(
            IdempotencyConflict,
            MediaTooLarge,
            MediaUnreadable,
            UnsupportedMedia,
            RequestTimeout,
            QueueFull,
            StorageFull,
            NotFound,
            CheckpointUnknown,
            CheckpointPinned,
            CheckpointUnavailable,
        ),
    },
    openapi_extra=_VIDEO_BODY,
)
async def submit_clip(
    request: Request,
    response: Response,
    context: Ctx,
    caller: Writer,
    roi: Annotated[RoiStorage, Query(description="What is kept of the ROI maps")] = RoiStorage.FULL,
    faces: Annotated[FaceSelection, Query(description="Which faces of each frame are analysed")] = FaceSelection.ALL,
    checkpoint: CheckpointRef = None,
    neutral: NeutralJob = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern=r"^[!-~]+$",
            description="A repeated request with the same key, clip and options gives the first one's job",
            examples=["3f9a2c1e-upload-17"],
        ),
    ] = None,
) -> JobAnswer:
    """Queue a clip for analysis. The body is `multipart/form-data` with the file in the field `video`:

    `curl -F video=@clip.mp4 http://127.0.0.1:8000/jobs`
    """
    settings = context.settings
    if await service.queued_clips(context, caller.tenant) >= settings.max_queued_videos:
        raise QueueFull(
            f"{settings.max_queued_videos} clips wait already. Submit again when some of them are done.",
            headers={"Retry-After": "60", "Connection": "close"},
        )
    checkpoint_id = await chosen(context, checkpoint)
    rest = await rest_of(context, caller.tenant, neutral)
    with context.media.writer(settings.max_video_bytes) as writer:
        sink = service.ClipSink(writer)
        received = await receive_file(
            request,
            "video",
            sink,
            limit_bytes=settings.max_video_bytes,
            idle_seconds=settings.upload_idle_seconds,
        )
        stored = await run_in_threadpool(writer.finalise)
    context.metrics.upload_bytes.labels("video").inc(stored.bytes)
    answer = await service.submit(
        context,
        caller.tenant,
        stored,
        mime=sink.mime or "application/octet-stream",
        name=_display_name(received.filename),
        options=JobOptions(roi=roi, faces=faces, rest=rest),
        checkpoint_id=checkpoint_id,
        idempotency_key=idempotency_key,
    )
    response.headers["Location"] = answer.links.self
    response.headers["Retry-After"] = "1"
    return answer


@router.get("", summary="List jobs", responses=problems())
async def list_jobs(
    context: Ctx,
    caller: Reader,
    state: Annotated[JobState | None, Query(description="Only jobs in this state")] = None,
    kind: Annotated[JobKind | None, Query(description="Only pictures or only clips")] = None,
    after: Annotated[UUID | None, Query(description="The last id of the page before; `next` has it")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobsPage:
    """The caller's jobs, newest first, in pages: follow `next` until it is null."""
    return await service.page(context, caller.tenant, state=state, kind=kind, after=after, limit=limit)


@router.get(
    "/{job_id}",
    summary="Look at a job",
    response_model=JobAnswer,
    responses={
        200: {"headers": {"ETag": {"schema": {"type": "string"}, "description": "For `If-None-Match`"}}},
        304: {"description": "Nothing changed since `If-None-Match`"},
        **problems(NotFound),
    },
)
async def get_job(
    job_id: UUID,
    context: Ctx,
    caller: Reader,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of an earlier answer")] = None,
) -> Response:
    """State, progress and, once it is there, the error of a job. Poll it with `If-None-Match`, or use its events."""
    answer = await service.get(context, caller.tenant, job_id)
    body = answer.model_dump_json().encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if not answer.state.final:
        headers["Retry-After"] = "1"
    if if_none_match is not None and _matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "Server-sent events `progress`, then one of `succeeded`, `failed`, `cancelled`, `deleted`. "
            "The data of each is the job as `GET /jobs/{job_id}` gives it; the present state comes first.",
            "content": {"text/event-stream": {"schema": _EVENT}},
        },
        **problems(NotFound),
    },
)
async def follow_job(
    job_id: UUID,
    context: Ctx,
    caller: Reader,
    last_event_id: Annotated[str | None, Header(description="Sent by a client that reconnects")] = None,
) -> EventSourceResponse:
    """Progress as it happens: `curl -N http://127.0.0.1:8000/jobs/…/events`. The stream ends with the job."""
    await service.get(context, caller.tenant, job_id)
    return EventSourceResponse(job_events(context, caller.tenant, job_id, last_event_id), ping=15)


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=problems(NotFound, JobFinished))
async def cancel_job(job_id: UUID, context: Ctx, caller: Writer) -> JobAnswer:
    """Stop a queued job at once, a running one (`cancelling`) within moments. Frames stored so far stay."""
    return await service.cancel(context, caller.tenant, job_id)


@router.delete("/{job_id}", status_code=204, summary="Delete a job", responses=problems(NotFound))
async def delete_job(job_id: UUID, context: Ctx, caller: Writer) -> None:
    """Remove a job with all its rows, ROI maps and its file, whatever its state."""
    await service.delete(context, caller.tenant, job_id)


def _matches(if_none_match: str, etag: str) -> bool:
    candidates = [candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")]
    return "*" in candidates or etag in candidates


def _display_name(filename: str | None) -> str | None:
    """The last part of a client's file name, without what no database or terminal should be fed."""
    if filename is None:
        return None
    last = filename.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(char for char in last if char.isprintable())[:200] or None
