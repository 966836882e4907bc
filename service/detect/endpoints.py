"""Endpoint of `POST /detect`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from service.auth import Writer
from service.checkpoints.choice import CheckpointRef, chosen
from service.context import Context, Ctx
from service.detect import service
from service.detect.schemas import DetectAnswer
from service.neutral import NeutralJob, rest_of
from service.openapi import problems
from service.problems import (
    CheckpointPinned,
    CheckpointUnavailable,
    CheckpointUnknown,
    JobCancelled,
    MediaTooLarge,
    MediaUnreadable,
    NotFound,
    QueueFull,
    RequestTimeout,
    UnsupportedMedia,
    WorkerLost,
)
from service.uploads import MemorySink, content_type, receive_base64, receive_file
from worker.store.records import FaceSelection, JobOptions, RoiStorage

router = APIRouter(tags=["detect"])

# The smallest PNG, one white pixel: enough to try the operation with, and a picture without a face.
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"

_IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "additionalProperties": False,
                    "properties": {"image": {"type": "string", "format": "binary", "description": "The picture"}},
                },
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["image_base64"],
                    "additionalProperties": False,
                    "properties": {
                        "image_base64": {
                            "type": "string",
                            "format": "byte",
                            "minLength": 4,
                            "description": "The picture's file in base64; a data URL is taken too",
                        }
                    },
                },
                "examples": {"one white pixel": {"value": {"image_base64": _PNG}}},
            },
        },
    }
}


@router.post(
    "/detect",
    summary="Read the Action Units of a picture",
    responses=problems(
        MediaTooLarge,
        MediaUnreadable,
        UnsupportedMedia,
        NotFound,
        RequestTimeout,
        QueueFull,
        CheckpointUnknown,
        CheckpointPinned,
        CheckpointUnavailable,
        WorkerLost,
        JobCancelled,
    ),
    openapi_extra=_IMAGE_BODY,
)
async def detect(
    request: Request,
    context: Ctx,
    caller: Writer,
    roi: Annotated[
        RoiStorage,
        Query(
            description="`none`: decisions and scores only; `peaks`: also amplitudes and centres of the regions; "
            "`full`: also keep the ROI maps"
        ),
    ] = RoiStorage.FULL,
    faces: Annotated[FaceSelection, Query(description="Which faces are analysed")] = FaceSelection.ALL,
    store: Annotated[
        bool, Query(description="Keep picture and results as a job; `false` leaves nothing behind")
    ] = True,
    checkpoint: CheckpointRef = None,
    neutral: NeutralJob = None,
) -> DetectAnswer:
    """Find the faces of a picture and read their Action Units, within the request.

    Send `multipart/form-data` with the file in the field `image`, or JSON:

    `curl -F image=@photo.jpg http://127.0.0.1:8000/detect`

    Requests that come at the same time are analysed in common batches. A picture without a face is answered with no
    faces.
    """
    with service.place_in_queue(context):
        rest = await rest_of(context, caller.tenant, neutral)
        options = JobOptions(roi=roi, faces=faces, store=store, rest=rest)
        checkpoint_id = await chosen(context, checkpoint)
        # The bytes are not kept in memory while their job waits.
        job = await service.queue(context, caller.tenant, await _picture(request, context), options, checkpoint_id)
        return await service.answer(context, job, request.is_disconnected)


async def _picture(request: Request, context: Context) -> bytes:
    """The picture's bytes from either kind of body."""
    limit_bytes, idle_seconds = context.settings.max_image_bytes, context.settings.upload_idle_seconds
    if content_type(request) == "application/json":
        picture = await receive_base64(request, "image_base64", limit_bytes=limit_bytes, idle_seconds=idle_seconds)
    else:
        sink = MemorySink()
        await receive_file(request, "image", sink, limit_bytes=limit_bytes, idle_seconds=idle_seconds)
        picture = bytes(sink.data)
    context.metrics.upload_bytes.labels("image").inc(len(picture))
    return picture
