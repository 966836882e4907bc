from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from worker.store.catalogue import CheckpointRepository
from worker.store.claims import ClaimRepository
from worker.store.errors import LeaseLostError
from worker.store.jobs import JobRepository
from worker.store.records import ClaimedImage, Job, JobError, JobKind, JobOptions, JobState
from worker.store.tables import payloads

ME, OTHER = uuid4(), uuid4()


def _images(engine: sa.Engine, count: int, seconds: float = 60, options: JobOptions | None = None) -> list[UUID]:
    with engine.begin() as connection:
        repository = JobRepository(connection)
        jobs = [
            repository.create_image_job("lab", b"%d" % number, options, deadline_seconds=seconds)
            for number in range(count)
        ]
        return [job.id for job in jobs]


def _claim(engine: sa.Engine, limit: int = 10, worker: UUID = ME, lease: float = 60) -> list[ClaimedImage]:
    with engine.begin() as connection:
        return ClaimRepository(connection).claim_images(limit, worker, lease)


def _claim_video(engine: sa.Engine, worker: UUID = ME, lease: float = 60) -> Job:
    with engine.begin() as connection:
        job = ClaimRepository(connection).claim_video(worker, lease)
    assert job is not None
    return job


def _requeue(engine: sa.Engine, attempts: int = 3) -> list[JobState]:
    with engine.begin() as connection:
        return [job.state for job in ClaimRepository(connection).requeue_lost(attempts)]


def test_images_are_claimed_oldest_first_with_their_bytes(engine: sa.Engine) -> None:
    ids = _images(engine, 5)
    first, rest = _claim(engine, 3), _claim(engine, 10, OTHER)
    assert [item.job.id for item in first + rest] == ids
    assert [item.payload for item in first + rest] == [b"0", b"1", b"2", b"3", b"4"]
    assert all(item.job.state is JobState.RUNNING and item.job.attempts == 1 for item in first)
    assert {item.job.worker for item in first} == {ME}
    assert _claim(engine) == []


def test_a_picture_past_its_deadline_is_passed_over_and_failed(engine: sa.Engine) -> None:
    (late,) = _images(engine, 1, seconds=-1)
    (fresh,) = _images(engine, 1)
    with engine.begin() as connection:
        assert [job.id for job in ClaimRepository(connection).fail_overdue()] == [late]
        stored = JobRepository(connection).get_or_raise("lab", late)
    assert stored.state is JobState.FAILED
    assert stored.error is not None
    assert stored.error.slug == "queue-full"
    assert [item.job.id for item in _claim(engine)] == [fresh]


def test_a_lost_picture_is_tried_alone(engine: sa.Engine) -> None:
    ids = _images(engine, 2)
    _claim(engine, lease=-1)
    assert _requeue(engine) == [JobState.QUEUED] * 2
    ids += _images(engine, 2)
    claims = [[item.job.id for item in _claim(engine)] for _ in range(3)]
    assert claims == [[ids[0]], [ids[1]], ids[2:]]


