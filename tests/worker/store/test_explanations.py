from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from worker.store.database import psycopg_url
from worker.store.explanations import ClaimedExplanation, ExplanationRepository
from worker.store.jobs import JobRepository
from worker.store.notify import JOB_CHANNEL, WORK_CHANNEL, JobEvent
from worker.store.records import Job, JobError
from worker.store.tables import explanations


@pytest.fixture
def job(engine: sa.Engine) -> Job:
    with engine.begin() as connection:
        return JobRepository(connection).create_image_job("lab", b"picture", deadline_seconds=60)


@pytest.fixture
def repository(engine: sa.Engine) -> Iterator[ExplanationRepository]:
    with engine.begin() as connection:
        yield ExplanationRepository(connection)


def age(engine: sa.Engine, **columns: str) -> None:
    """Set times of all rows to SQL expressions."""
    with engine.begin() as connection:
        for column, expression in columns.items():
            connection.execute(sa.update(explanations).values({column: sa.text(expression)}))


def claim(engine: sa.Engine, seconds: float = 60) -> ClaimedExplanation | None:
    with engine.begin() as connection:
        return ExplanationRepository(connection).claim(seconds)


def ask(engine: sa.Engine, job: Job, crop: bytes = b"crop", face: int = 0, seconds: float = 60) -> None:
    with engine.begin() as connection:
        ExplanationRepository(connection).request(job, 0, face, crop, deadline_seconds=seconds)


def test_from_the_request_to_the_arrays(engine: sa.Engine, database: str, job: Job) -> None:
    with psycopg.connect(psycopg_url(database), autocommit=True) as listening:
        listening.execute(f"LISTEN {WORK_CHANNEL}")
        listening.execute(f"LISTEN {JOB_CHANNEL}")
        ask(engine, job)
        claimed = claim(engine)
        assert claimed is not None
        assert (claimed.job.id, claimed.frame, claimed.face, claimed.crop) == (job.id, 0, 0, b"crop")
        with engine.begin() as connection:
            ExplanationRepository(connection).finish(claimed, b"arrays")
        notes = [(note.channel, note.payload) for note in listening.notifies(timeout=5, stop_after=2)]
    assert notes[0] == (WORK_CHANNEL, "detect")
    assert JobEvent.parse(notes[1][1]).job == job.id
    with engine.begin() as connection:
        repository = ExplanationRepository(connection)
        stored = repository.get(job, 0, 0)
        assert stored is not None
        assert (stored.crop, stored.arrays, stored.error) == (b"crop", b"arrays", None)
        assert repository.get(job, 0, 1) is None
        assert not repository.waiting()
        assert repository.queued() == 0


def test_two_requests_for_a_face_are_one(engine: sa.Engine, job: Job) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ask(engine, job), range(8)))
    assert claim(engine) is not None
    ask(engine, job)
    assert claim(engine) is None, "it is worked on"


def test_workers_do_not_take_the_same_one(engine: sa.Engine, job: Job) -> None:
    for face in range(3):
        ask(engine, job, face=face)
    with ThreadPoolExecutor(6) as pool:
        found = [one for one in pool.map(lambda _: claim(engine), range(6)) if one is not None]
    assert len({one.face for one in found}) == len(found) <= 3


def test_what_is_there_stays(engine: sa.Engine, job: Job, repository: ExplanationRepository) -> None:
    ask(engine, job)
    claimed = claim(engine)
    assert claimed is not None
    with engine.begin() as connection:
        ExplanationRepository(connection).finish(claimed, b"arrays")
    age(engine, deadline="now() - interval '1 hour'")
    ask(engine, job, b"another")
    with engine.begin() as connection:
        late = ExplanationRepository(connection)
        late.finish(claimed, b"second")
        late.fail(claimed, JobError("internal", "no"))
    stored = repository.get(job, 0, 0)
    assert stored is not None
    assert (stored.crop, stored.arrays, stored.error) == (b"crop", b"arrays", None)


def test_what_failed_is_asked_anew(engine: sa.Engine, job: Job) -> None:
    ask(engine, job)
    claimed = claim(engine)
    assert claimed is not None
    with engine.begin() as connection:
        ExplanationRepository(connection).fail(claimed, JobError("checkpoint-unavailable", "gone"))
    with engine.begin() as connection:
        stored = ExplanationRepository(connection).get(job, 0, 0)
        assert stored is not None
        assert stored.error == JobError("checkpoint-unavailable", "gone")
    assert claim(engine) is None
    ask(engine, job, b"fresh")
    again = claim(engine)
    assert again is not None
    assert again.crop == b"fresh"


def test_a_request_past_its_deadline_is_let_be_until_it_comes_again(engine: sa.Engine, job: Job) -> None:
    ask(engine, job)
    age(engine, deadline="now() - interval '1 second'")
    assert claim(engine) is None
    ask(engine, job)
    assert claim(engine) is not None


def test_who_asks_while_a_lost_worker_still_holds_it_is_served_afterwards(engine: sa.Engine, job: Job) -> None:
    ask(engine, job)
    assert claim(engine) is not None
    age(engine, deadline="now() - interval '1 second'")
    ask(engine, job, b"another")
    assert claim(engine) is None, "its lease still runs"
    age(engine, lease_until="now() - interval '1 second'")
    again = claim(engine)
    assert again is not None
    assert again.crop == b"crop"


def test_a_lost_worker_gives_way_and_the_third_loss_is_the_last(
    engine: sa.Engine, job: Job, repository: ExplanationRepository
) -> None:
    ask(engine, job)
    for attempt in (1, 2, 3):
        assert claim(engine) is not None, attempt
        assert claim(engine) is None
        with engine.begin() as connection:
            assert ExplanationRepository(connection).fail_lost(3) == 0, "its lease still runs"
        age(engine, lease_until="now() - interval '1 second'")
    with engine.begin() as connection:
        assert ExplanationRepository(connection).fail_lost(4) == 0
        assert ExplanationRepository(connection).fail_lost(3) == 1
    stored = repository.get(job, 0, 0)
    assert stored is not None
    assert stored.error is not None
    assert stored.error.slug == "worker-lost"


def test_they_go_with_their_job(engine: sa.Engine, job: Job, repository: ExplanationRepository) -> None:
    ask(engine, job)
    claimed = claim(engine)
    assert claimed is not None
    with engine.begin() as connection:
        JobRepository(connection).delete("lab", job.id)
    with engine.begin() as connection:
        ExplanationRepository(connection).finish(claimed, b"arrays")  # writes nothing, and is no error
    assert repository.get(job, 0, 0) is None


def test_old_ones_are_deleted(engine: sa.Engine, job: Job, repository: ExplanationRepository) -> None:
    ask(engine, job)
    ask(engine, job, face=1)
    assert repository.delete_older(3600) == 0
    age(engine, requested_at="CASE face WHEN 0 THEN now() - interval '2 hours' ELSE now() END")
    with engine.begin() as connection:
        assert ExplanationRepository(connection).delete_older(3600) == 1
        assert ExplanationRepository(connection).get(job, 0, 1) is not None
