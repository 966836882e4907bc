"""One picture, from its bytes to its faces: queued like everything else, answered when the worker has committed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from model.image import ImageError, probe_image
from service.context import Context
from service.detect.schemas import DetectAnswer, DetectLinks, ImageBlock
from service.errors import from_job_error
from service.neutral import rest_in
from service.problems import (
    PROBLEMS,
    CheckpointUnavailable,
    Internal,
    JobCancelled,
    MediaUnreadable,
    Problem,
    QueueFull,
)
from service.results.answers import checkpoint_block, face_answer
from service.results.placing import crop_scale
from worker.store.catalogue import WorkerRepository
from worker.store.errors import NotFoundError
from worker.store.jobs import JobRepository
from worker.store.notify import DETECT_QUEUE
from worker.store.records import Job, JobOptions, JobState, RoiStorage
from worker.store.results import ResultRepository

# Without news the row is looked at, and the client's presence too.
_LOOK_SECONDS = 1.0
# Rows of a picture that is not to be stored go with the answer; if this process dies before, the sweep removes them.
_UNSTORED_SECONDS = 120.0

Gone = Callable[[], Awaitable[bool]]
T = TypeVar("T")


async def queue(
    context: Context, tenant: str, picture: bytes, options: JobOptions, checkpoint_id: UUID | None = None
) -> Job:
    """Put a picture before the workers; without a checkpoint, for the active one.

    Raises:
        Problem: its header is refused.
    """
    await run_in_threadpool(check_picture, picture, context.settings.max_image_pixels)
    seconds = context.settings.detect_seconds
    job = await context.database.run(_create, tenant, picture, options, seconds, checkpoint_id)
    context.ringer.ring(DETECT_QUEUE)
    return job


async def answer(context: Context, job: Job, gone: Gone) -> DetectAnswer:
    """Wait for a queued picture's result, see `outcome`."""
    found, _ = await answer_at_rest(context, job, gone)
    return found


async def answer_at_rest(context: Context, job: Job, gone: Gone) -> tuple[DetectAnswer, tuple[float, ...] | None]:
    """The same, with how brows and lids of the largest face rest if the picture shows a resting face."""
    return await outcome(context, job, gone, _answer)


async def outcome(context: Context, job: Job, gone: Gone, read: Callable[[sa.Connection, Context, Job], T]) -> T:
    """Wait for a queued picture's result and read it. Without one, the job is removed.

    Args:
        context: the app's.
        job: as `queue` gave it.
        gone: whether the client has left; its job is then removed too.
        read: makes the answer of the finished job's rows, in one transaction.

    Raises:
        Problem: the worker refused the picture, or nobody answered in time.
    """
    succeeded = False
    try:
        job = await _wait(context, job, gone)
        succeeded = job.state is JobState.SUCCEEDED
        if not succeeded:
            raise _why_not(job)
        return await context.database.run(read, context, job)
    finally:
        if not succeeded:
            await _remove(context, job.tenant, job.id)


def check_picture(picture: bytes, max_pixels: int) -> None:
    """Refuse by its header what no worker would read.

    Raises:
        Problem: of the kind that `model.image` names.
    """
    try:
        probe_image(picture, max_pixels)
    except ImageError as error:
        raise PROBLEMS.get(error.slug, MediaUnreadable)(error.detail) from error


@contextlib.contextmanager
def place_in_queue(context: Context) -> Iterator[None]:
    """One of the places for requests whose pictures are in memory or wait.

    Raises:
        QueueFull: all are taken.
    """
    limit = context.settings.max_waiting_detects
    if context.waiting_detects >= limit:
        raise QueueFull(
            f"{limit} pictures wait already. Send this one again shortly.",
            headers={"Retry-After": "2", "Connection": "close"},
        )
    context.waiting_detects += 1
    context.metrics.detects_waiting.set(context.waiting_detects)
    try:
        yield
    finally:
        context.waiting_detects -= 1
        context.metrics.detects_waiting.set(context.waiting_detects)


