"""Checks of what the service needs, and the numbers behind `/metrics`."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from model.checkpoint import CheckpointError
from service.checkpoints.service import in_use
from service.context import Context
from service.health.schemas import Check, ReadyAnswer, WorkersCheck
from worker.store.catalogue import WorkerRepository
from worker.store.jobs import JobRepository
from worker.store.notify import DETECT_QUEUE, VIDEO_QUEUE


async def ready(context: Context) -> ReadyAnswer:
    """Database, workers and checkpoint; ready when all of them are."""
    database, workers = await _database(context)
    checkpoint = await run_in_threadpool(_checkpoint, context)
    return ReadyAnswer(
        ready=database.ok and workers.ok and checkpoint.ok, database=database, workers=workers, checkpoint=checkpoint
    )


async def measure(context: Context) -> None:
    """Bring the gauges up to date."""

    def read(connection: sa.Connection) -> None:
        metrics = context.metrics
        metrics.jobs.clear()
        for (kind, state), count in JobRepository(connection).counts().items():
            if not state.final:
                metrics.jobs.labels(kind.value, state.value).set(count)
        for queue, count in _alive(connection, context.settings.worker_alive_seconds).items():
            metrics.workers.labels(queue).set(count)

    await context.database.run(read)


async def _database(context: Context) -> tuple[Check, WorkersCheck]:
    try:
        alive = await context.database.run(_alive, context.settings.worker_alive_seconds)
    except SQLAlchemyError as error:
        reason = type(error).__name__
        return (
            Check(ok=False, detail=f"does not answer ({reason}); see the service's log"),
            WorkersCheck(ok=False, detail="unknown without the database", detect=0, video=0),
        )
    detect, video = alive[DETECT_QUEUE], alive[VIDEO_QUEUE]
    missing = [name for name, count in (("pictures", detect), ("clips", video)) if not count]
    detail = f"{detect} for pictures, {video} for clips"
    if missing:
        detail += f"; start a worker for {' and '.join(missing)} (`roigcn serve` does), or wait while one loads"
    listening = context.listener.connected.is_set()
    return (
        Check(ok=listening, detail="answers" if listening else "answers, but its notifications are not heard yet"),
        WorkersCheck(ok=not missing, detail=detail, detect=detect, video=video),
    )


def _alive(connection: sa.Connection, max_age_seconds: float) -> dict[str, int]:
    """Processes that can work by queue; one that still loads its network has no engine yet and does not count."""
    workers = [worker for worker in WorkerRepository(connection).list(max_age_seconds) if worker.engine is not None]
    return {queue: sum(queue in worker.queues for worker in workers) for queue in (DETECT_QUEUE, VIDEO_QUEUE)}


def _checkpoint(context: Context) -> Check:
    try:
        return Check(ok=True, detail=in_use(context.registry, context.settings.checkpoint).ref)
    except CheckpointError as error:
        return Check(ok=False, detail=str(error))
