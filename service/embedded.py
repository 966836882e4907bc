"""The whole service on one machine: Postgres in the data folder, worker processes, the API, started and stopped as one.

What is configured from outside is not started: with ROIGCN_DATABASE_URL the database, with `workers=False` the workers.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import filelock

from service.settings import ServiceSettings
from service.supervisor import ChildSpec, Supervisor
from worker.store.catalogue import WorkerRepository
from worker.store.database import create_engine
from worker.store.embedded import start_postgres
from worker.store.migrate import upgrade

log = logging.getLogger(__name__)

QUEUES = ("detect", "video")
# A worker loads its network before it beats for the first time; converting a large one takes half a minute.
_FIRST_BEAT_SECONDS = 300.0
_STUCK_SECONDS = 60.0
_LOOK_SECONDS = 5.0


class AlreadyRunningError(RuntimeError):
    """Another `roigcn serve` uses the same data folder."""


@contextmanager
def database(settings: ServiceSettings) -> Iterator[ServiceSettings]:
    """The settings with a database that is up and migrated; the embedded one is stopped at the end.

    Raises:
        EmbeddedPostgresError: it cannot be started.
    """
    if settings.database_url is not None:
        if settings.migrate:
            upgrade(settings.database_url)
        yield settings
        return
    postgres = start_postgres(settings.data_dir)
    try:
        upgrade(postgres.url)
        yield settings.model_copy(update={"database_url": postgres.url})
    finally:
        postgres.stop()


@contextmanager
def exclusive(settings: ServiceSettings) -> Iterator[None]:
    """Hold the data folder, so that two embedded services do not work on one.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(settings.data_dir / "serve.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise AlreadyRunningError(
            f"another `roigcn serve` uses {settings.data_dir}; stop it, or give this one another --data-dir"
        ) from error
    try:
        yield
    finally:
        lock.release()


def worker_command(queue: str) -> list[str]:
    """The argument vector of a worker process."""
    return [sys.executable, "-m", "service.cli", "worker", queue]


def child_environment(settings: ServiceSettings) -> dict[str, str]:
    """This process's environment, with the settings that were changed by options or found out at start."""
    env = dict(os.environ)
    for name in ("data_dir", "database_url", "engine", "device", "checkpoint"):
        value = getattr(settings, name)
        if value is not None:
            env[f"ROIGCN_{name.upper()}"] = str(value)
    return env


class Heartbeats:
    """Tells from the `workers` table whether a process shows signs of life."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, pool_size=1, application_name="roigcn supervisor")
        self._silent: dict[int, float] = {}  # seconds since the last beat, by process id
        self._looked = 0.0

    def is_stuck(self, pid: int, age: float) -> bool:
        """Whether the process with this id has beaten before and then stopped, or never did in its first minutes."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            with self._engine.connect() as connection:
                self._silent = {row.pid: row.age_seconds for row in WorkerRepository(connection).list()}
            self._looked = time.monotonic()
        silent = self._silent.get(pid)
        if silent is None:
            return age > _FIRST_BEAT_SECONDS
        return min(age, silent) > _STUCK_SECONDS

    def close(self) -> None:
        """Give the connection back."""
        self._engine.dispose()


@contextmanager
def workers(settings: ServiceSettings, queues: Sequence[str] = QUEUES) -> Iterator[Supervisor]:
    """One worker process per queue, kept running until the block ends. The settings need a database URL."""
    assert settings.database_url is not None, "start the database first"
    env = child_environment(settings)
    heartbeats = Heartbeats(settings.database_url)
    specs = [ChildSpec(f"{queue} worker", worker_command(queue), env) for queue in queues]
    supervisor = Supervisor(specs, is_stuck=heartbeats.is_stuck)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
        heartbeats.close()