def test_a_job_lost_three_times_at_the_same_place_fails(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    make_video_job()
    states = []
    for _ in range(3):
        job = _claim_video(engine, lease=-1)
        states += _requeue(engine)
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    with engine.connect() as connection:
        failed = JobRepository(connection).get_or_raise("lab", job.id)
    assert failed.error is not None
    assert failed.error.slug == "worker-lost"
    assert failed.finished_at is not None


def test_progress_counts_as_a_new_start(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    make_video_job()
    for frames in range(1, 6):
        job = _claim_video(engine)
        assert job.frames_done == frames - 1
        with engine.begin() as connection:
            ClaimRepository(connection).progress(job, frames, lease_seconds=-1, resume=b"state")
        assert _requeue(engine) == [JobState.QUEUED]
    assert _claim_video(engine).resume == b"state"


def test_a_live_lease_is_left_alone_and_renewed(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    job = make_video_job()
    _claim_video(engine, lease=-1)
    with engine.begin() as connection:
        assert ClaimRepository(connection).renew(ME, 60, {job.id}) == {job.id: JobState.RUNNING}
        assert ClaimRepository(connection).renew(OTHER, 60, {job.id}) == {}
    assert _requeue(engine) == []


def test_the_lease_of_a_job_that_its_worker_gave_up_runs_out(
    engine: sa.Engine, make_video_job: Callable[..., Job]
) -> None:
    """As after a database outage: the worker lives on and holds the lease, but works on nothing."""
    make_video_job()
    _claim_video(engine, lease=-1)
    with engine.begin() as connection:
        assert ClaimRepository(connection).renew(ME, 60, frozenset()) == {}
    assert _requeue(engine) == [JobState.QUEUED]


@pytest.mark.parametrize(
    "write",
    [
        lambda claims, job: claims.progress(job, 1, lease_seconds=60),
        lambda claims, job: claims.finish(job, frames_total=1),
        lambda claims, job: claims.fail(job, JobError("media-unreadable", "no")),
        lambda claims, job: claims.cancelled(job),
        lambda claims, job: claims.release(job),
        lambda claims, job: claims.describe(job, checkpoint_id=None, reading="both", width=1, height=1),
    ],
)
@pytest.mark.parametrize("loss", ["taken over", "requeued", "deleted", "finished", "never held"])
def test_who_lost_the_lease_writes_nothing(
    engine: sa.Engine, make_video_job: Callable[..., Job], write: Callable[[ClaimRepository, Job], object], loss: str
) -> None:
    queued = make_video_job()
    job = queued if loss == "never held" else _claim_video(engine, lease=-1)
    with engine.begin() as connection:
        if loss in ("taken over", "requeued"):
            ClaimRepository(connection).requeue_lost(3)
        if loss == "taken over":
            ClaimRepository(connection).claim_video(ME, 60)  # even by the same process
        if loss == "deleted":
            JobRepository(connection).delete("lab", job.id)
        if loss == "finished":
            ClaimRepository(connection).finish(job, frames_total=0)
        before = JobRepository(connection).get("lab", job.id)
    with engine.begin() as connection:
        with pytest.raises(LeaseLostError):
            write(ClaimRepository(connection), job)
        assert JobRepository(connection).get("lab", job.id) == before


def test_the_ends_of_a_job(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    make_video_job()
    make_video_job()
    with engine.begin() as connection:
        claims = ClaimRepository(connection)
        checkpoint = CheckpointRepository(connection).register("tiny", "1", "abc", ["AU1"], {"a": 1})
        good, bad = claims.claim_video(ME, 60), claims.claim_video(ME, 60)
        assert good is not None
        assert bad is not None
        claims.describe(good, checkpoint_id=checkpoint.id, reading="both", width=640, height=480, frames_total=11)
        done = claims.finish(good, frames_total=10, warnings=["the file is truncated"])
        failed = claims.fail(bad, JobError("media-too-long", "too long"))
    assert done.frames_done == 10
    assert (done.state, done.frames_total, done.width, done.height) == (JobState.SUCCEEDED, 10, 640, 480)
    assert (done.checkpoint_id, done.warnings, done.lease) == (checkpoint.id, ("the file is truncated",), None)
    assert (good.reading, done.reading) == (None, "both")
    assert (failed.state, failed.error) == (JobState.FAILED, JobError("media-too-long", "too long"))


def test_release_gives_the_job_to_the_next_worker(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    make_video_job()
    with engine.begin() as connection:
        claims = ClaimRepository(connection)
        job = claims.claim_video(ME, 60)
        assert job is not None
        claims.release(job)
        again = claims.claim_video(OTHER, 60)
        assert again is not None
        assert (again.id, again.attempts, again.worker) == (job.id, 1, OTHER)
        JobRepository(connection).request_cancel("lab", job.id)
        claims.release(again)
        assert JobRepository(connection).get_or_raise("lab", job.id).state is JobState.CANCELLED


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(
    engine: sa.Engine, make_video_job: Callable[..., Job]
) -> None:
    job = make_video_job()
    _claim_video(engine, lease=-1)
    with engine.begin() as connection:
        JobRepository(connection).request_cancel("lab", job.id)
    assert _requeue(engine) == [JobState.CANCELLED]


@pytest.mark.parametrize(("store", "left"), [(True, 1), (False, 0)])
def test_bytes_stay_only_if_wanted(engine: sa.Engine, store: bool, left: int) -> None:
    _images(engine, 1, options=JobOptions(store=store))
    (claimed,) = _claim(engine)
    with engine.begin() as connection:
        ClaimRepository(connection).finish(claimed.job, frames_total=1)
        assert connection.execute(sa.select(sa.func.count()).select_from(payloads)).scalar_one() == left


def test_waiting_says_whether_to_ring(engine: sa.Engine) -> None:
    _images(engine, 1, seconds=-1)
    with engine.begin() as connection:
        assert not ClaimRepository(connection).waiting(JobKind.IMAGE)
    _images(engine, 1)
    with engine.begin() as connection:
        assert ClaimRepository(connection).waiting(JobKind.IMAGE)
        assert not ClaimRepository(connection).waiting(JobKind.VIDEO)


def test_processes_that_claim_at_once_never_share_a_job(engine: sa.Engine, database: str) -> None:
    ids = _images(engine, 60)
    program = textwrap.dedent(
        """
        import sys
        from uuid import uuid4
        from worker.store.claims import ClaimRepository
        from worker.store.database import create_engine
        engine, worker = create_engine(sys.argv[1]), uuid4()
        with engine.connect() as warm:
            warm.exec_driver_sql("SELECT 1")
        print("ready", flush=True)
        sys.stdin.readline()
        while True:
            with engine.begin() as connection:
                claimed = ClaimRepository(connection).claim_images(4, worker, 60)
            if not claimed:
                break
            print(*[item.job.id for item in claimed], flush=True)
        """
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        outputs.append(process.communicate(timeout=60)[0].split())
        assert process.returncode == 0
    assert sorted(UUID(line) for output in outputs for line in output) == sorted(ids)
