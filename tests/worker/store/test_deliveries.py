"""Deliveries: entered once, claimed by one, taken over from the dead, tried again later."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import sqlalchemy as sa

from worker.store.claims import ClaimRepository
from worker.store.deliveries import Delivery, DeliveryRepository, DeliveryState
from worker.store.jobs import JobRepository
from worker.store.records import Job


def add(engine: sa.Engine, identity: str = "one", tenant: str = "lab", kind: str = "ls") -> bool:
    with engine.begin() as connection:
        return DeliveryRepository(connection).add(tenant, kind, identity, {"task": 7})


def claim(engine: sa.Engine, limit: int = 10, lease_seconds: float = 60.0, kind: str = "ls") -> list[Delivery]:
    with engine.begin() as connection:
        return DeliveryRepository(connection).claim(kind, limit, lease_seconds)


def listed(engine: sa.Engine, tenant: str = "lab") -> list[Delivery]:
    with engine.begin() as connection:
        return DeliveryRepository(connection).list(tenant, "ls")


def test_equal_deliveries_on_their_way_are_one(engine: sa.Engine) -> None:
    assert add(engine)
    assert not add(engine)
    assert add(engine, tenant="other")
    assert add(engine, kind="elsewhere")
    (delivery,) = claim(engine, limit=1)
    with engine.begin() as connection:
        assert DeliveryRepository(connection).finish(delivery, DeliveryState.DELIVERED)
    assert add(engine), "what is delivered can be wanted again"
    assert [row.state for row in listed(engine)] == [DeliveryState.FETCHING, DeliveryState.DELIVERED]
    assert listed(engine)[0].target == {"task": 7}


def test_each_is_claimed_by_one(engine: sa.Engine) -> None:
    for number in range(5):
        add(engine, str(number))
    first, rest = claim(engine, 2), claim(engine)
    assert [row.identity for row in first + rest] == ["0", "1", "2", "3", "4"]
    assert claim(engine) == []
    assert claim(engine, kind="elsewhere") == []


def test_what_a_dead_process_held_is_taken_over_and_it_writes_no_more(engine: sa.Engine) -> None:
    add(engine)
    (dead,) = claim(engine, lease_seconds=-1)
    (living,) = claim(engine)
    assert living.id == dead.id
    with engine.begin() as connection:
        repository = DeliveryRepository(connection)
        assert not repository.renew(dead, 60)
        assert not repository.analysing(dead, uuid4())
        assert not repository.retry(dead, "late", 0)
        assert not repository.finish(dead, DeliveryState.FAILED)
        assert repository.renew(living, 60)
        assert repository.finish(living, DeliveryState.DELIVERED)


def test_a_failed_attempt_waits_and_says_why(engine: sa.Engine) -> None:
    add(engine)
    (delivery,) = claim(engine)
    with engine.begin() as connection:
        DeliveryRepository(connection).retry(delivery, "nobody answers", 3600)
    assert claim(engine) == []
    (row,) = listed(engine)
    assert (row.attempts, row.detail, row.lease) == (1, "nobody answers", None)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE deliveries SET due_at = now()"))
    assert len(claim(engine)) == 1


def test_one_whose_job_runs_waits_for_its_end(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    job = make_video_job()
    add(engine)
    (delivery,) = claim(engine)
    with engine.begin() as connection:
        assert DeliveryRepository(connection).analysing(delivery, job.id)
    assert claim(engine) == []
    with engine.begin() as connection:
        running = ClaimRepository(connection).claim_video(uuid4(), 60)
        assert running is not None
    assert claim(engine) == []
    with engine.begin() as connection:
        ClaimRepository(connection).finish(running, frames_total=0)
    (due,) = claim(engine)
    assert (due.state, due.job_id) == (DeliveryState.ANALYSING, job.id)


def test_one_whose_job_was_deleted_is_not_forgotten(engine: sa.Engine, make_video_job: Callable[..., Job]) -> None:
    job = make_video_job()
    add(engine)
    (delivery,) = claim(engine)
    with engine.begin() as connection:
        DeliveryRepository(connection).analysing(delivery, job.id)
        JobRepository(connection).delete("lab", job.id)
    (due,) = claim(engine)
    assert (due.state, due.job_id) == (DeliveryState.ANALYSING, None)


def test_what_ended_long_ago_is_removed(engine: sa.Engine) -> None:
    for number in range(3):
        add(engine, str(number))
    done, failed, _ = claim(engine)
    with engine.begin() as connection:
        repository = DeliveryRepository(connection)
        repository.finish(done, DeliveryState.DELIVERED)
        repository.finish(failed, DeliveryState.FAILED, "gone")
        assert repository.forget(3600) == 0
        connection.execute(sa.text("UPDATE deliveries SET finished_at = now() - interval '2 hours'"))
        connection.execute(sa.text("UPDATE deliveries SET finished_at = NULL WHERE state = 'fetching'"))
        assert repository.forget(3600) == 2
    assert len(listed(engine)) == 1
