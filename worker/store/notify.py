"""Notifications between API and workers: two channels of Postgres LISTEN/NOTIFY.

`WORK_CHANNEL` carries the name of the queue that has new work (`detect` or `video`). `JOB_CHANNEL` carries a JSON
object `{"job": id, "state": state, "frames_done": n}` for every committed change of a job. Both are sent inside the
transaction that makes the change, so a listener that reads the row finds it changed. They are hints: whoever misses
one (a reconnect) reads the rows again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from worker.store.records import Job, JobKind, JobState

WORK_CHANNEL = "roigcn_work"
JOB_CHANNEL = "roigcn_jobs"

DETECT_QUEUE = "detect"
VIDEO_QUEUE = "video"
QUEUES = {JobKind.IMAGE: DETECT_QUEUE, JobKind.VIDEO: VIDEO_QUEUE}


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A change of one job, as it travels on `JOB_CHANNEL`."""

    job: UUID
    state: JobState
    frames_done: int

    @classmethod
    def parse(cls, payload: str) -> JobEvent:
        """Read a payload of `JOB_CHANNEL`."""
        data = json.loads(payload)
        return cls(UUID(data["job"]), JobState(data["state"]), int(data["frames_done"]))


def notify_work(connection: sa.Connection, kind: JobKind) -> None:
    """Say, on commit, that there is a new job of this kind."""
    connection.execute(sa.select(sa.func.pg_notify(WORK_CHANNEL, QUEUES[kind])))


def notify_jobs(connection: sa.Connection, jobs: list[Job]) -> None:
    """Say, on commit, how these jobs stand."""
    if not jobs:
        return
    payloads = [
        json.dumps({"job": str(job.id), "state": job.state.value, "frames_done": job.frames_done}) for job in jobs
    ]
    notify = sa.func.pg_notify(JOB_CHANNEL, sa.func.unnest(sa.bindparam("payloads", payloads, sa.ARRAY(sa.Text))))
    connection.execute(sa.select(notify))
