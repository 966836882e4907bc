"""Endpoints of health and metrics."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from service.auth import NEEDS_READ
from service.context import Ctx
from service.health import service
from service.health.schemas import LiveAnswer, ReadyAnswer
from service.openapi import problems

router = APIRouter(tags=["health"])


@router.get("/health/live", summary="Is the process alive?", responses=problems())
async def live() -> LiveAnswer:
    """Answers as long as the process does; asks nothing else."""
    return LiveAnswer(version=version("roigcn"))


@router.get(
    "/health/ready",
    summary="Can requests be answered?",
    responses={
        503: {"description": "Something is missing; the answer says what", "model": ReadyAnswer},
        **{status: entry for status, entry in problems().items() if status != 503},
    },
)
async def ready(context: Ctx, response: Response) -> ReadyAnswer:
    """200 when database, workers and checkpoint are there, 503 with the reason otherwise. Needs no key."""
    answer = await service.ready(context)
    if not answer.ready:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return answer


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={
        200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(),
    },
    dependencies=[NEEDS_READ],
)
async def metrics(context: Ctx) -> Response:
    """Requests, latencies, queue depths and live workers."""
    await service.measure(context)
    return Response(generate_latest(context.metrics.registry), media_type=CONTENT_TYPE_LATEST)
