"""`DeliveryRepository`: results that another system is to get when they are there, also after a restart.

A delivery waits in two steps: `fetching` until its medium is in the store and has a job, `analysing` until that job has
ended. Whoever works on one holds a lease, so that of several processes one does, and another takes over if it dies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from uuid_utils.compat import uuid7

from worker.store.records import JobState
from worker.store.tables import deliveries, jobs

_NOW = sa.func.now()
_FINAL_JOBS = [state.value for state in JobState if state.final]


class DeliveryState(StrEnum):
    """Where a delivery stands; the last two are final."""

    FETCHING = "fetching"
    ANALYSING = "analysing"
    DELIVERED = "delivered"
    FAILED = "failed"


_OPEN = deliveries.c.state.in_([DeliveryState.FETCHING.value, DeliveryState.ANALYSING.value])


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row of `deliveries`.

    Attributes:
        kind: the system that gets the results.
        target: what that system needs, in its own words.
        job_id: the job whose results go out; None until there is one, and after it was deleted.
        attempts: those that failed so far.
        detail: what went wrong last.
        lease: of the claim that holds it.
    """

    id: UUID
    tenant: str
    kind: str
    identity: str
    target: Mapping[str, Any] = field(repr=False)
    job_id: UUID | None
    state: DeliveryState
    attempts: int
    detail: str | None
    lease: UUID | None
    created_at: datetime


class DeliveryRepository:
    """Deliveries. Every method runs in the caller's transaction; the caller commits."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, tenant: str, kind: str, identity: str, target: Mapping[str, Any]) -> bool:
        """Enter a delivery; False when an equal one is on its way already."""
        values = {
            "id": uuid7(),
            "tenant": tenant,
            "kind": kind,
            "identity": identity,
            "target": dict(target),
            "state": DeliveryState.FETCHING.value,
        }
        insert = pg.insert(deliveries).values(values).on_conflict_do_nothing().returning(deliveries.c.id)
        return self._connection.execute(insert).one_or_none() is not None

    def claim(self, kind: str, limit: int, lease_seconds: float) -> list[Delivery]:
        """Take up to `limit` deliveries that can go on: to fetch, or whose job has ended or is gone."""
        query = (
            sa.select(deliveries.c.id)
            .outerjoin(jobs, jobs.c.id == deliveries.c.job_id)
            .where(
                deliveries.c.kind == kind,
                _OPEN,
                deliveries.c.due_at <= _NOW,
                sa.or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until < _NOW),
                sa.or_(
                    deliveries.c.state == DeliveryState.FETCHING.value,
                    jobs.c.id.is_(None),
                    jobs.c.state.in_(_FINAL_JOBS),
                ),
            )
            .order_by(deliveries.c.due_at)
            .limit(limit)
            .with_for_update(of=deliveries, skip_locked=True)
        )
        ids = self._connection.execute(query).scalars().all()
        if not ids:
            return []
        change = (
            sa.update(deliveries)
            .where(deliveries.c.id.in_(ids))
            .values(lease=uuid4(), lease_until=_NOW + timedelta(seconds=lease_seconds))
        )
        return [_delivery(row) for row in self._connection.execute(change.returning(deliveries))]

    def renew(self, delivery: Delivery, lease_seconds: float) -> bool:
        """Hold on to a delivery; False when another has taken it over."""
        return self._change(delivery, lease_until=_NOW + timedelta(seconds=lease_seconds))

    def analysing(self, delivery: Delivery, job_id: UUID) -> bool:
        """The medium is in the store and has a job; False when another has taken the delivery over."""
        return self._change(
            delivery, state=DeliveryState.ANALYSING.value, job_id=job_id, attempts=0, detail=None, **_RELEASED
        )

    def retry(self, delivery: Delivery, detail: str, delay_seconds: float) -> bool:
        """An attempt failed; the next one comes later."""
        due = _NOW + timedelta(seconds=delay_seconds)
        return self._change(delivery, attempts=delivery.attempts + 1, detail=detail, due_at=due, **_RELEASED)

    def finish(self, delivery: Delivery, state: DeliveryState, detail: str | None = None) -> bool:
        """The end: delivered, or failed for good."""
        return self._change(delivery, state=state.value, detail=detail, finished_at=_NOW, **_RELEASED)

    def list(self, tenant: str, kind: str, limit: int = 100) -> list[Delivery]:
        """The tenant's deliveries, newest first."""
        query = (
            sa.select(deliveries)
            .where(deliveries.c.tenant == tenant, deliveries.c.kind == kind)
            .order_by(deliveries.c.id.desc())
            .limit(limit)
        )
        return [_delivery(row) for row in self._connection.execute(query)]

    def forget(self, older_than_seconds: float) -> int:
        """Remove what ended long ago; returns how many."""
        ended = deliveries.c.finished_at < _NOW - timedelta(seconds=older_than_seconds)
        return self._connection.execute(sa.delete(deliveries).where(ended)).rowcount

    def _change(self, delivery: Delivery, **values: Any) -> bool:
        held = (deliveries.c.id == delivery.id, deliveries.c.lease == delivery.lease)
        return self._connection.execute(sa.update(deliveries).where(*held).values(**values)).rowcount == 1


_RELEASED: dict[str, Any] = {"lease": None, "lease_until": None}


def _delivery(row: sa.Row[Any]) -> Delivery:
    values = {name: value for name, value in row._mapping.items() if name in Delivery.__slots__}
    return Delivery(**{**values, "state": DeliveryState(values["state"])})
