"""A worker looks inside the network for whoever asks; in this process, on the real network and store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa

from model.checkpoint import Architecture, Checkpoint, write_checkpoint
from model.explain import Explainer
from model.explanation import read_explanation
from worker.explanations import explain_next
from worker.runtime import Runtime
from worker.settings import WorkerSettings
from worker.store.catalogue import CheckpointRepository
from worker.store.explanations import ExplanationRepository, StoredExplanation
from worker.store.jobs import JobRepository
from worker.store.notify import DETECT_QUEUE
from worker.store.records import Job

CROP = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


@pytest.fixture
def data_dir(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A data folder with a copy of the tiny checkpoint."""
    shutil.copytree(tiny_checkpoint.path, tmp_path / "checkpoints" / "tiny" / "1")
    return tmp_path


@pytest.fixture
def stop() -> list[bool]:
    return []


@pytest.fixture
def runtime(database: str, data_dir: Path, stop: list[bool]) -> Iterator[Runtime]:
    settings = WorkerSettings(database_url=database, data_dir=data_dir, threads=1)
    runtime = Runtime(settings, database, [DETECT_QUEUE], should_stop=lambda: bool(stop))
    yield runtime
    runtime.close()


@pytest.fixture
def ask(engine: sa.Engine, tiny_checkpoint: Checkpoint) -> Callable[..., Job]:
    """`ask(checkpoint=None, crop=CROP)`: a request for a face of a job that this checkpoint analysed."""

    def made(checkpoint: Checkpoint | None = None, crop: bytes = CROP.tobytes()) -> Job:
        manifest = (checkpoint or tiny_checkpoint).manifest
        with engine.begin() as connection:
            record = CheckpointRepository(connection).register(
                manifest.name,
                manifest.version,
                manifest.weights_sha256,
                manifest.au_codes,
                manifest.model_dump(mode="json"),
            )
            job = JobRepository(connection).create_image_job(
                "lab", b"picture", deadline_seconds=60, checkpoint_id=record.id
            )
            ExplanationRepository(connection).request(job, 0, 0, crop, deadline_seconds=60)
        return job

    return made


def stored(engine: sa.Engine, job: Job) -> StoredExplanation:
    with engine.begin() as connection:
        found = ExplanationRepository(connection).get(job, 0, 0)
    assert found is not None
    return found


def test_what_is_stored_is_the_networks_own(
    runtime: Runtime, engine: sa.Engine, ask: Callable[..., Job], tiny_checkpoint: Checkpoint
) -> None:
    job = ask()
    assert explain_next(runtime)
    assert not explain_next(runtime), "nothing else waits"
    arrays = stored(engine, job).arrays
    assert arrays is not None
    found = read_explanation(arrays)
    (wanted,) = Explainer(tiny_checkpoint).explain(CROP[None])
    assert np.allclose(found.roi_maps, wanted.roi_maps, atol=1e-6)
    assert np.allclose(found.phi, wanted.phi, atol=1e-5)
    assert np.allclose(found.x1, wanted.x1, rtol=2e-3, atol=1e-4), "in half precision"


def test_a_process_that_stops_takes_nothing_up(
    runtime: Runtime, engine: sa.Engine, ask: Callable[..., Job], stop: list[bool]
) -> None:
    job = ask()
    stop.append(True)
    assert not explain_next(runtime)
    stop.clear()
    assert explain_next(runtime)
    assert stored(engine, job).arrays is not None


def test_one_that_fails_does_not_stop_the_next(runtime: Runtime, engine: sa.Engine, ask: Callable[..., Job]) -> None:
    broken, whole = ask(crop=b"\0" * 48), ask()  # a crop of 4 x 4
    assert explain_next(runtime)
    assert explain_next(runtime)
    error = stored(engine, broken).error
    assert error is not None
    assert error.slug == "internal"
    assert stored(engine, whole).arrays is not None


def test_a_checkpoint_that_is_gone(
    runtime: Runtime, engine: sa.Engine, ask: Callable[..., Job], data_dir: Path
) -> None:
    job = ask()
    shutil.rmtree(data_dir / "checkpoints" / "tiny")
    assert explain_next(runtime)
    error = stored(engine, job).error
    assert error is not None
    assert error.slug == "checkpoint-unavailable"
    assert "tiny:1" in error.detail


def test_a_checkpoint_with_other_weights_than_then(
    runtime: Runtime, engine: sa.Engine, ask: Callable[..., Job], data_dir: Path, tiny_checkpoint: Checkpoint
) -> None:
    job = ask()
    folder = data_dir / "checkpoints" / "tiny" / "1"
    shutil.rmtree(folder)
    state = {name: value + 1 if name == "head.bias" else value for name, value in tiny_checkpoint.state().items()}
    write_checkpoint(folder, state, tiny_checkpoint.manifest)
    assert explain_next(runtime)
    error = stored(engine, job).error
    assert error is not None
    assert "other weights" in error.detail


def test_a_network_without_graph_convolution(
    runtime: Runtime, engine: sa.Engine, ask: Callable[..., Job], data_dir: Path, tiny_checkpoint: Checkpoint
) -> None:
    state = {name: value for name, value in tiny_checkpoint.state().items() if not name.startswith("graph.")}
    plain = Architecture(backbone="hrnet_w18_small", variant="neg")
    manifest = tiny_checkpoint.manifest.model_copy(update={"name": "plain", "architecture": plain})
    job = ask(write_checkpoint(data_dir / "checkpoints" / "plain" / "1", state, manifest))
    assert explain_next(runtime)
    error = stored(engine, job).error
    assert error is not None
    assert error.slug == "not-explainable"


def test_a_job_whose_checkpoint_is_not_known(runtime: Runtime, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        job = JobRepository(connection).create_image_job("lab", b"picture", deadline_seconds=60)
        ExplanationRepository(connection).request(job, 0, 0, CROP.tobytes(), deadline_seconds=60)
    assert isinstance(job.id, UUID)
    assert explain_next(runtime)
    error = stored(engine, job).error
    assert error is not None
    assert error.slug == "checkpoint-unavailable"
