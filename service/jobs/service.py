"""Jobs: taking a clip in, showing how it stands, ending it."""

from __future__ import annotations

import hashlib
import json
from uuid import UUID

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from service.context import Context
from service.jobs.containers import CONTAINERS, HEAD_BYTES, sniff_container
from service.jobs.schemas import JobAnswer, JobLinks, JobMedia, JobProblem, JobsPage, Progress
from service.problems import JobFinished, UnsupportedMedia
from service.results.answers import checkpoint_block
from worker.store.catalogue import MediaRepository
from worker.store.jobs import JobRepository
from worker.store.media import MediaWriter, StoredFile
from worker.store.notify import VIDEO_QUEUE, notify_jobs
from worker.store.records import Job, JobKind, JobOptions, JobState, MediaRecord


class ClipSink:
    """Passes an upload on to the media store once its first bytes are those of a video container."""

    def __init__(self, writer: MediaWriter) -> None:
        self._writer = writer
        self._head = b""
        self.mime: str | None = None

    def write(self, data: bytes, /) -> None:
        """Take the next bytes.

        Raises:
            UnsupportedMedia: this is no clip.
        """
        if self.mime is None:
            self._head += data[:HEAD_BYTES]
            self.mime = sniff_container(self._head)
            if self.mime is None:
                raise UnsupportedMedia(
                    f"The file is no video container that is read here. Send {CONTAINERS}; pictures go to /detect.",
                    headers={"Connection": "close"},
                )
        self._writer.write(data)


async def submit(
    context: Context,
    tenant: str,
    file: StoredFile,
    *,
    mime: str,
    name: str | None,
    options: JobOptions,
    checkpoint_id: UUID | None,
    idempotency_key: str | None,
) -> JobAnswer:
    """Make a job of a stored clip; with a repeated key the first job is given and the new file is removed.

    Raises:
        worker.store.errors.IdempotencyConflictError: the key was used for another clip or other options.
    """

    def write(connection: sa.Connection) -> tuple[JobAnswer, bool]:
        media = MediaRepository(connection)
        repository = JobRepository(connection)
        record = media.create(tenant, file, mime=mime, name=name)
        job, created = repository.create_video_job(
            tenant,
            record.id,
            options,
            checkpoint_id=checkpoint_id,
            idempotency_key=idempotency_key,
            request_sha256=_fingerprint(file, options, checkpoint_id),
        )
        if not created:
            media.delete(tenant, record.id)
        return _view(context, connection, job), created

    try:
        answer, created = await context.database.run(write)
    except Exception:  # not when cancelled: the transaction may commit all the same, and then needs its file
        await run_in_threadpool(context.media.delete, file.uri)
        raise
    if created:
        context.ringer.ring(VIDEO_QUEUE)
    else:
        await run_in_threadpool(context.media.delete, file.uri)
    return answer


async def queued_clips(context: Context, tenant: str) -> int:
    """How many clips of the tenant wait."""

    def read(connection: sa.Connection) -> int:
        return JobRepository(connection).queue_depth(JobKind.VIDEO, tenant)

    return await context.database.run(read)


async def get(context: Context, tenant: str, job_id: UUID) -> JobAnswer:
    """A job as it stands.

    Raises:
        worker.store.errors.NotFoundError: the tenant has no such job.
    """

    def read(connection: sa.Connection) -> JobAnswer:
        return _view(context, connection, JobRepository(connection).get_or_raise(tenant, job_id))

    return await context.database.run(read)


async def page(
    context: Context, tenant: str, *, state: JobState | None, kind: JobKind | None, after: UUID | None, limit: int
) -> JobsPage:
    """A page of the tenant's jobs, newest first."""

    def read(connection: sa.Connection) -> JobsPage:
        found = JobRepository(connection).list(tenant, state=state, kind=kind, after=after, limit=limit + 1)
        answers = [_view(context, connection, job) for job in found[:limit]]
        following = None
        if len(found) > limit:
            filters = "".join(f"&{name}={value}" for name, value in (("state", state), ("kind", kind)) if value)
            following = f"/jobs?after={answers[-1].id}&limit={limit}{filters}"
        return JobsPage(jobs=answers, next=following)

    return await context.database.run(read)


async def cancel(context: Context, tenant: str, job_id: UUID) -> JobAnswer:
    """Stop a job; what it has stored so far stays. Cancelling a cancelled job changes nothing.

    Raises:
        worker.store.errors.NotFoundError: the tenant has no such job.
        JobFinished: it succeeded or failed already.
    """

    def write(connection: sa.Connection) -> JobAnswer:
        job = JobRepository(connection).request_cancel(tenant, job_id)
        if job.state in (JobState.SUCCEEDED, JobState.FAILED):
            raise JobFinished(f"The job has {job.state} already. Delete it if its results are not wanted.")
        return _view(context, connection, job)

    return await context.database.run(write)


async def delete(context: Context, tenant: str, job_id: UUID) -> None:
    """Remove a job, its rows and its file; a worker that is at it stops by itself.

    Raises:
        worker.store.errors.NotFoundError: the tenant has no such job.
    """

    def write(connection: sa.Connection) -> list[str]:
        repository = JobRepository(connection)
        job = repository.get_or_raise(tenant, job_id)
        notify_jobs(connection, [job])  # whoever follows it looks, and finds it gone
        return list(repository.delete(tenant, job_id))

    for uri in await context.database.run(write):
        await run_in_threadpool(context.media.delete, uri)


def _view(context: Context, connection: sa.Connection, job: Job) -> JobAnswer:
    media = None if job.media_id is None else MediaRepository(connection).get(job.tenant, job.media_id)
    checkpoint = context.checkpoint_of(connection, job)
    fraction = None
    if job.frames_total:
        fraction = round(min(job.frames_done / job.frames_total, 1.0), 4)
    return JobAnswer(
        id=job.id,
        kind=job.kind,
        state=job.state,
        progress=Progress(frames_done=job.frames_done, frames_total=job.frames_total, fraction=fraction),
        options=job.options.to_json(),
        checkpoint=None if checkpoint is None else checkpoint_block(checkpoint),
        reading="network" if job.reading == "network" else "both" if job.reading else None,
        media=None if media is None else _media(media),
        attempts=job.attempts,
        error=None if job.error is None else JobProblem(type=job.error.slug, detail=job.error.detail),
        warnings=list(job.warnings),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
        links=JobLinks(self=f"/jobs/{job.id}", events=f"/jobs/{job.id}/events", frames=f"/jobs/{job.id}/frames"),
    )


def _media(record: MediaRecord) -> JobMedia:
    return JobMedia(
        name=record.name,
        mime=record.mime,
        bytes=record.bytes,
        sha256=record.sha256,
        width=record.width,
        height=record.height,
        fps=record.fps,
        duration_ms=record.duration_ms,
    )


def _fingerprint(file: StoredFile, options: JobOptions, checkpoint_id: UUID | None) -> str:
    """What must be equal for two requests of one Idempotency-Key to be the same."""
    named = [] if checkpoint_id is None else [str(checkpoint_id)]
    return hashlib.sha256(json.dumps([file.sha256, options.to_json(), *named], sort_keys=True).encode()).hexdigest()
