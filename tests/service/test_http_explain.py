"""Looks inside the network over HTTP: a real worker computes them, every wrong question gets its answer."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from model.checkpoint import Checkpoint
from model.explanation import read_explanation
from model.values import UInt8Array
from service.settings import ServiceSettings
from tests.service.kit import Server, Store, assert_problem, clip, face, jpeg, running_server
from worker.store.catalogue import CheckpointRepository
from worker.store.claims import ClaimRepository
from worker.store.explanations import ExplanationRepository
from worker.store.jobs import JobRepository
from worker.store.records import FrameResult, Job, JobOptions
from worker.store.results import ResultRepository


@pytest.fixture(scope="module")
def lonely(create_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service without any worker."""
    settings = ServiceSettings(
        database_url=create_database(), data_dir=tmp_path_factory.mktemp("lonely"), explain_seconds=0.5
    )
    with running_server(settings) as running:
        yield running


def analysed(
    server: Server, tenant: str, checkpoint: Checkpoint, picture: bytes, variant: str | None = None, store: bool = True
) -> Job:
    """A picture's job as a worker leaves it, with one face."""
    manifest = checkpoint.manifest.model_dump(mode="json")
    name = "tiny"
    if variant is not None:
        name, manifest["architecture"]["variant"] = f"tiny-{variant}", variant
    found, prediction = face(seed=1)
    with server.engine.begin() as connection:
        record = CheckpointRepository(connection).register(
            name, "1", checkpoint.manifest.weights_sha256, checkpoint.manifest.au_codes, manifest
        )
        jobs, claims = JobRepository(connection), ClaimRepository(connection)
        queued = jobs.create_image_job(tenant, picture, JobOptions(store=store), deadline_seconds=60)
        (claimed,) = claims.claim_images(1, queued.id, 60)
        job = claimed.job
        claims.describe(job, checkpoint_id=record.id, reading="both", width=512, height=512)
        ResultRepository(connection).copy_frames(job, [FrameResult(0, 0.0, ((found, prediction),))])
        return claims.finish(job, frames_total=1)


def test_a_picture_of_a_face(caller: httpx.Client, served: Server, tenant: str, portrait: bytes) -> None:
    job = caller.post("/detect", files={"image": portrait}).json()["links"]["job"]
    path = f"{job}/frames/0/faces/0/explain"
    first = caller.get(path, params={"au": "AU12"})
    assert first.status_code == 200, first.text
    assert first.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(first.content)).width == 1480
    other = caller.get(path, params={"au": "AU1"})
    assert other.status_code == 200
    assert other.content != first.content
    assert caller.get(path).content in (first.content, other.content, caller.get(path, params={"au": "AU25"}).content)

    arrays = caller.get(path, params={"format": "npz"})
    assert arrays.headers["content-type"] == "application/x-npz"
    explanation = read_explanation(arrays.content)
    kept = caller.get(f"{job}/frames/0/faces/0/roi/AU12", params={"format": "npy"})
    stored = np.load(io.BytesIO(kept.content), allow_pickle=False)
    size = np.abs(explanation.roi_maps).max()
    assert np.allclose(explanation.roi_maps[1], stored, atol=size / 10), "the maps that were stored, up to their codec"

    assert caller.delete(job).status_code == 204
    assert_problem(caller.get(path), 404, "not-found")


def test_many_ask_at_once_and_one_is_computed(
    caller: httpx.Client, served: Server, tenant: str, portrait: bytes
) -> None:
    job = caller.post("/detect", files={"image": portrait}).json()["links"]["job"]
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda _: caller.get(f"{job}/frames/0/faces/0/explain", params={"format": "npz"}), range(6))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


