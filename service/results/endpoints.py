"""Endpoints of stored results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response, StreamingResponse

from service.auth import Reader
from service.context import Ctx
from service.openapi import problems
from service.problems import JobExpired, JobNotFinished, MediaUnreadable, NotFound
from service.results import service
from service.results.pictures import RoiFormat, frame_picture, roi_picture
from service.results.schemas import FramesPage

router = APIRouter(prefix="/jobs/{job_id}/frames", tags=["results"])

NDJSON = "application/x-ndjson"
NPY = "application/x-npy"
PNG = "image/png"
_LAST_FRAME = 2**31 - 1
_BINARY = {"type": "string", "format": "binary"}
_CACHED = {"Cache-Control": "private, max-age=3600"}

FrameNumber = Annotated[int, Path(ge=0, le=_LAST_FRAME, description="Number of the frame; 0 in a picture")]


class FramesFormat(StrEnum):
    """How frames are written."""

    JSON = "json"
    NDJSON = "ndjson"


@router.get(
    "",
    summary="Read frames",
    response_model=FramesPage,
    responses={
        200: {
            "description": "A page as JSON, or every frame as one line of JSON",
            "content": {NDJSON: {"schema": {"type": "string"}}},
        },
        **problems(NotFound),
    },
)
async def read_frames(
    job_id: UUID,
    context: Ctx,
    caller: Reader,
    after: Annotated[int | None, Query(ge=0, le=_LAST_FRAME, description="Frames after this number")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most frames of a JSON page")] = 100,
    format: Annotated[
        FramesFormat | None, Query(description="`ndjson` streams all frames; so does `Accept: application/x-ndjson`")
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Frames in order with their faces; a frame without a face keeps its place.

    As JSON in pages: follow `next` until it is null. As NDJSON the whole job at once, streamed: one frame a line.
    A running job gives the frames that are stored so far.
    """
    if format is FramesFormat.NDJSON or (format is None and accept is not None and NDJSON in accept):
        await service.job_or_raise(context, caller.tenant, job_id)
        lines = service.frame_lines(context, caller.tenant, job_id, after)
        return StreamingResponse(lines, media_type=NDJSON)
    page = await service.frames_page(context, caller.tenant, job_id, after, limit)
    return Response(page.model_dump_json(), media_type="application/json")


@router.get(
    "/{frame}/overlay",
    summary="See a frame",
    response_class=Response,
    responses={
        200: {"description": "The picture", "content": {PNG: {"schema": _BINARY}}},
        **problems(NotFound, JobNotFinished, JobExpired, MediaUnreadable),
    },
)
async def see_frame(job_id: UUID, frame: FrameNumber, context: Ctx, caller: Reader) -> Response:
    """The frame with its faces boxed and numbered, the ROI maps of active AUs, and bars of all AUs beside it."""
    data = await frame_picture(context, caller.tenant, job_id, frame)
    return Response(data, media_type=PNG, headers=_CACHED)


@router.get(
    "/{frame}/faces/{face}/roi/{au}",
    summary="See a ROI map",
    response_class=Response,
    responses={
        200: {
            "description": "The map as a picture or as an array",
            "content": {
                PNG: {"schema": _BINARY},
                NPY: {"schema": _BINARY},
            },
        },
        **problems(NotFound, JobNotFinished, JobExpired, MediaUnreadable),
    },
)
async def see_roi_map(
    job_id: UUID,
    frame: FrameNumber,
    face: Annotated[int, Path(ge=0, le=32767, description="Number of the face in its frame, from 0, largest first")],
    au: Annotated[str, Path(pattern=r"^AU[1-9]\d?$", examples=["AU12"])],
    context: Ctx,
    caller: Reader,
    format: Annotated[
        RoiFormat | None,
        Query(
            description="`overlay`: the map on the whole frame (the default); `crop`: on the face; `map`: alone; "
            "`npy`: the numbers, float32 (H, W), as `Accept: application/x-npy` gives them too"
        ),
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """What the network drew for one AU of one face: red where it occurs, blue where it is absent.

    `curl -o au12.png http://127.0.0.1:8000/jobs/…/frames/0/faces/0/roi/AU12`
    """
    how = format or (RoiFormat.NPY if accept is not None and NPY in accept else RoiFormat.OVERLAY)
    data, media_type = await roi_picture(context, caller.tenant, job_id, frame, face, au, how)
    return Response(data, media_type=media_type, headers=_CACHED)
