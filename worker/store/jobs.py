"""`JobRepository`: what a client does with jobs. What a worker does with them is in `claims.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from uuid_utils.compat import uuid7

from worker.store.errors import IdempotencyConflictError, NotFoundError
from worker.store.notify import notify_jobs, notify_work
from worker.store.records import Job, JobKind, JobOptions, JobState
from worker.store.rows import job_of
from worker.store.tables import jobs, media, payloads


class JobRepository:
    """Jobs of tenants. Every method runs in the caller's transaction; the caller commits.

    With `connection.begin()` or `engine.begin()` around it, the NOTIFY of a change goes out with the commit.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def create_image_job(
        self,
        tenant: str,
        payload: bytes,
        options: JobOptions | None = None,
        *,
        deadline_seconds: float,
        checkpoint_id: UUID | None = None,
        expires_seconds: float | None = None,
    ) -> Job:
        """Queue a picture.

        Args:
            tenant: the owner.
            payload: the picture's bytes, as they came.
            options: the client's wishes; `store=False` removes the bytes once they are analysed (the rows stay until
                the job is deleted or expires).
            deadline_seconds: from now; a job that no worker has claimed by then fails.
            checkpoint_id: which checkpoint to use; None means the worker's active one.
            expires_seconds: from now; the sweep deletes the job afterwards.
        """
        job = self._insert(
            tenant,
            JobKind.IMAGE,
            options or JobOptions(),
            checkpoint_id=checkpoint_id,
            frames_total=1,
            deadline=_in_seconds(deadline_seconds),
            expires_at=None if expires_seconds is None else _in_seconds(expires_seconds),
        )
        self._connection.execute(sa.insert(payloads).values(job_id=job.id, bytes=payload))
        return job

    def create_video_job(
        self,
        tenant: str,
        media_id: UUID,
        options: JobOptions | None = None,
        *,
        checkpoint_id: UUID | None = None,
        idempotency_key: str | None = None,
        request_sha256: str | None = None,
        expires_seconds: float | None = None,
    ) -> tuple[Job, bool]:
        """Queue a clip of the media store.

        Args:
            tenant: the owner.
            media_id: row of `media`, of the same tenant.
            options: the client's wishes.
            checkpoint_id: which checkpoint to use; None means the worker's active one.
            idempotency_key: a second call with the same key gives the first call's job.
            request_sha256: fingerprint of the request; with the same key and another fingerprint it is a conflict.
            expires_seconds: from now; the sweep deletes the job and its file afterwards.

        Returns:
            The job, and whether this call made it (False: repeated key; the caller removes its unused media).

        Raises:
            IdempotencyConflictError: the key was used with another request.
            NotFoundError: the tenant has no such media.
        """
        owned = sa.select(media.c.frames).where(media.c.id == media_id, media.c.tenant == tenant)
        found = self._connection.execute(owned).one_or_none()
        if found is None:
            raise NotFoundError("no such media")
        if idempotency_key is not None:
            # Two equal requests at once: the second waits here until the first has committed.
            lock = sa.func.hashtextextended(f"{tenant}\n{idempotency_key}", 0)
            self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
            existing = self.find_idempotent(tenant, idempotency_key, request_sha256)
            if existing is not None:
                return existing, False
        job = self._insert(
            tenant,
            JobKind.VIDEO,
            options or JobOptions(),
            media_id=media_id,
            checkpoint_id=checkpoint_id,
            frames_total=found.frames,
            idempotency_key=idempotency_key,
            request_sha256=request_sha256,
            expires_at=None if expires_seconds is None else _in_seconds(expires_seconds),
        )
        return job, True

    def find_idempotent(self, tenant: str, idempotency_key: str, request_sha256: str | None) -> Job | None:
        """The job that used this key before, None if none did.

        Raises:
            IdempotencyConflictError: it was another request.
        """
        where = (jobs.c.tenant == tenant, jobs.c.idempotency_key == idempotency_key)
        row = self._connection.execute(sa.select(jobs).where(*where)).one_or_none()
        if row is None:
            return None
        if row.request_sha256 != request_sha256:
            raise IdempotencyConflictError("this Idempotency-Key was used with another request")
        return job_of(row)

    def get(self, tenant: str, job_id: UUID) -> Job | None:
        """The tenant's job, None when there is none (or it is another's)."""
        row = self._connection.execute(sa.select(jobs).where(*_of(tenant, job_id))).one_or_none()
        return None if row is None else job_of(row)

    def get_or_raise(self, tenant: str, job_id: UUID) -> Job:
        """The tenant's job.

        Raises:
            NotFoundError: there is none, or it is another's.
        """
        job = self.get(tenant, job_id)
        if job is None:
            raise NotFoundError(f"no job {job_id}")
        return job

    def list(
        self,
        tenant: str,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        limit: int = 50,
        after: UUID | None = None,
    ) -> list[Job]:
        """The tenant's jobs, newest first: `limit` of them, older than `after` (the last id of the previous page)."""
        query = sa.select(jobs).where(jobs.c.tenant == tenant).order_by(jobs.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(jobs.c.state == state.value)
        if kind is not None:
            query = query.where(jobs.c.kind == kind.value)
        if after is not None:
            query = query.where(jobs.c.id < after)
        return [job_of(row) for row in self._connection.execute(query)]

    def payload(self, tenant: str, job_id: UUID) -> bytes | None:
        """The bytes of an image job, None once they were dropped."""
        query = sa.select(payloads.c.bytes).join(jobs).where(*_of(tenant, job_id))
        return self._connection.execute(query).scalar_one_or_none()

    def request_cancel(self, tenant: str, job_id: UUID) -> Job:
        """Cancel: a queued job is cancelled at once, a running one is `cancelling` until its worker has stopped.

        A job in a final state stays as it is; asking twice is the same as asking once.

        Raises:
            NotFoundError: the tenant has no such job.
        """
        queued = jobs.c.state == JobState.QUEUED.value
        change = (
            sa.update(jobs)
            .where(*_of(tenant, job_id), jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value]))
            .values(
                state=sa.case((queued, JobState.CANCELLED.value), else_=JobState.CANCELLING.value),
                finished_at=sa.case((queued, sa.func.now()), else_=None),
                cancel_requested=True,
                updated_at=sa.func.now(),
            )
            .returning(jobs)
        )
        row = self._connection.execute(change).one_or_none()
        if row is None:
            return self.get_or_raise(tenant, job_id)
        job = job_of(row)
        notify_jobs(self._connection, [job])
        return job

    def delete(self, tenant: str, job_id: UUID) -> Sequence[str]:
        """Delete a job with all its rows, and its media row; a worker that runs it stops by itself.

        Returns:
            uris for the caller to remove from the media store after the commit.

        Raises:
            NotFoundError: the tenant has no such job.
        """
        self.get_or_raise(tenant, job_id)
        return self._delete(sa.and_(*_of(tenant, job_id)))

    def delete_expired(self, limit: int = 100) -> tuple[int, Sequence[str]]:
        """Delete up to `limit` jobs past `expires_at`, of all tenants; returns how many, and uris as `delete` does."""
        query = sa.select(jobs.c.id).where(jobs.c.expires_at < sa.func.now()).limit(limit)
        expired = self._connection.execute(query.with_for_update(skip_locked=True)).scalars().all()
        return len(expired), self._delete(jobs.c.id.in_(expired)) if expired else ()

    def queue_depth(self, kind: JobKind, tenant: str | None = None) -> int:
        """How many jobs of this kind are queued, of one tenant or of all."""
        query = sa.select(sa.func.count()).where(jobs.c.kind == kind.value, jobs.c.state == JobState.QUEUED.value)
        if tenant is not None:
            query = query.where(jobs.c.tenant == tenant)
        return self._connection.execute(query).scalar_one()

    def counts(self) -> dict[tuple[JobKind, JobState], int]:
        """How many jobs there are of each kind and state, for metrics."""
        query = sa.select(jobs.c.kind, jobs.c.state, sa.func.count()).group_by(jobs.c.kind, jobs.c.state)
        return {(JobKind(kind), JobState(state)): count for kind, state, count in self._connection.execute(query)}

    def _insert(self, tenant: str, kind: JobKind, options: JobOptions, **values: Any) -> Job:
        insert = pg.insert(jobs).values(
            id=uuid7(), tenant=tenant, kind=kind.value, options=options.to_json(), state=JobState.QUEUED.value, **values
        )
        job = job_of(self._connection.execute(insert.returning(jobs)).one())
        notify_work(self._connection, kind)
        return job

    def _delete(self, which: sa.ColumnElement[bool]) -> Sequence[str]:
        rows = self._connection.execute(sa.delete(jobs).where(which).returning(jobs.c.media_id)).all()
        media_ids = [row.media_id for row in rows if row.media_id is not None]
        if not media_ids:
            return []
        unused = ~sa.exists().where(jobs.c.media_id == media.c.id)
        gone = sa.delete(media).where(media.c.id.in_(media_ids), unused).returning(media.c.uri)
        return self._connection.execute(gone).scalars().all()


def _of(tenant: str, job_id: UUID) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return jobs.c.id == job_id, jobs.c.tenant == tenant


def _in_seconds(seconds: float) -> sa.ColumnElement[datetime]:
    return sa.func.now() + timedelta(seconds=seconds)