def test_a_frame_of_a_clip(
    caller: httpx.Client, astronaut: UInt8Array, tmp_path: Path, write_clip: Callable[..., Path]
) -> None:
    path = write_clip(tmp_path / "clip.mp4", [np.roll(astronaut, 40 * n, axis=1) for n in range(3)])
    job = caller.post("/jobs", files={"video": path.read_bytes()}).json()["id"]
    with caller.stream("GET", f"/jobs/{job}/events") as response:
        response.read()
    answers = [
        caller.get(f"/jobs/{job}/frames/{n}/faces/0/explain", params={"au": "AU12", "format": "npz"}) for n in (0, 2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    first, last = (read_explanation(answer.content) for answer in answers)
    assert not np.array_equal(first.x0, last.x0), "each frame its own"
    # The face only moves: what the network sees is nearly the same crop.
    assert np.corrcoef(first.x0.ravel(), last.x0.ravel())[0, 1] > 0.9


def test_another_tenant_sees_nothing(served: Server, caller: httpx.Client, portrait: bytes) -> None:
    job = caller.post("/detect", files={"image": portrait}).json()["links"]["job"]
    path = f"{job}/frames/0/faces/0/explain"
    assert caller.get(path).status_code == 200
    with served.client("somebody-else") as stranger:
        assert_problem(stranger.get(path), 404, "not-found")
    with httpx.Client(base_url=served.url) as nobody:
        assert_problem(nobody.get(path), 401, "unauthorized")


@pytest.mark.parametrize(
    ("tail", "status", "slug"),
    [
        ("frames/9/faces/0/explain", 404, "not-found"),
        ("frames/0/faces/7/explain", 404, "not-found"),
        ("frames/0/faces/0/explain?au=AU9", 404, "not-found"),
        ("frames/0/faces/0/explain?au=smile", 422, "validation"),
        ("frames/0/faces/0/explain?format=gif", 422, "validation"),
        ("frames/-1/faces/0/explain", 422, "validation"),
    ],
)
def test_what_is_not_there(
    lonely: Server, tenant: str, tiny_checkpoint: Checkpoint, portrait: bytes, tail: str, status: int, slug: str
) -> None:
    job = analysed(lonely, tenant, tiny_checkpoint, portrait)
    with lonely.client(tenant) as client:
        assert_problem(client.get(f"/jobs/{job.id}/{tail}"), status, slug)


def test_a_frame_that_is_still_to_come(client: httpx.Client, store: Store) -> None:
    job = store.running(clip(2))
    assert_problem(client.get(f"/jobs/{job.id}/frames/2/faces/0/explain"), 409, "job-not-finished")


@pytest.mark.parametrize("variant", ["heatmap", "neg"])
def test_a_network_without_graph_convolution(
    lonely: Server, tenant: str, tiny_checkpoint: Checkpoint, portrait: bytes, variant: str
) -> None:
    job = analysed(lonely, tenant, tiny_checkpoint, portrait, variant)
    with lonely.client(tenant) as client:
        body = assert_problem(client.get(f"/jobs/{job.id}/frames/0/faces/0/explain"), 409, "not-explainable")
    assert f"'{variant}'" in str(body["detail"])


def test_a_picture_that_is_not_kept(lonely: Server, tenant: str, tiny_checkpoint: Checkpoint, portrait: bytes) -> None:
    job = analysed(lonely, tenant, tiny_checkpoint, portrait, store=False)
    with lonely.client(tenant) as client:
        assert_problem(client.get(f"/jobs/{job.id}/frames/0/faces/0/explain"), 410, "job-expired")


def test_pictures_that_no_longer_decode(
    lonely: Server, client: httpx.Client, store: Store, tenant: str, tiny_checkpoint: Checkpoint
) -> None:
    job = analysed(lonely, tenant, tiny_checkpoint, b"\xff\xd8 no picture")
    with lonely.client(tenant) as caller:
        assert_problem(caller.get(f"/jobs/{job.id}/frames/0/faces/0/explain"), 422, "media-unreadable")


def test_a_manifest_of_another_time(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(1))  # its checkpoint's manifest says what it was trained on and nothing else
    body = assert_problem(client.get(f"/jobs/{job.id}/frames/0/faces/0/explain"), 503, "checkpoint-unavailable")
    assert "manifest" in str(body["detail"])


def test_without_a_worker_it_says_so_and_asks_again_later(
    lonely: Server, tenant: str, tiny_checkpoint: Checkpoint, astronaut: UInt8Array
) -> None:
    job = analysed(lonely, tenant, tiny_checkpoint, jpeg(astronaut))
    with lonely.client(tenant) as client:
        path = f"/jobs/{job.id}/frames/0/faces/0/explain"
        response = client.get(path)
        body = assert_problem(response, 503, "queue-full")
        assert response.headers["retry-after"]
        assert "No worker" in str(body["detail"])
        time.sleep(0.1)
        assert_problem(client.get(path), 503, "queue-full")
    with lonely.engine.begin() as connection:
        stored = ExplanationRepository(connection).get(job, 0, 0)
    assert stored is not None
    assert len(stored.crop) == 64 * 64 * 3
    assert stored.arrays is None
