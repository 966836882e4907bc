"""ROI maps over HTTP: numbers, pictures, overlays on what was sent."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from model.values import UInt8Array
from tests.service.kit import AU_CODES, MAP_SIZE, Server, Store, assert_problem, clip, face, jpeg
from worker.store.records import FrameResult, JobOptions, RoiStorage


def picture_of(response: httpx.Response) -> UInt8Array:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB"))


def array_of(response: httpx.Response) -> np.ndarray:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-npy"
    return np.load(io.BytesIO(response.content), allow_pickle=False)


def test_numbers_are_the_stored_map(client: httpx.Client, store: Store) -> None:
    found, prediction = face(seed=1)
    job = store.finished([FrameResult(0, 0.0, ((found, prediction),))])
    for k, au in enumerate(AU_CODES):
        path = f"/jobs/{job.id}/frames/0/faces/0/roi/{au}"
        numbers = array_of(client.get(path, params={"format": "npy"}))
        assert numbers.dtype == np.float32
        assert np.allclose(numbers, prediction.roi_maps[k], atol=2 / 30 + 1e-6)  # half a level of the codec
        assert np.array_equal(numbers, array_of(client.get(path, headers={"Accept": "application/x-npy"})))


def test_the_map_alone_is_red_and_blue(client: httpx.Client, store: Store) -> None:
    found, prediction = face(seed=2)
    job = store.finished([FrameResult(0, 0.0, ((found, prediction),))])
    path = f"/jobs/{job.id}/frames/0/faces/0/roi/AU1"
    drawn = picture_of(client.get(path, params={"format": "map"})).astype(int)
    numbers = array_of(client.get(path, params={"format": "npy"}))
    assert drawn.shape == (256, 256, 3)
    small = drawn[:: 256 // MAP_SIZE, :: 256 // MAP_SIZE]
    redder = small[..., 0] - small[..., 2]
    assert (redder[numbers > 0.1] > 0).all()
    assert (redder[numbers < -0.1] < 0).all()


@pytest.mark.parametrize(
    ("tail", "status", "slug"),
    [
        ("frames/9/faces/0/roi/AU1", 404, "not-found"),
        ("frames/0/faces/7/roi/AU1", 404, "not-found"),
        ("frames/2/faces/0/roi/AU1", 404, "not-found"),
        ("frames/0/faces/0/roi/AU9", 404, "not-found"),
        ("frames/0/faces/0/roi/smile", 422, "validation"),
        ("frames/-1/faces/0/roi/AU1", 422, "validation"),
        ("frames/99999999999/faces/0/roi/AU1", 422, "validation"),
        ("frames/0/faces/0/roi/AU1?format=gif", 422, "validation"),
    ],
)
def test_what_is_not_there(client: httpx.Client, store: Store, tail: str, status: int, slug: str) -> None:
    job = store.finished(clip(4))  # frame 2 has no face
    assert_problem(client.get(f"/jobs/{job.id}/{tail}"), status, slug)


def test_a_frame_that_is_still_to_come(client: httpx.Client, store: Store) -> None:
    job = store.running(clip(2))
    assert array_of(client.get(f"/jobs/{job.id}/frames/1/faces/0/roi/AU1?format=npy")).shape == (MAP_SIZE, MAP_SIZE)
    assert_problem(client.get(f"/jobs/{job.id}/frames/2/faces/0/roi/AU1"), 409, "job-not-finished")


@pytest.mark.parametrize("roi", [RoiStorage.PEAKS, RoiStorage.NONE])
def test_maps_that_were_not_kept(client: httpx.Client, store: Store, roi: RoiStorage) -> None:
    job = store.finished(clip(1), JobOptions(roi=roi))
    body = assert_problem(client.get(f"/jobs/{job.id}/frames/0/faces/0/roi/AU1"), 404, "not-found")
    assert f"roi={roi}" in str(body["detail"])


def test_a_clip_that_no_longer_decodes(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(1))  # its file has twelve bytes
    body = assert_problem(client.get(f"/jobs/{job.id}/frames/0/faces/0/roi/AU1"), 422, "media-unreadable")
    assert "format=map" in str(body["detail"])


def test_on_the_photo(caller: httpx.Client, astronaut: UInt8Array) -> None:
    answer = caller.post("/detect", files={"image": jpeg(astronaut)}).json()
    path = answer["links"]["roi"].format(face=0, au="AU12")
    whole = picture_of(caller.get(path)).astype(int)
    assert whole.shape == astronaut.shape
    changed = np.abs(whole - astronaut)[:-40].sum(axis=-1) > 60  # without the legend at the bottom
    rows, columns = np.nonzero(changed)
    box = answer["faces"][0]["box"]
    assert changed.any()
    assert abs(columns.mean() - (box["x"] + box["width"] / 2)) < box["width"]
    assert abs(rows.mean() - (box["y"] + box["height"] / 2)) < box["height"]
    assert not changed[:50, -100:].any()  # far from the face nothing is drawn
    crop = picture_of(caller.get(path, params={"format": "crop"}))
    assert crop.shape == (384, 384, 3)
    frame = picture_of(caller.get(f"{answer['links']['job']}/frames/0/overlay"))
    assert frame.shape[0] >= 512
    assert frame.shape[1] > 512  # the bars are beside it


def test_a_frame_is_seen_also_without_maps_and_without_faces(caller: httpx.Client, astronaut: UInt8Array) -> None:
    for data, params in ((jpeg(astronaut), {"roi": "none"}), (jpeg(np.full((480, 480, 3), 90, np.uint8)), {})):
        job = caller.post("/detect", files={"image": data}, params=params).json()["links"]["job"]
        assert picture_of(caller.get(f"{job}/frames/0/overlay")).shape[0] >= 480
        assert_problem(caller.get(f"{job}/frames/1/overlay"), 404, "not-found")


def test_on_a_frame_of_a_clip(
    served: Server, caller: httpx.Client, astronaut: UInt8Array, tmp_path: Path, write_clip: Callable[..., Path]
) -> None:
    pictures = [np.roll(astronaut, 10 * n, axis=1) for n in range(6)]
    path = write_clip(tmp_path / "clip.mp4", pictures)
    job = caller.post("/jobs", files={"video": path.read_bytes()}).json()["id"]
    with caller.stream("GET", f"/jobs/{job}/events") as response:
        response.read()
    for number in (0, 1, 5):
        drawn = picture_of(caller.get(f"/jobs/{job}/frames/{number}/faces/0/roi/AU12")).astype(int)
        differences = [np.abs(drawn[300:430] - picture[300:430]).mean() for picture in pictures]  # below the face
        assert int(np.argmin(differences)) == number
