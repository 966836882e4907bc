"""A job's file, and links to it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import anyio
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from service.auth import Principal
from service.context import Context
from service.media.links import LIFETIME_SECONDS, make_token
from service.problems import JobExpired
from service.results.schemas import JOB_EXAMPLE
from worker.store.catalogue import ApiKeyRepository, MediaRepository
from worker.store.errors import NotFoundError
from worker.store.jobs import JobRepository
from worker.store.records import ApiKeyRecord, MediaRecord

_CHUNK_BYTES = 256 << 10


class MediaLink(BaseModel):
    """Where a player finds the file."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": f"/jobs/{JOB_EXAMPLE}/media?token=019a1f3e7a527c119e0b5d1f6f1f2a10.1795000000.{'0f' * 32}",
                    "mime": "video/mp4",
                    "expires_at": "2026-11-24T14:00:00Z",
                }
            ]
        }
    )

    url: str = Field(description="Path that can be read without headers")
    mime: str
    expires_at: datetime | None = Field(description="When the link is spent; null while the service runs without keys")


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file of the media store."""

    path: Path
    record: MediaRecord


async def media_file(context: Context, tenant: str, job_id: UUID) -> MediaFile:
    """The file of a job.

    Raises:
        NotFoundError: the tenant has no such job.
        JobExpired: it has no file, or no more.
    """

    def read(connection: sa.Connection) -> MediaRecord | None:
        job = JobRepository(connection).get_or_raise(tenant, job_id)
        return None if job.media_id is None else MediaRepository(connection).get(tenant, job.media_id)

    record = await context.database.run(read)
    if record is not None:
        try:
            return MediaFile(context.media.path(record.uri), record)
        except NotFoundError:
            pass
    raise JobExpired(f"This job has no file. GET /jobs/{job_id}/frames has what was stored.")


async def media_link(context: Context, caller: Principal, job_id: UUID) -> MediaLink:
    """A link to a job's file that needs no headers.

    Raises:
        as `media_file`.
    """
    file = await media_file(context, caller.tenant, job_id)
    path = f"/jobs/{job_id}/media"

    def find(connection: sa.Connection) -> ApiKeyRecord | None:
        return None if caller.key_id is None else ApiKeyRepository(connection).get(UUID(caller.key_id))

    key = await context.database.run(find)
    if key is None:
        return MediaLink(url=path, mime=file.record.mime, expires_at=None)
    expires = int(time.time()) + LIFETIME_SECONDS
    url = f"{path}?token={make_token(key, job_id, expires)}"
    return MediaLink(url=url, mime=file.record.mime, expires_at=datetime.fromtimestamp(expires, UTC))


async def read_part(path: Path, first: int, last: int) -> AsyncIterator[bytes]:
    """The bytes `first` to `last` of a file, a piece at a time."""
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(first)
        remaining = last - first + 1
        while remaining > 0 and (chunk := await file.read(min(_CHUNK_BYTES, remaining))):
            remaining -= len(chunk)
            yield chunk
