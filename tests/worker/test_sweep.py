"""The sweep and the bell in this process, on a real Postgres and a real broker in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from worker.bell import Bell, celery_app
from worker.runtime import Runtime
from worker.settings import WorkerSettings
from worker.store.catalogue import MediaRepository, WorkerRepository
from worker.store.claims import ClaimRepository
from worker.store.explanations import ExplanationRepository
from worker.store.jobs import JobRepository
from worker.store.records import Job, JobState
from worker.sweep import Sweep


def _rings(bell: Bell, queue: str) -> int:
    """How many messages lie in a queue; takes them out."""
    with bell._app.connection_for_read() as connection, connection.SimpleQueue(queue) as simple:
        count = simple.qsize()
        simple.clear()
    return count


@pytest.fixture
def runtime(database: str, tmp_path: Path) -> Iterator[Runtime]:
    settings = WorkerSettings(data_dir=tmp_path, database_url=database, sweep_seconds=0.2, stall_seconds=0.05)
    runtime = Runtime(settings, database, ["video"])
    yield runtime
    runtime.close()


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell(celery_app(None))
    yield bell
    for queue in ("detect", "video"):
        _rings(bell, queue)


def _claim(runtime: Runtime, lease_seconds: float) -> Job:
    with runtime.database.begin() as connection:
        job = ClaimRepository(connection).claim_video(runtime.worker_id, lease_seconds)
    assert job is not None
    return job


def test_the_thread_signs_on_rings_and_signs_off(
    runtime: Runtime, bell: Bell, engine: sa.Engine, make_video_job: Callable[..., Job]
) -> None:
    make_video_job()
    with engine.begin() as connection:
        JobRepository(connection).create_image_job("lab", b"", deadline_seconds=60)  # not this worker's queue
    sweep = Sweep(runtime, bell)
    sweep.start()
    deadline = time.monotonic() + 20
    while not (rings := _rings(bell, "video")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with engine.connect() as connection:
        assert [row.id for row in WorkerRepository(connection).list(30)] == [runtime.worker_id]
    sweep.stop()
    assert rings >= 1
    assert _rings(bell, "detect") == 0
    with engine.connect() as connection:
        assert WorkerRepository(connection).list() == []


def test_notify_wakes_it_between_sweeps(
    database: str, tmp_path: Path, bell: Bell, make_video_job: Callable[..., Job]
) -> None:
    runtime = Runtime(WorkerSettings(data_dir=tmp_path, sweep_seconds=600), database, ["video"])
    sweep = Sweep(runtime, bell)
    sweep.start()
    deadline = time.monotonic() + 20
    while sweep._swept_at < 0:  # the first sweep is over, the next one far away
        assert time.monotonic() < deadline
        time.sleep(0.02)
    make_video_job()
    while not _rings(bell, "video"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sweep.stop()
    runtime.close()


def test_work_that_moves_keeps_its_lease_and_work_that_stalls_does_not(
    runtime: Runtime, bell: Bell, engine: sa.Engine, make_video_job: Callable[..., Job]
) -> None:
    job = make_video_job()
    _claim(runtime, lease_seconds=-1)
    sweep = Sweep(runtime, bell)
    with runtime.busy(job.id):
        sweep.sweep()
        with engine.connect() as connection:
            assert [job.state for job in JobRepository(connection).list("lab")] == [JobState.RUNNING]
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE jobs SET lease_until = now() - interval '1 second'"))
        time.sleep(runtime.settings.stall_seconds * 2)
        assert runtime.stalled
        sweep.sweep()
    with engine.connect() as connection:
        assert [job.state for job in JobRepository(connection).list("lab")] == [JobState.QUEUED]
    assert not runtime.stalled  # rest is no stall


def test_a_wish_to_cancel_reaches_the_worker(
    runtime: Runtime, bell: Bell, engine: sa.Engine, make_video_job: Callable[..., Job]
) -> None:
    job = make_video_job()
    _claim(runtime, lease_seconds=60)
    with engine.begin() as connection:
        JobRepository(connection).request_cancel("lab", job.id)
    with runtime.busy(job.id):
        Sweep(runtime, bell).sweep()
    assert runtime.cancelling == {job.id}


def test_expired_jobs_go_with_their_files(runtime: Runtime, bell: Bell, engine: sa.Engine) -> None:
    uris = []
    for expires in (-1.0, 60.0):
        with runtime.media.writer(10) as writer:
            writer.write(b"clip")
            file = writer.finalise()
        with engine.begin() as connection:
            media = MediaRepository(connection).create("lab", file, mime="video/mp4")
            JobRepository(connection).create_video_job("lab", media.id, expires_seconds=expires)
        uris.append(file.uri)
    Sweep(runtime, bell).clean()
    assert [(runtime.media.root / uri).exists() for uri in uris] == [False, True]


def test_rings_that_come_too_soon_are_put_off() -> None:
    bell = Bell(celery_app(None), pause=1.0)
    assert bell.ring("video")
    assert not bell.ring("video")
    assert not bell.ring("video")
    assert bell.ring("detect")
    time.sleep(1.05)
    bell.late()
    bell.late()
    assert (_rings(bell, "video"), _rings(bell, "detect")) == (2, 1)


def test_a_ring_that_was_heard_is_followed_at_once() -> None:
    bell = Bell(celery_app(None), pause=600)
    for _ in range(2):
        assert bell.ring("video")
        bell.heard("video")
    assert _rings(bell, "video") == 2


def test_a_broker_that_is_away_is_no_error() -> None:
    assert not Bell.on("redis://127.0.0.1:1/0").ring("video")


def test_it_rings_for_explanations_gives_up_lost_ones_and_deletes_old_ones(
    database: str, tmp_path: Path, bell: Bell, engine: sa.Engine
) -> None:
    runtime = Runtime(WorkerSettings(data_dir=tmp_path, max_attempts=1), database, ["detect"])
    sweep = Sweep(runtime, bell)
    with engine.begin() as connection:
        job = JobRepository(connection).create_image_job("lab", b"", deadline_seconds=60)
        JobRepository(connection).request_cancel("lab", job.id)  # only the explanation is left to be done
        ExplanationRepository(connection).request(job, 0, 0, b"crop", deadline_seconds=60)
    sweep.sweep()
    assert _rings(bell, "detect") == 1
    with engine.begin() as connection:
        assert ExplanationRepository(connection).claim(lease_seconds=-1) is not None  # its worker is lost at once
    sweep.sweep()
    with engine.begin() as connection:
        stored = ExplanationRepository(connection).get(job, 0, 0)
        assert stored is not None
        assert stored.error is not None
        assert stored.error.slug == "worker-lost"
        connection.execute(sa.text("UPDATE explanations SET requested_at = now() - interval '2 days'"))
    assert _rings(bell, "detect") == 0
    sweep.clean()
    with engine.begin() as connection:
        assert ExplanationRepository(connection).get(job, 0, 0) is None
    runtime.close()


def test_a_job_that_was_given_up_is_taken_up_again(
    runtime: Runtime, bell: Bell, engine: sa.Engine, make_video_job: Callable[..., Job]
) -> None:
    """After a short outage of the database the worker lives on, holds the lease, and works on nothing."""
    job = make_video_job()
    _claim(runtime, lease_seconds=-1)
    with runtime.busy(job.id):
        assert runtime.working == {job.id}
    assert runtime.working == frozenset()
    Sweep(runtime, bell).sweep()
    with engine.connect() as connection:
        assert [job.state for job in JobRepository(connection).list("lab")] == [JobState.QUEUED]
