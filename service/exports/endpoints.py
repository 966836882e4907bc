"""Endpoints of exports and AU events."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse

from model.events import Baseline, EventOptions
from service.auth import NEEDS_READ, Reader
from service.context import Ctx
from service.exports import service
from service.exports.registry import FORMATS
from service.exports.schemas import EventsAnswer, ExportFile, FormatsAnswer
from service.openapi import problems
from service.problems import FormatMismatch, JobNotFinished, NotFound, Validation

router = APIRouter(tags=["exports"])

_FILES: dict[str, Any] = {
    known.media_type: {"schema": {"type": "string", "format": "binary"}}
    for known in FORMATS.values()
    if known.media_type != "application/json"
}
_Ms = Annotated[float, Query(ge=0, le=3_600_000, allow_inf_nan=False)]


def event_options(
    on: Annotated[
        float | None,
        Query(
            gt=0,
            le=1,
            allow_inf_nan=False,
            description="An event begins at this probability (with `baseline=median`: at this rise). Default: the "
            "checkpoint's own threshold of each AU, or 0.5",
        ),
    ] = None,
    off: Annotated[
        float | None,
        Query(gt=0, le=1, allow_inf_nan=False, description="It lasts while at least this. Default: 0.7 times `on`"),
    ] = None,
    min_ms: Annotated[_Ms, Query(description="Shorter events are dropped")] = 100.0,
    gap_ms: Annotated[_Ms, Query(description="Gaps up to this are closed")] = 100.0,
    baseline: Annotated[
        Baseline,
        Query(
            description="`median` measures each face's probability from its own median in the clip, as a share of the "
            "room above it"
        ),
    ] = Baseline.NONE,
) -> EventOptions:
    """The query's event options.

    Raises:
        Validation: they contradict each other.
    """
    try:
        return EventOptions(on, off, min_ms, gap_ms, baseline)
    except ValueError as error:
        raise Validation(f"These event options do not go together: {error}.") from error


Events = Annotated[EventOptions, Depends(event_options)]


@router.get("/exports", summary="List the formats", responses=problems(), dependencies=[NEEDS_READ])
async def list_formats() -> FormatsAnswer:
    """The formats in which a job's results can be had, and which of them hold clips, pictures and AU events."""
    return service.formats()


@router.get(
    "/jobs/{job_id}/export",
    summary="Export a job",
    response_class=Response,
    responses={
        200: {
            "description": "The file, streamed",
            "model": ExportFile,
            "content": _FILES,
            "headers": {"Content-Disposition": {"schema": {"type": "string"}, "description": "With the file's name"}},
        },
        **problems(NotFound, JobNotFinished, FormatMismatch),
    },
)
async def export_job(
    job_id: UUID,
    context: Ctx,
    caller: Reader,
    events: Events,
    format: Annotated[str, Query(description="Its name, from `GET /exports`", json_schema_extra={"enum": [*FORMATS]})],
    partial: Annotated[
        bool, Query(description="Also of a job that runs, failed or was cancelled: the frames stored so far")
    ] = False,
) -> Response:
    """A job's results as a file for another tool:

    `curl -OJ "http://127.0.0.1:8000/jobs/…/export?format=elan"`

    The event options apply to formats that hold AU events.
    """
    export = await service.prepare(context, caller.tenant, job_id, format, events, partial=partial)
    return StreamingResponse(
        service.pieces(context, export),
        media_type=export.format.media_type,
        headers={"Content-Disposition": export.disposition, "Cache-Control": "private, no-cache"},
    )


@router.get("/jobs/{job_id}/au-events", summary="Find AU events", responses=problems(NotFound, FormatMismatch))
async def find_events(job_id: UUID, context: Ctx, caller: Reader, events: Events) -> EventsAnswer:
    """Where each AU begins, is clearest and ends on each face of a clip.

    Computed from the stored frames with the thresholds of this request. An event says when an AU was seen, not how
    strong it was.
    """
    return await service.au_events(context, caller.tenant, job_id, events)
