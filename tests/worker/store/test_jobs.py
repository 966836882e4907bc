from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa

from worker.store.catalogue import MediaRepository
from worker.store.claims import ClaimRepository
from worker.store.database import psycopg_url
from worker.store.errors import IdempotencyConflictError, NotFoundError
from worker.store.jobs import JobRepository
from worker.store.media import StoredFile
from worker.store.notify import JOB_CHANNEL, WORK_CHANNEL, JobEvent
from worker.store.records import FaceSelection, Job, JobKind, JobOptions, JobState, RoiStorage


def _image(engine: sa.Engine, tenant: str = "lab", *, options: JobOptions | None = None, seconds: float = 60) -> Job:
    with engine.begin() as connection:
        return JobRepository(connection).create_image_job(tenant, b"picture", options, deadline_seconds=seconds)


def test_an_image_job_is_queued_with_its_bytes(engine: sa.Engine) -> None:
    options = JobOptions(roi=RoiStorage.PEAKS, faces=FaceSelection.LARGEST, store=False)
    job = _image(engine, options=options)
    assert job.id.version == 7
    assert (job.kind, job.state, job.options, job.frames_total) == (JobKind.IMAGE, JobState.QUEUED, options, 1)
    assert job.deadline is not None
    assert 59 < (job.deadline - job.created_at).total_seconds() < 61
    with engine.connect() as connection:
        assert JobRepository(connection).payload("lab", job.id) == b"picture"
        assert JobRepository(connection).get("lab", job.id) == job


def test_another_tenant_sees_nothing(engine: sa.Engine) -> None:
    job = _image(engine)
    with engine.begin() as connection:
        repository = JobRepository(connection)
        assert repository.get("other", job.id) is None
        assert repository.payload("other", job.id) is None
        assert repository.list("other") == []
        for action in (repository.get_or_raise, repository.request_cancel, repository.delete):
            with pytest.raises(NotFoundError):
                action("other", job.id)
        assert repository.get("lab", job.id) == job


