"""What the tests of the service share: a real server on a real port, jobs in every state, the check of a problem."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import numpy as np
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from PIL import Image

from model.values import AuPrediction, Face, UInt8Array
from service.app import create_app
from service.auth import new_key
from service.settings import ServiceSettings
from worker.app import worker_argv
from worker.settings import WorkerSettings
from worker.store.catalogue import ApiKeyRepository, CheckpointRepository, MediaRepository
from worker.store.claims import ClaimRepository
from worker.store.database import create_engine
from worker.store.jobs import JobRepository
from worker.store.media import MediaStore
from worker.store.records import FrameResult, Job, JobOptions
from worker.store.results import ResultRepository

AU_CODES = ("AU1", "AU12")
MAP_SIZE = 8


@contextmanager
def serving(app: FastAPI, host: str = "127.0.0.1") -> Iterator[str]:
    """Run an app under uvicorn in a thread; gives its base URL."""
    with socket.socket() as listening:
        listening.bind((host, 0))
        port = listening.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=3, lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


@dataclass(frozen=True)
class Server:
    """A running service and what lies beneath it."""

    url: str
    app: FastAPI
    settings: ServiceSettings
    engine: sa.Engine

    def key(self, tenant: str, *scopes: str) -> str:
        """A new API key."""
        key = new_key()
        with self.engine.begin() as connection:
            ApiKeyRepository(connection).create(tenant, "test", key.sha256, scopes or ("read", "write"))
        return key.text

    def client(self, tenant: str, *scopes: str) -> httpx.Client:
        """A client with a key of its own."""
        headers = {"Authorization": f"Bearer {self.key(tenant, *scopes)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def media_files(self) -> list[Path]:
        """Every file of the media store, finished or not."""
        return [path for path in self.settings.media_dir.rglob("*") if path.is_file()]


@contextmanager
def worker_process(settings: ServiceSettings, queue: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as `roigcn serve` starts it."""
    environment = {name: value for name, value in os.environ.items() if name != "ROIGCN_CHECKPOINT"}
    environment |= {
        "ROIGCN_DATABASE_URL": str(settings.database_url),
        "ROIGCN_DATA_DIR": str(settings.data_dir),
        "ROIGCN_THREADS": "2",
    }
    process = subprocess.Popen(worker_argv(queue, WorkerSettings(data_dir=settings.data_dir)), env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@contextmanager
def running_server(settings: ServiceSettings) -> Iterator[Server]:
    """A server with these settings."""
    assert settings.database_url is not None
    engine = create_engine(settings.database_url)
    app = create_app(settings)
    try:
        with serving(app) as url:
            yield Server(url, app, settings, engine)
    finally:
        engine.dispose()


def face(seed: int = 0, track: int = 0) -> tuple[Face, AuPrediction]:
    """A face and a prediction for it, as the pipeline hands them to the store."""
    generator = np.random.default_rng(seed)
    landmarks = (generator.random((68, 2)) * 60 + 20).astype(np.float32)
    count = len(AU_CODES)
    amplitude = generator.uniform(-1, 1, (count, 2)).astype(np.float32)
    score = amplitude.max(axis=1)
    prediction = AuPrediction(
        score=score,
        probability=np.where(np.arange(count) == 1, np.nan, (score + 1) / 2).astype(np.float32),
        active=score > 0,
        valid=np.ones(count, bool),
        roi_amplitude=amplitude,
        roi_centres=landmarks[: 2 * count].reshape(count, 2, 2),
        roi_maps=generator.uniform(-1, 1, (count, MAP_SIZE, MAP_SIZE)).astype(np.float32),
    )
    return Face(np.array([20, 20, 80, 80], np.float32), 0.9, landmarks, presence=0.8, track=track), prediction


def clip(frames: int, faces_per_frame: int = 1) -> list[FrameResult]:
    """Results of a clip at 25 frames per second whose every third frame has no face."""
    return [
        FrameResult(
            index, index * 40.0, () if index % 3 == 2 else tuple(face(index + k, k) for k in range(faces_per_frame))
        )
        for index in range(frames)
    ]


@dataclass(frozen=True)
class Store:
    """Puts jobs into the database in the states that a worker leaves them in, by the worker's own repositories."""

    server: Server
    tenant: str

    def queued(self, options: JobOptions | None = None) -> Job:
        """A clip that waits."""
        store = MediaStore(self.server.settings.media_dir)
        with store.writer(1000) as writer:
            writer.write(b"\0\0\0\x18ftypisom")
            file = writer.finalise()
        with self.server.engine.begin() as connection:
            media = MediaRepository(connection).create(self.tenant, file, mime="video/mp4", name="clip.mp4")
            return JobRepository(connection).create_video_job(self.tenant, media.id, options)[0]

    def running(self, results: list[FrameResult], options: JobOptions | None = None) -> Job:
        """A clip at which a worker is, with these frames committed."""
        queued = self.queued(options)
        with self.server.engine.begin() as connection:
            claims = ClaimRepository(connection)
            job = claims.claim_video(uuid4(), 60)
            assert job is not None
            assert job.id == queued.id, "another test left a queued clip behind"
            checkpoint = CheckpointRepository(connection).register(
                "tiny", "1", "ab" * 32, AU_CODES, {"training": {"data": "rendered faces", "synthetic_only": True}}
            )
            claims.describe(
                job, checkpoint_id=checkpoint.id, reading="both", width=100, height=100, frames_total=len(results)
            )
            claims.progress(job, len(results), lease_seconds=60)
            ResultRepository(connection).copy_frames(job, results)
        return job

    def finished(self, results: list[FrameResult], options: JobOptions | None = None) -> Job:
        """A clip that succeeded."""
        job = self.running(results, options)
        with self.server.engine.begin() as connection:
            return ClaimRepository(connection).finish(job, frames_total=len(results))

    def picture(self, result: FrameResult) -> Job:
        """A picture's job as a worker leaves it."""
        with self.server.engine.begin() as connection:
            created = JobRepository(connection).create_image_job(self.tenant, b"x", deadline_seconds=60)
            claims = ClaimRepository(connection)
            (job,) = [held.job for held in claims.claim_images(100, uuid4(), 60) if held.job.id == created.id]
            checkpoint = CheckpointRepository(connection).register("tiny", "1", "ab" * 32, AU_CODES, {})
            claims.describe(job, checkpoint_id=checkpoint.id, reading="both", width=100, height=100, frames_total=1)
            claims.progress(job, 1, lease_seconds=60)
            ResultRepository(connection).copy_frames(job, [result])
            return claims.finish(job, frames_total=1)

    def count(self) -> int:
        """Jobs of the tenant."""
        with self.server.engine.begin() as connection:
            return len(JobRepository(connection).list(self.tenant, limit=200))


def assert_problem(response: httpx.Response, status: int, slug: str) -> dict[str, object]:
    """The response is a problem document of this kind that says what to do."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = response.json()
    assert body["type"] == slug
    assert body["status"] == status
    assert body["title"]
    assert body["instance"] == response.url.path
    detail = str(body["detail"])
    assert detail.endswith((".", "…")), detail
    return body


def jpeg(rgb: UInt8Array, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=92, **options)
    return file.getvalue()
