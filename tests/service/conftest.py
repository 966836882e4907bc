"""A real server on a real port, on a real Postgres; and callers of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import httpx
import pytest

from model.analyzer import Analyzer
from model.checkpoint import Checkpoint
from model.values import UInt8Array
from service.settings import ServiceSettings
from tests.service.kit import Server, Store, jpeg, running_server, worker_process
from worker.store.jobs import JobRepository


@pytest.fixture(scope="session")
def server(create_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service without any worker: what it answers from rows, and what it does when nobody works."""
    settings = ServiceSettings(
        database_url=create_database(),
        data_dir=tmp_path_factory.mktemp("service"),
        max_image_bytes=300_000,
        max_video_bytes=3_000_000,
        detect_seconds=0.3,
        upload_idle_seconds=1.0,
    )
    with running_server(settings) as running:
        running.key("somebody")  # from the first key on, every request needs one
        yield running


@pytest.fixture
def tenant() -> str:
    return f"tenant-{uuid4().hex}"


@pytest.fixture
def client(server: Server, tenant: str) -> Iterator[httpx.Client]:
    """A caller who may read and write, in a tenant of this test's own."""
    with server.client(tenant) as client:
        yield client


@pytest.fixture
def stranger(server: Server) -> Iterator[httpx.Client]:
    """A caller of another tenant."""
    with server.client(f"stranger-{uuid4().hex}") as client:
        yield client


@pytest.fixture
def store(server: Server, tenant: str) -> Iterator[Store]:
    """The worker's side of the database; what it left queued is cancelled at the end."""
    yield Store(server, tenant)
    with server.engine.begin() as connection:
        repository = JobRepository(connection)
        for job in repository.list(tenant, limit=200):
            repository.request_cancel(tenant, job.id)


START_SECONDS = 120.0


@pytest.fixture(scope="session")
def served(
    create_database: Callable[[], str], tiny_checkpoint: Checkpoint, tiny_analyzer: Analyzer
) -> Iterator[Server]:
    """A service with a worker process for pictures and one for clips. `tiny_analyzer` has converted the network."""
    settings = ServiceSettings(
        database_url=create_database(),
        data_dir=tiny_checkpoint.path.parents[2],
        detect_seconds=60.0,
        max_waiting_detects=40,
    )
    with (
        running_server(settings) as running,
        worker_process(settings, "detect"),
        worker_process(settings, "video"),
    ):
        ends = time.monotonic() + START_SECONDS
        while (ready := httpx.get(f"{running.url}/health/ready", timeout=60)).status_code != 200:
            assert time.monotonic() < ends, ready.text
            time.sleep(0.1)
        yield running


@pytest.fixture
def caller(served: Server, tenant: str) -> Iterator[httpx.Client]:
    with served.client(tenant) as client:
        yield client


@pytest.fixture(scope="session")
def portrait(astronaut: UInt8Array) -> bytes:
    return jpeg(astronaut)