def test_list_pages_newest_first(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    made = [_image(engine) for _ in range(4)] + [make_video_job()]
    newest_first = [job.id for job in reversed(made)]
    with engine.connect() as connection:
        repository = JobRepository(connection)
        first = repository.list("lab", limit=3)
        rest = repository.list("lab", limit=3, after=first[-1].id)
        assert [job.id for job in first + rest] == newest_first
        assert [job.id for job in repository.list("lab", kind=JobKind.VIDEO)] == newest_first[:1]
        assert repository.list("lab", state=JobState.FAILED) == []
        assert repository.list("lab", limit=3, after=rest[-1].id) == []


def test_a_repeated_key_gives_the_first_job(engine: sa.Engine) -> None:
    jobs = []
    for number in range(2):
        with engine.begin() as connection:
            media = MediaRepository(connection).create("lab", StoredFile(f"m{number}", "0", 1), mime="video/mp4")
            made = JobRepository(connection).create_video_job(
                "lab", media.id, idempotency_key="k", request_sha256="same"
            )
            jobs.append(made)
    assert [new for _, new in jobs] == [True, False]
    assert jobs[0][0] == jobs[1][0]
    with engine.begin() as connection:
        repository = JobRepository(connection)
        assert jobs[0][0].media_id is not None
        with pytest.raises(IdempotencyConflictError):
            repository.create_video_job("lab", jobs[0][0].media_id, idempotency_key="k", request_sha256="other")
        assert repository.find_idempotent("other", "k", "same") is None


def test_equal_requests_at_once_make_one_job(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        media = MediaRepository(connection).create("lab", StoredFile("m", "0", 1), mime="video/mp4")
    barrier, made = Barrier(4), []

    def create() -> None:
        barrier.wait()
        with engine.begin() as connection:
            made.append(JobRepository(connection).create_video_job("lab", media.id, idempotency_key="k"))

    threads = [Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new for _, new in made) == [False, False, False, True]
    assert len({job.id for job, _ in made}) == 1


def test_a_clip_of_another_tenant_cannot_be_used(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        media = MediaRepository(connection).create("lab", StoredFile("m", "0", 1), mime="video/mp4")
        with pytest.raises(NotFoundError):
            JobRepository(connection).create_video_job("other", media.id)


def test_cancel_of_a_queued_job_is_immediate_and_repeatable(engine: sa.Engine) -> None:
    job = _image(engine)
    for _ in range(2):
        with engine.begin() as connection:
            cancelled = JobRepository(connection).request_cancel("lab", job.id)
        assert cancelled.state is JobState.CANCELLED
        assert cancelled.finished_at is not None
    with engine.begin() as connection:
        assert ClaimRepository(connection).claim_images(10, uuid4(), 60) == []


def test_cancel_of_a_running_job_waits_for_its_worker(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    job = make_video_job()
    with engine.begin() as connection:
        held = ClaimRepository(connection).claim_video(uuid4(), 60)
    assert held is not None
    for _ in range(2):
        with engine.begin() as connection:
            assert JobRepository(connection).request_cancel("lab", job.id).state is JobState.CANCELLING
    with engine.begin() as connection:
        assert ClaimRepository(connection).progress(held, 5, lease_seconds=60) is JobState.CANCELLING
        assert ClaimRepository(connection).cancelled(held).state is JobState.CANCELLED
    with engine.begin() as connection:
        stored = JobRepository(connection).get_or_raise("lab", job.id)
        assert (stored.state, stored.frames_done, stored.lease) == (JobState.CANCELLED, 5, None)


def test_delete_takes_all_rows_along(
    engine: sa.Engine, make_video_job: Callable[..., Job], make_result: Callable[..., object]
) -> None:
    from worker.store.results import ResultRepository
    from worker.store.tables import metadata

    job = make_video_job()
    with engine.begin() as connection:
        ResultRepository(connection).copy_frames(job, [make_result(0)])  # type: ignore[list-item]
    with engine.begin() as connection:
        uris = JobRepository(connection).delete("lab", job.id)
    assert len(uris) == 1
    with engine.connect() as connection:
        for table in metadata.tables.values():
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0, table.name


def test_expired_jobs_are_deleted_and_others_stay(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        repository = JobRepository(connection)
        gone = repository.create_image_job("lab", b"", deadline_seconds=9, expires_seconds=-1)
        later = repository.create_image_job("lab", b"", deadline_seconds=9, expires_seconds=60)
        never = repository.create_image_job("lab", b"", deadline_seconds=9)
    with engine.begin() as connection:
        assert JobRepository(connection).delete_expired() == (1, [])
        assert JobRepository(connection).delete_expired() == (0, ())
        left = {job.id for job in JobRepository(connection).list("lab")}
    assert left == {later.id, never.id}
    assert gone.id not in left


def test_depth_and_counts(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    _image(engine)
    _image(engine, "other")
    make_video_job()
    with engine.begin() as connection:
        repository = JobRepository(connection)
        assert repository.queue_depth(JobKind.IMAGE) == 2
        assert repository.queue_depth(JobKind.IMAGE, "other") == 1
        ClaimRepository(connection).claim_images(1, uuid4(), 60)
        assert repository.counts() == {
            (JobKind.IMAGE, JobState.QUEUED): 1,
            (JobKind.IMAGE, JobState.RUNNING): 1,
            (JobKind.VIDEO, JobState.QUEUED): 1,
        }


def test_notifications_come_with_the_commit_and_not_without(engine: sa.Engine, database: str) -> None:
    with psycopg.connect(psycopg_url(database), autocommit=True) as listener:
        listener.execute(f"LISTEN {WORK_CHANNEL}")
        listener.execute(f"LISTEN {JOB_CHANNEL}")
        with engine.connect() as connection:
            JobRepository(connection).create_image_job("lab", b"", deadline_seconds=9)  # rolled back
        assert list(listener.notifies(timeout=0.1)) == []
        job = _image(engine)
        with engine.begin() as connection:
            JobRepository(connection).request_cancel("lab", job.id)
        heard = list(listener.notifies(timeout=1, stop_after=2))
    assert [(note.channel, note.payload) for note in heard[:1]] == [(WORK_CHANNEL, "detect")]
    assert JobEvent.parse(heard[1].payload) == JobEvent(job.id, JobState.CANCELLED, 0)