def _create(
    connection: sa.Connection,
    tenant: str,
    picture: bytes,
    options: JobOptions,
    seconds: float,
    checkpoint_id: UUID | None,
) -> Job:
    return JobRepository(connection).create_image_job(
        tenant,
        picture,
        options,
        deadline_seconds=seconds,
        checkpoint_id=checkpoint_id,
        expires_seconds=None if options.store else seconds + _UNSTORED_SECONDS,
    )


async def _wait(context: Context, job: Job, gone: Gone) -> Job:
    """The job in its final state."""

    def read(connection: sa.Connection) -> Job | None:
        return JobRepository(connection).get(job.tenant, job.id)

    loop = asyncio.get_running_loop()
    deadline = loop.time() + context.settings.detect_seconds
    # Subscribed first, looked second: an answer that is committed in between is found or heard, never missed.
    with context.listener.subscribe(job.id) as news:
        while True:
            found = await context.database.run(read)
            if found is None:
                raise JobCancelled("The picture's job was deleted while it waited. Send the picture again if needed.")
            if found.state.final:
                return found
            remaining = deadline - loop.time()
            if remaining <= 0 or await gone():
                raise await _too_late(context)
            await news.wait(min(remaining, _LOOK_SECONDS))


def _why_not(job: Job) -> Problem:
    if job.state is JobState.CANCELLED:
        return JobCancelled("The picture's job was cancelled while it waited. Send the picture again if needed.")
    if job.error is None:
        return Internal("The analysis failed without a reason. Try again, and look into the worker's log.")
    return from_job_error(job.error)


async def _too_late(context: Context) -> Problem:
    def read(connection: sa.Connection) -> bool:
        workers = WorkerRepository(connection).list(context.settings.worker_alive_seconds)
        return any(DETECT_QUEUE in worker.queues for worker in workers)

    seconds = context.settings.detect_seconds
    if await context.database.run(read):
        advice = "The workers are busy: send the picture again shortly, or start more of them."
    else:
        advice = "No worker for pictures is alive: start one (`roigcn serve` does) and see /health/ready."
    return QueueFull(f"The picture was not analysed within {seconds:g} s. {advice}", headers={"Retry-After": "5"})


def _answer(connection: sa.Connection, context: Context, job: Job) -> tuple[DetectAnswer, tuple[float, ...] | None]:
    """Shape the stored rows; rows that are not to be stored are removed in the same transaction."""
    results = ResultRepository(connection)
    checkpoint = context.checkpoint_of(connection, job)
    if checkpoint is None:
        raise CheckpointUnavailable("The checkpoint of this answer is no longer registered. Send the picture again.")
    stored = job.options.store
    full = job.options.roi is RoiStorage.FULL
    rows = [face for frame in results.frames_page(job, limit=1) for face in frame.faces]
    inline, scale = full and not stored, crop_scale(checkpoint)
    faces = [
        face_answer(row, checkpoint.au_codes, results.roi_map(job, 0, row.face) if inline else None, scale)
        for row in rows
    ]
    if not stored:
        JobRepository(connection).delete(job.tenant, job.id)
    links = DetectLinks(
        job=f"/jobs/{job.id}", roi=f"/jobs/{job.id}/frames/0/faces/{{face}}/roi/{{au}}" if full else None
    )
    answered = DetectAnswer(
        job=job.id if stored else None,
        image=ImageBlock(width=job.width or 0, height=job.height or 0),
        checkpoint=checkpoint_block(checkpoint),
        faces=faces,
        links=links if stored else None,
    )
    return answered, rest_in(rows)


async def _remove(context: Context, tenant: str, job_id: UUID) -> None:
    def write(connection: sa.Connection) -> None:
        with contextlib.suppress(NotFoundError):
            JobRepository(connection).delete(tenant, job_id)

    await context.database.run(write)
