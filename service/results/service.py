"""Stored frames in pages and as a stream of lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import sqlalchemy as sa

from service.context import Context
from service.results.answers import checkpoint_block, face_answer, frame_answer
from service.results.schemas import FramesPage
from service.rounding import rounded
from worker.store.jobs import JobRepository
from worker.store.records import Job
from worker.store.results import ResultRepository

__all__ = ["checkpoint_block", "face_answer", "frame_answer", "frame_lines", "frames_page", "job_or_raise", "rounded"]

_STREAM_PAGE_FRAMES = 200


async def frames_page(context: Context, tenant: str, job_id: UUID, after: int | None, limit: int) -> FramesPage:
    """A page of a job's frames.

    Raises:
        worker.store.errors.NotFoundError: the tenant has no such job.
    """

    def read(connection: sa.Connection) -> FramesPage:
        job = JobRepository(connection).get_or_raise(tenant, job_id)
        rows = ResultRepository(connection).frames_page(job, after, limit + 1)
        checkpoint = context.checkpoint_of(connection, job)
        codes = checkpoint.au_codes if checkpoint else ()
        more = len(rows) > limit
        frames = [frame_answer(row, codes) for row in rows[:limit]]
        return FramesPage(
            job=job.id,
            state=job.state,
            checkpoint=checkpoint_block(checkpoint) if checkpoint else None,
            frames=frames,
            next=f"/jobs/{job.id}/frames?after={frames[-1].frame}&limit={limit}" if more else None,
        )

    return await context.database.run(read)


async def frame_lines(context: Context, tenant: str, job_id: UUID, after: int | None = None) -> AsyncIterator[bytes]:
    """All stored frames of a job as NDJSON, a few hundred lines at a time, each read in a transaction of its own.

    Memory holds one page, whatever the length of the clip; a slow reader holds no connection.
    """

    def read(connection: sa.Connection, after: int | None) -> tuple[bytes, int | None]:
        job = JobRepository(connection).get(tenant, job_id)
        if job is None:  # deleted while it was read
            return b"", None
        rows = ResultRepository(connection).frames_page(job, after, _STREAM_PAGE_FRAMES)
        checkpoint = context.checkpoint_of(connection, job)
        codes = checkpoint.au_codes if checkpoint else ()
        lines = b"".join(frame_answer(row, codes).model_dump_json().encode() + b"\n" for row in rows)
        return lines, rows[-1].frame if rows else None

    while True:
        lines, after = await context.database.run(read, after)
        if not lines:
            return
        yield lines


async def job_or_raise(context: Context, tenant: str, job_id: UUID) -> Job:
    """The tenant's job.

    Raises:
        worker.store.errors.NotFoundError: there is none.
    """

    def read(connection: sa.Connection) -> Job:
        return JobRepository(connection).get_or_raise(tenant, job_id)

    return await context.database.run(read)
