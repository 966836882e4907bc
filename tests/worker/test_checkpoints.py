"""One worker, several checkpoints: each job gets its own, and no more stay loaded than the settings say."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from model.analyzer import Analyzer
from model.checkpoint import Checkpoint
from model.registry import Registry
from model.values import UInt8Array
from worker.images import drain
from worker.runtime import Runtime
from worker.settings import WorkerSettings
from worker.store.catalogue import CheckpointRepository
from worker.store.jobs import JobRepository
from worker.store.notify import DETECT_QUEUE
from worker.store.records import Job, JobState
from worker.store.results import ResultRepository

NAMES = ("tiny", "second", "third")


@pytest.fixture(scope="module")
def data_dir(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the same weights under three names."""
    root = tmp_path_factory.mktemp("three")
    for name in NAMES:
        folder = root / "checkpoints" / name / "1"
        shutil.copytree(tiny_checkpoint.path, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"name": name}))
    Registry.open(root).activate("tiny", "1")
    return root


@pytest.fixture
def runtime(
    database: str, data_dir: Path, tiny_checkpoint: Checkpoint, tiny_analyzer: Analyzer, request: pytest.FixtureRequest
) -> Iterator[Runtime]:
    """A runtime that keeps as many networks as the test says; `tiny_analyzer` has converted the network."""
    settings = WorkerSettings(
        data_dir=data_dir,
        database_url=database,
        cache_dir=tiny_checkpoint.path.parents[2] / "cache",
        threads=2,
        loaded_checkpoints=request.param,
    )
    runtime = Runtime(settings, database, [DETECT_QUEUE])
    yield runtime
    runtime.close()


def register(engine: sa.Engine, data_dir: Path, name: str) -> UUID:
    manifest = Registry.open(data_dir).get(f"{name}:1").manifest
    with engine.begin() as connection:
        record = CheckpointRepository(connection).register(
            name, "1", manifest.weights_sha256, manifest.au_codes, manifest.model_dump(mode="json")
        )
    return record.id


def queue(engine: sa.Engine, picture: bytes, checkpoint_id: UUID | None) -> Job:
    with engine.begin() as connection:
        return JobRepository(connection).create_image_job(
            "lab", picture, deadline_seconds=300, checkpoint_id=checkpoint_id
        )


@pytest.fixture(scope="module")
def picture(astronaut: UInt8Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(astronaut).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("runtime", [1, 3], indirect=True, ids=["one kept", "three kept"])
def test_a_batch_of_mixed_checkpoints(runtime: Runtime, engine: sa.Engine, data_dir: Path, picture: bytes) -> None:
    """Also with room for one network: none is closed while its pictures still wait for it."""
    ids = {name: register(engine, data_dir, name) for name in NAMES}
    wanted = ["second", None, "third", "second", "tiny", "third"]
    jobs = [queue(engine, picture, None if name is None else ids[name]) for name in wanted]
    assert drain(runtime) == len(jobs)
    with engine.connect() as connection:
        done = [JobRepository(connection).get_or_raise("lab", job.id) for job in jobs]
        scores = [ResultRepository(connection).frames_page(job)[0].faces[0].au_score for job in done]
    assert [job.state for job in done] == [JobState.SUCCEEDED] * len(jobs)
    assert [job.checkpoint_id for job in done] == [ids[name or "tiny"] for name in wanted]
    for score in scores[1:]:
        np.testing.assert_allclose(score, scores[0], atol=1e-4)


@pytest.mark.parametrize("runtime", [2], indirect=True)
def test_the_one_used_longest_ago_goes_first(
    runtime: Runtime, engine: sa.Engine, data_dir: Path, picture: bytes
) -> None:
    loaded = {
        name: runtime.loaded(queue(engine, picture, register(engine, data_dir, name))) for name in ("tiny", "second")
    }
    again = runtime.loaded(queue(engine, picture, register(engine, data_dir, "tiny")))
    assert again is loaded["tiny"]
    runtime.loaded(queue(engine, picture, register(engine, data_dir, "third")))
    assert runtime.loaded(queue(engine, picture, register(engine, data_dir, "tiny"))) is loaded["tiny"]
    assert runtime.loaded(queue(engine, picture, register(engine, data_dir, "second"))) is not loaded["second"]


@pytest.mark.parametrize("runtime", [2], indirect=True)
def test_one_that_was_removed_fails_its_jobs_alone(
    runtime: Runtime, engine: sa.Engine, data_dir: Path, picture: bytes, tmp_path: Path
) -> None:
    gone = register(engine, data_dir, "third")
    folder = data_dir / "checkpoints" / "third"
    jobs = [queue(engine, picture, checkpoint) for checkpoint in (gone, None, gone)]
    folder.rename(tmp_path / "third")
    try:
        drain(runtime)
    finally:
        (tmp_path / "third").rename(folder)
    with engine.connect() as connection:
        done = [JobRepository(connection).get_or_raise("lab", job.id) for job in jobs]
    assert [job.state for job in done] == [JobState.FAILED, JobState.SUCCEEDED, JobState.FAILED]
    assert [job.error.slug for job in done if job.error] == ["checkpoint-unavailable"] * 2
