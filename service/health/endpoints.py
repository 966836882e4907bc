"""Endpoints of health, metrics and the first page."""

from __future__ import annotations

from html import escape
from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from service.auth import NEEDS_READ
from service.context import Ctx
from service.health import service
from service.health.schemas import LiveAnswer, ReadyAnswer
from service.openapi import problems

router = APIRouter(tags=["health"])

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>roigcn</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#222}}
pre{{background:#f4f4f4;padding:.8rem;overflow:auto;border-radius:4px}}a{{color:#0b57d0}}</style>
<h1>roigcn {version}</h1>
<p>Facial Action Units with the ROI-GCN network: pictures and clips in, per-frame Action Units and ROI maps out.</p>
<p>Send a picture:</p><pre>curl -F image=@photo.jpg {base}detect</pre>
<p>Submit a clip, then follow it:</p>
<pre>curl -F video=@clip.mp4 {base}jobs
curl -N {base}jobs/JOB/events
curl '{base}jobs/JOB/frames?format=ndjson'</pre>
<p><a href="docs">All operations</a> · <a href="openapi.json">OpenAPI</a> · <a href="jobs">jobs</a> ·
<a href="checkpoints">checkpoints</a> · <a href="health/ready">ready?</a> · <a href="metrics">metrics</a></p>
</html>
"""


@router.get("/", response_class=HTMLResponse, summary="The first page", include_in_schema=False)
async def first_page(request: Request) -> str:
    """Links and a first command."""
    return _PAGE.format(version=version("roigcn"), base=escape(str(request.base_url)))


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
