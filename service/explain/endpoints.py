"""Endpoint of explanations."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from service.auth import Reader
from service.context import Ctx
from service.explain import service
from service.openapi import problems
from service.problems import (
    CheckpointUnavailable,
    JobCancelled,
    JobExpired,
    JobNotFinished,
    MediaUnreadable,
    NotExplainable,
    NotFound,
    QueueFull,
    WorkerLost,
)

router = APIRouter(prefix="/jobs/{job_id}/frames", tags=["results"])

PNG = "image/png"
NPZ = "application/x-npz"
_BINARY = {"type": "string", "format": "binary"}
_CACHED = {"Cache-Control": "private, max-age=3600"}


class ExplainFormat(StrEnum):
    """What is made of an explanation."""

    PNG = "png"
    NPZ = "npz"


@router.get(
    "/{frame}/faces/{face}/explain",
    summary="See inside the network",
    response_class=Response,
    responses={
        200: {
            "description": "The picture, or the arrays",
            "content": {PNG: {"schema": _BINARY}, NPZ: {"schema": _BINARY}},
        },
        **problems(
            NotFound,
            JobNotFinished,
            JobCancelled,
            NotExplainable,
            JobExpired,
            MediaUnreadable,
            WorkerLost,
            QueueFull,
            CheckpointUnavailable,
        ),
    },
)
async def explain_face(
    request: Request,
    job_id: UUID,
    frame: Annotated[int, Path(ge=0, le=2**31 - 1, description="Number of the frame; 0 in a picture")],
    face: Annotated[int, Path(ge=0, le=32767, description="Number of the face in its frame, from 0, largest first")],
    context: Ctx,
    caller: Reader,
    au: Annotated[
        str | None,
        Query(pattern=r"^AU[1-9]\d?$", description="Whose channels and context are drawn; by default the likeliest AU"),
    ] = None,
    format: Annotated[
        ExplainFormat, Query(description="`png`: the picture; `npz`: the arrays, for `numpy.load`, of all AUs")
    ] = ExplainFormat.PNG,
) -> Response:
    """Feature channels before and after the graph convolution, eigenvector maps and ROI maps of one face.

    A worker computes it when it is first asked for, which takes a second or a few; further AUs of the face come at
    once. How to read the picture, and what not to conclude from it: docs/explain.md.

    `curl -o au12.png "http://127.0.0.1:8000/jobs/…/frames/0/faces/0/explain?au=AU12"`
    """
    shown = await service.shown_face(context, caller.tenant, job_id, frame, face, au, request.is_disconnected)
    if format is ExplainFormat.NPZ:
        return Response(shown.arrays, media_type=NPZ, headers=_CACHED)
    return Response(await service.draw(shown), media_type=PNG, headers=_CACHED)
