"""Factories of rows for the worker's tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sa

from model.values import AuPrediction, Face
from worker.store.catalogue import MediaRepository
from worker.store.jobs import JobRepository
from worker.store.media import StoredFile
from worker.store.records import FrameResult, Job, JobOptions

AUS = 3


@pytest.fixture
def make_result() -> Callable[..., FrameResult]:
    """`make_result(index, tracks=(0,))`: a frame with one random face a track."""

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
