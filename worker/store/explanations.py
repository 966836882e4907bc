"""`ExplanationRepository`: requests to look inside the network for one face, and what came of them.

A request is a row with the face's crop; a worker of the `detect` queue fills in the arrays. A result can be made again
as long as the picture is there, so rows are a cache: they go with their job, and after a while by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from worker.store.notify import notify_jobs, notify_work
from worker.store.records import Job, JobError, JobKind
from worker.store.rows import job_of
from worker.store.tables import explanations, jobs

_NOW = sa.func.now()
_UNDONE = sa.and_(explanations.c.arrays.is_(None), explanations.c.error.is_(None))
_FREE = sa.or_(explanations.c.lease_until.is_(None), explanations.c.lease_until < _NOW)
_WAITING = sa.and_(_UNDONE, _FREE, explanations.c.deadline > _NOW)


@dataclass(frozen=True, slots=True)
class StoredExplanation:
    """One row of `explanations`.

    Attributes:
        crop: (S, S, 3) uint8 RGB, row by row: what the network saw or is to see.
        arrays: of `model.explanation.explanation_bytes`; None until a worker has made them.
        error: why there are none.
    """

    frame: int
    face: int
    crop: bytes = field(repr=False)
    arrays: bytes | None = field(repr=False)
    error: JobError | None


@dataclass(frozen=True, slots=True)
class ClaimedExplanation:
    """A request that a worker has taken up."""

    job: Job
    frame: int
    face: int
    crop: bytes = field(repr=False)


class ExplanationRepository:
    """Every method runs in the caller's transaction; the caller commits.

    Methods of the API take the `Job` that `JobRepository.get` gave for the tenant: that is where access is checked.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, job: Job, frame: int, face: int) -> StoredExplanation | None:
        """What is stored of a face, None when nobody has asked."""
        columns = explanations.c
        query = sa.select(columns.frame, columns.face, columns.crop, columns.arrays, columns.error)
        row = self._connection.execute(query.where(*_key(job, frame, face))).one_or_none()
        if row is None:
            return None
        error = None if row.error is None else JobError(row.error["slug"], row.error["detail"])
        return StoredExplanation(row.frame, row.face, row.crop, row.arrays, error)

    def request(self, job: Job, frame: int, face: int, crop: bytes, *, deadline_seconds: float) -> None:
        """Ask the workers; what is there already stays, what failed or came too late is asked anew.

        Args:
            job: whose frame it is.
            frame: number of the frame.
            face: number of the face in it.
            crop: see `StoredExplanation`.
            deadline_seconds: from now; a request that no worker has taken up by then is let be.
        """
        until = _NOW + timedelta(seconds=deadline_seconds)
        fresh = {"crop": crop, "error": None, "attempts": 0, "lease_until": None, "requested_at": _NOW}
        over = sa.or_(explanations.c.error.is_not(None), sa.and_(explanations.c.deadline < _NOW, _FREE))
        insert = pg.insert(explanations).values(job_id=job.id, frame=frame, face=face, deadline=until, **fresh)
        anew = {name: sa.case((over, insert.excluded[name]), else_=explanations.c[name]) for name in fresh}
        self._connection.execute(
            insert.on_conflict_do_update(
                index_elements=[explanations.c.job_id, explanations.c.frame, explanations.c.face],
                set_={**anew, "deadline": until},  # also for one that is worked on: should its worker be lost
                where=explanations.c.arrays.is_(None),
            )
        )
        notify_work(self._connection, JobKind.IMAGE)

    def claim(self, lease_seconds: float) -> ClaimedExplanation | None:
        """Take the oldest request that waits, None when there is none."""
        oldest = (
            sa.select(explanations.c.job_id, explanations.c.frame, explanations.c.face)
            .where(_WAITING)
            .order_by(explanations.c.requested_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        found = self._connection.execute(oldest).one_or_none()
        if found is None:
            return None
        job = job_of(self._connection.execute(sa.select(jobs).where(jobs.c.id == found.job_id)).one())
        crop = self._change(
            job,
            found.frame,
            found.face,
            {"lease_until": _NOW + timedelta(seconds=lease_seconds), "attempts": explanations.c.attempts + 1},
        )
        return None if crop is None else ClaimedExplanation(job, found.frame, found.face, crop)

    def finish(self, claimed: ClaimedExplanation, arrays: bytes) -> None:
        """The arrays are there. If the job was deleted meanwhile, nothing is written."""
        self._end(claimed, {"arrays": arrays, "error": None})

    def fail(self, claimed: ClaimedExplanation, error: JobError) -> None:
        """There will be none, for this reason."""
        self._end(claimed, {"error": {"slug": error.slug, "detail": error.detail}})

    def fail_lost(self, max_attempts: int) -> int:
        """Fail as `worker-lost` what was taken up so often and never came to an end; returns how many."""
        error = {"slug": "worker-lost", "detail": f"the worker was lost {max_attempts} times in a row at this face"}
        lost = sa.and_(_UNDONE, _FREE, explanations.c.attempts >= max_attempts)
        change = sa.update(explanations).where(lost).values(error=error).returning(explanations.c.job_id)
        ids = self._connection.execute(change).scalars().all()
        if ids:
            found = self._connection.execute(sa.select(jobs).where(jobs.c.id.in_(ids)))
            notify_jobs(self._connection, [job_of(row) for row in found])
        return len(ids)

    def waiting(self) -> bool:
        """Whether a request could be taken up now."""
        return bool(self._connection.execute(sa.select(sa.exists().where(_WAITING))).scalar_one())

    def queued(self) -> int:
        """How many requests wait or are worked on."""
        query = sa.select(sa.func.count()).where(_UNDONE, explanations.c.deadline > _NOW)
        return self._connection.execute(query).scalar_one()

    def delete_older(self, seconds: float) -> int:
        """Delete rows that were asked for longer ago than that, of all tenants; returns how many."""
        old: sa.ColumnElement[datetime] = _NOW - timedelta(seconds=seconds)
        return self._connection.execute(sa.delete(explanations).where(explanations.c.requested_at < old)).rowcount

    def _end(self, claimed: ClaimedExplanation, values: dict[str, Any]) -> None:
        key = (claimed.job, claimed.frame, claimed.face)
        # A worker that was thought lost may come second: both made the same, so the first one stays.
        if self._change(*key, values | {"lease_until": None}, explanations.c.arrays.is_(None)) is not None:
            notify_jobs(self._connection, [claimed.job])

    def _change(
        self, job: Job, frame: int, face: int, values: dict[str, Any], *where: sa.ColumnElement[bool]
    ) -> bytes | None:
        """The crop of the changed row, None if there is none."""
        change = sa.update(explanations).where(*_key(job, frame, face), *where).values(**values)
        return self._connection.execute(change.returning(explanations.c.crop)).scalar_one_or_none()


def _key(job: Job, frame: int, face: int) -> tuple[sa.ColumnElement[bool], ...]:
    return explanations.c.job_id == job.id, explanations.c.frame == frame, explanations.c.face == face
