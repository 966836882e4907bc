"""`ClaimRepository`: what a worker does with jobs.

A claim takes queued rows with FOR UPDATE SKIP LOCKED, so two workers never take one job, and gives each a fresh lease.
Every write of a worker names that lease: who has lost it (requeued after missed heartbeats, deleted) writes nothing and
gets `LeaseLostError`. `attempts` counts claims since the job last made progress.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from worker.store.errors import LeaseLostError
from worker.store.notify import notify_jobs, notify_work
from worker.store.records import ClaimedImage, Job, JobError, JobKind, JobState
from worker.store.rows import job_of
from worker.store.tables import jobs, payloads

_QUEUED = jobs.c.state == JobState.QUEUED.value
_NOW = sa.func.now()


class ClaimRepository:
    """Claims, heartbeats and ends of jobs. Every method runs in the caller's transaction; the caller commits."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def claim_images(self, limit: int, worker: UUID, lease_seconds: float) -> list[ClaimedImage]:
        """Take up to `limit` queued image jobs whose deadline has not passed, oldest first.

        A job that was lost before is taken alone: if its picture is what killed the worker, it takes no others along.
        """
        query = (
            sa.select(jobs.c.id, jobs.c.attempts)
            .where(
                jobs.c.kind == JobKind.IMAGE.value, _QUEUED, sa.or_(jobs.c.deadline.is_(None), jobs.c.deadline > _NOW)
            )
            .order_by(jobs.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        found = self._connection.execute(query).all()
        if found and found[0].attempts > 0:
            found = found[:1]
        claimed = self._claim([row.id for row in found if row.attempts == 0 or row is found[0]], worker, lease_seconds)
        query_bytes = sa.select(payloads).where(payloads.c.job_id.in_([job.id for job in claimed]))
        contents = {row.job_id: row.bytes for row in self._connection.execute(query_bytes)} if claimed else {}
        return [ClaimedImage(job, contents.get(job.id, b"")) for job in claimed]

    def claim_video(self, worker: UUID, lease_seconds: float) -> Job | None:
        """Take the oldest queued video job, None when there is none. `frames_done` and `resume` say where to go on."""
        query = (
            sa.select(jobs.c.id)
            .where(jobs.c.kind == JobKind.VIDEO.value, _QUEUED)
            .order_by(jobs.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        claimed = self._claim(self._connection.execute(query).scalars().all(), worker, lease_seconds)
        return claimed[0] if claimed else None

    def renew(self, worker: UUID, lease_seconds: float, working: Collection[UUID]) -> dict[UUID, JobState]:
        """Heartbeat: extend the leases of the jobs that this worker works on; returns them with their states.

        A job that it holds and gave up, as the database was away, is left out: its lease must run out.
        """
        if not working:
            return {}
        change = (
            sa.update(jobs)
            .where(jobs.c.worker == worker, jobs.c.lease.is_not(None), jobs.c.id.in_(working))
            .values(lease_until=_after(lease_seconds))
            .returning(jobs.c.id, jobs.c.state)
        )
        return {row.id: JobState(row.state) for row in self._connection.execute(change)}

    def progress(
        self,
        job: Job,
        frames_done: int,
        *,
        lease_seconds: float,
        resume: bytes | None = None,
        frames_total: int | None = None,
    ) -> JobState:
        """Record progress and extend the lease, in the transaction that stores the frames. Call it BEFORE the copy:
        it locks the job's row, so that no other worker can take the job until the commit.

        Returns:
            `RUNNING`, or `CANCELLING` when the worker should stop.

        Raises:
            LeaseLostError: roll back.
        """
        values: dict[str, Any] = {"frames_done": frames_done, "lease_until": _after(lease_seconds), "resume": resume}
        if frames_done > job.frames_done:
            values["attempts"] = 1
        if frames_total is not None:
            values["frames_total"] = frames_total
        return self._change(job, values).state

    def describe(
        self, job: Job, *, checkpoint_id: UUID, reading: str, width: int, height: int, frames_total: int | None = None
    ) -> JobState:
        """Record what the worker learnt when it opened the picture or clip.

        Returns:
            `RUNNING`, or `CANCELLING` when the worker should stop.

        Raises:
            LeaseLostError: roll back.
        """
        values: dict[str, Any] = {"checkpoint_id": checkpoint_id, "reading": reading, "width": width, "height": height}
        if frames_total is not None:
            values["frames_total"] = frames_total
        return self._change(job, values).state

    def finish(self, job: Job, *, frames_total: int, warnings: Sequence[str] = ()) -> Job:
        """The job has succeeded, with so many frames in all.

        At any end an image's bytes are dropped unless the client wanted them stored.

        Raises:
            LeaseLostError: roll back.
        """
        return self._end(
            job, JobState.SUCCEEDED, frames_done=frames_total, frames_total=frames_total, warnings=list(warnings)
        )

    def fail(self, job: Job, error: JobError) -> Job:
        """The job has failed for good; frames that were committed stay.

        Raises:
            LeaseLostError: roll back.
        """
        return self._end(job, JobState.FAILED, error={"slug": error.slug, "detail": error.detail})

    def cancelled(self, job: Job) -> Job:
        """The worker has stopped a `cancelling` job; frames that were committed stay.

        Raises:
            LeaseLostError: roll back.
        """
        return self._end(job, JobState.CANCELLED)

    def release(self, job: Job) -> None:
        """Put a job back for another worker, as this one is shutting down; it does not count as an attempt.

        Raises:
            LeaseLostError: roll back.
        """
        released = self._change(
            job,
            {
                "state": sa.case((jobs.c.cancel_requested, JobState.CANCELLED.value), else_=JobState.QUEUED.value),
                "finished_at": sa.case((jobs.c.cancel_requested, _NOW), else_=None),
                "attempts": sa.func.greatest(jobs.c.attempts - 1, 0),
                **_NO_LEASE,
            },
        )
        if released.state is JobState.QUEUED:
            notify_work(self._connection, job.kind)

    def requeue_lost(self, max_attempts: int) -> list[Job]:
        """Deal with jobs whose lease ran out: back into the queue, cancelled if that was asked for, or failed as
        `worker-lost` after `max_attempts` claims without progress. Returns the changed jobs.
        """
        lost = sa.select(jobs.c.id).where(jobs.c.lease.is_not(None), jobs.c.lease_until < _NOW)
        spent = jobs.c.attempts >= max_attempts
        asked = jobs.c.cancel_requested
        error = {
            "slug": "worker-lost",
            "detail": f"the worker was lost {max_attempts} times in a row at the same place of this job",
        }
        change = (
            sa.update(jobs)
            .where(jobs.c.id.in_(lost.with_for_update(skip_locked=True)))
            .values(
                state=sa.case(
                    (asked, JobState.CANCELLED.value), (spent, JobState.FAILED.value), else_=JobState.QUEUED.value
                ),
                error=sa.case((sa.and_(spent, ~asked), sa.cast(error, jobs.c.error.type)), else_=jobs.c.error),
                finished_at=sa.case((sa.or_(asked, spent), _NOW), else_=None),
                updated_at=_NOW,
                **_NO_LEASE,
            )
            .returning(jobs)
        )
        changed = [job_of(row) for row in self._connection.execute(change)]
        notify_jobs(self._connection, changed)
        for kind in {job.kind for job in changed if job.state is JobState.QUEUED}:
            notify_work(self._connection, kind)
        return changed

    def fail_overdue(self) -> list[Job]:
        """Fail queued jobs whose deadline has passed (`queue-full`); returns them."""
        overdue = sa.select(jobs.c.id).where(_QUEUED, jobs.c.deadline <= _NOW)
        error = {"slug": "queue-full", "detail": "no worker was free before the deadline"}
        change = (
            sa.update(jobs)
            .where(jobs.c.id.in_(overdue.with_for_update(skip_locked=True)))
            .values(state=JobState.FAILED.value, error=error, finished_at=_NOW, updated_at=_NOW)
            .returning(jobs)
        )
        failed = [job_of(row) for row in self._connection.execute(change)]
        notify_jobs(self._connection, failed)
        return failed

    def waiting(self, kind: JobKind) -> bool:
        """Whether a job of this kind could be claimed now."""
        claimable = (jobs.c.kind == kind.value, _QUEUED, sa.or_(jobs.c.deadline.is_(None), jobs.c.deadline > _NOW))
        return bool(self._connection.execute(sa.select(sa.exists().where(*claimable))).scalar_one())

    def _claim(self, job_ids: Sequence[UUID], worker: UUID, lease_seconds: float) -> list[Job]:
        if not job_ids:
            return []
        change = (
            sa.update(jobs)
            .where(jobs.c.id.in_(job_ids))
            .values(
                state=JobState.RUNNING.value,
                worker=worker,
                lease=uuid4(),
                lease_until=_after(lease_seconds),
                attempts=jobs.c.attempts + 1,
                started_at=sa.func.coalesce(jobs.c.started_at, _NOW),
                updated_at=_NOW,
            )
            .returning(jobs)
        )
        claimed = sorted((job_of(row) for row in self._connection.execute(change)), key=lambda job: job.id)
        notify_jobs(self._connection, claimed)
        return claimed

    def _end(self, job: Job, state: JobState, **values: Any) -> Job:
        done = self._change(job, {"state": state.value, "finished_at": _NOW, "resume": None, **_NO_LEASE, **values})
        if not job.options.store:
            self._connection.execute(sa.delete(payloads).where(payloads.c.job_id == job.id))
        return done

    def _change(self, job: Job, values: dict[str, Any]) -> Job:
        """Change a job that this worker still holds, and say so."""
        change = (
            sa.update(jobs)
            .where(jobs.c.id == job.id, jobs.c.lease == job.lease)
            .values(updated_at=_NOW, **values)
            .returning(jobs)
        )
        row = self._connection.execute(change).one_or_none() if job.lease is not None else None
        if row is None:
            raise LeaseLostError(f"job {job.id} is no longer held by this worker")
        changed = job_of(row)
        notify_jobs(self._connection, [changed])
        return changed


_NO_LEASE: dict[str, Any] = {"worker": None, "lease": None, "lease_until": None}


def _after(seconds: float) -> sa.ColumnElement[datetime]:
    return _NOW + timedelta(seconds=seconds)
