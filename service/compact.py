"""Answers of many numbers, compressed for clients that take it."""

from __future__ import annotations

import gzip

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

_WORTH_BYTES = 2000


async def compact_json(request: Request, answer: BaseModel) -> Response:
    """The answer as JSON, as gzip if the request's `Accept-Encoding` names it and there is something to gain."""
    headers = {"Vary": "Accept-Encoding"}
    body = await run_in_threadpool(lambda: answer.model_dump_json().encode())
    if len(body) > _WORTH_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        body = await run_in_threadpool(gzip.compress, body, 1)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type="application/json", headers=headers)
