"""Endpoints of checkpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool

from model.manifest import NAME_PATTERN, VERSION_PATTERN
from service.auth import NEEDS_ADMIN, NEEDS_READ
from service.checkpoints import service
from service.checkpoints.schemas import CheckpointAnswer, CheckpointsAnswer
from service.context import Ctx
from service.openapi import problems
from service.problems import CheckpointPinned, CheckpointUnavailable, NotFound

router = APIRouter(prefix="/checkpoints", tags=["checkpoints"])


@router.get("", summary="List checkpoints", responses=problems(), dependencies=[NEEDS_READ])
async def list_checkpoints(context: Ctx) -> CheckpointsAnswer:
    """Installed checkpoints, what they were trained on and how they were measured; `active` marks the one in use."""
    settings = context.settings
    return await run_in_threadpool(service.list_checkpoints, context.registry, settings.checkpoint, settings.reading)


@router.post(
    "/{name}/{version}/activate",
    summary="Choose the checkpoint of new jobs",
    responses=problems(NotFound, CheckpointPinned, CheckpointUnavailable),
    dependencies=[NEEDS_ADMIN],
)
async def activate(
    name: Annotated[str, Path(pattern=NAME_PATTERN, examples=["w18s-rendered"])],
    version: Annotated[str, Path(pattern=VERSION_PATTERN, examples=["1"])],
    context: Ctx,
) -> CheckpointAnswer:
    """Point to a checkpoint. Jobs that have begun keep theirs; every stored row names the one that made it."""
    settings = context.settings
    return await run_in_threadpool(
        service.activate, context.registry, settings.checkpoint, name, version, settings.reading
    )
