"""Endpoints of a job's file."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header
from fastapi.responses import StreamingResponse

from service.auth import Principal, Reader
from service.context import Ctx
from service.media import service
from service.media.links import media_reader
from service.media.ranges import parse_range
from service.openapi import problems
from service.problems import JobExpired, NotFound, RangeNotSatisfiable

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"])

_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_MIMES = (
    "video/mp4",
    "video/quicktime",
    "video/webm",
    "video/x-matroska",
    "video/x-msvideo",
    "video/ogg",
    "video/x-flv",
    "video/x-ms-wmv",
    "video/mpeg",
    "video/mp2t",
    "application/mxf",
    "application/octet-stream",
)
_CONTENT = dict.fromkeys(_MIMES, _FILE)


@router.get("/media-link", summary="Get a link for a player", responses=problems(NotFound, JobExpired))
async def get_media_link(job_id: UUID, context: Ctx, caller: Reader) -> service.MediaLink:
    """A link to the job's file for players that cannot send an API key. It opens this file alone, for some hours."""
    return await service.media_link(context, caller, job_id)


@router.get(
    "/media",
    summary="Get the clip itself",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The whole file", "content": _CONTENT, "headers": {"Accept-Ranges": _TEXT}},
        206: {"description": "The part asked for", "content": _CONTENT, "headers": {"Content-Range": _TEXT}},
        **problems(NotFound, JobExpired, RangeNotSatisfiable),
    },
)
async def get_media(
    job_id: UUID,
    context: Ctx,
    caller: Annotated[Principal, Depends(media_reader)],
    range: Annotated[str | None, Header(description="`bytes=0-1023`; one range")] = None,
    if_range: Annotated[str | None, Header(description="The `ETag` of an earlier answer")] = None,
) -> StreamingResponse:
    """The file as it was uploaded, whole or a range of it, so that players can seek."""
    file = await service.media_file(context, caller.tenant, job_id)
    size, etag = file.record.bytes, f'"{file.record.sha256[:32]}"'
    part = parse_range(range, size) if if_range in (None, etag) else None
    first, last = part or (0, size - 1)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(last - first + 1),
        "Content-Disposition": "inline",
        "ETag": etag,
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    body = service.read_part(file.path, first, last)
    return StreamingResponse(body, 206 if part else 200, headers, media_type=file.record.mime)
