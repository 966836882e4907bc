"""Endpoints of stored results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from service.auth import Reader
from service.compact import compact_json
from service.context import Ctx
from service.openapi import problems
from service.problems import JobExpired, JobNotFinished, MediaUnreadable, NotFound
from service.results import service
from service.results.maps import RoiMapsAnswer, roi_maps
from service.results.pictures import RoiFormat, frame_picture, plain_picture, roi_picture
from service.results.schemas import FramesPage
from service.results.timeline import TimelinePage, timeline_page

router = APIRouter(prefix="/jobs/{job_id}/frames", tags=["results"])
whole_job = APIRouter(prefix="/jobs/{job_id}", tags=["results"])

NDJSON = "application/x-ndjson"
JPEG = "image/jpeg"
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
    A running job gives the frames that are stored so far; AU1, AU2, AU4 and AU7 may change with its end, when they are
    held against each person's own rest.
    """
    if format is FramesFormat.NDJSON or (format is None and accept is not None and NDJSON in accept):
        await service.job_or_raise(context, caller.tenant, job_id)
        lines = service.frame_lines(context, caller.tenant, job_id, after)
        return StreamingResponse(lines, media_type=NDJSON)
    page = await service.frames_page(context, caller.tenant, job_id, after, limit)
    return Response(page.model_dump_json(), media_type="application/json")


@router.get(
    "/{frame}/picture",
    summary="Get a frame's picture",
    response_class=Response,
    responses={
        200: {"description": "The picture", "content": {JPEG: {"schema": _BINARY}}},
        **problems(NotFound, JobNotFinished, JobExpired, MediaUnreadable),
    },
)
async def get_picture(job_id: UUID, frame: FrameNumber, context: Ctx, caller: Reader) -> Response:
    """The upright frame itself, without any drawing: for clips that a browser cannot play, and kept pictures."""
    data = await plain_picture(context, caller.tenant, job_id, frame)
    return Response(data, media_type=JPEG, headers=_CACHED)


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


@whole_job.get("/timeline", summary="See a clip at a glance", response_model=TimelinePage, responses=problems(NotFound))
async def see_timeline(
    request: Request,
    job_id: UUID,
    context: Ctx,
    caller: Reader,
    after: Annotated[int | None, Query(ge=0, le=_LAST_FRAME, description="Frames after this number")] = None,
    limit: Annotated[int, Query(ge=1, le=5000, description="Most frames of a page")] = 2000,
) -> Response:
    """Times, boxes, scores and probabilities in columns, without landmarks and regions: a long clip in little space.

    In pages: follow `next` until it is null. A running job gives the frames that are stored so far; AU1, AU2, AU4 and
    AU7 may change with its end, when they are held against each person's own rest.
    """
    return await compact_json(request, await timeline_page(context, caller.tenant, job_id, after, limit))


@whole_job.get(
    "/roi-maps", summary="Get ROI maps of many frames", response_model=RoiMapsAnswer, responses=problems(NotFound)
)
async def get_roi_maps(
    request: Request,
    job_id: UUID,
    context: Ctx,
    caller: Reader,
    first: Annotated[int, Query(ge=0, le=_LAST_FRAME, description="Number of the first frame")] = 0,
    count: Annotated[int, Query(ge=1, le=64, description="How many frames from there on")] = 1,
    au: Annotated[
        list[Annotated[str, Field(pattern=r"^AU[1-9]\d?$")]] | None,
        Query(max_length=64, description="Which AUs, by default all: `au=AU4&au=AU12`"),
    ] = None,
) -> Response:
    """The maps as numbers, one byte a pixel, each with its place in the picture: for drawing over a playing clip."""
    return await compact_json(request, await roi_maps(context, caller.tenant, job_id, first, count, au))
