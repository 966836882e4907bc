"""Columns and maps of many frames at once: the same numbers as everywhere else, in little space."""

from __future__ import annotations

import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from model.geometry import crop_affine
from service.results.maps import STEP
from tests.service.kit import AU_CODES, MAP_SIZE, Store, assert_problem, clip
from worker.store.records import JobOptions, RoiStorage
from worker.store.results import ResultRepository


def test_the_columns_are_the_frames(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(9, faces_per_frame=2))
    frames = client.get(f"/jobs/{job.id}/frames").json()["frames"]
    page = client.get(f"/jobs/{job.id}/timeline").json()
    assert page["aus"] == list(AU_CODES)
    assert page["names"] == ["Inner Brow Raiser", "Lip Corner Puller"]
    assert (page["state"], page["next"], page["thresholds"]) == ("succeeded", None, {})
    assert page["frame"] == [frame["frame"] for frame in frames]
    assert page["pts_ms"] == [frame["pts_ms"] for frame in frames]
    faces = [(frame["frame"], number, face) for frame in frames for number, face in enumerate(frame["faces"])]
    columns = page["faces"]
    assert {len(column) for column in columns.values()} == {len(faces)}
    for row, (frame, number, face) in enumerate(faces):
        assert (columns["frame"][row], columns["face"][row], columns["track"][row]) == (frame, number, face["track"])
        box = [face["box"][side] for side in ("x", "y", "width", "height")]
        assert columns["box"][row] == pytest.approx(box, abs=0.06)
        for name in ("score", "probability"):
            assert columns[name][row] == pytest.approx([au[name] for au in face["aus"]], abs=6e-4)
        assert columns["active"][row] == sum(au["active"] << k for k, au in enumerate(face["aus"]))


def test_tracks_that_were_held_against_their_own_rest_are_named(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(4, faces_per_frame=2))
    assert client.get(f"/jobs/{job.id}/timeline").json()["own_rest"] == []
    with store.server.engine.begin() as connection:
        ResultRepository(connection).set_rest(job, 1, np.zeros(7, np.float32))
    for path in (f"/jobs/{job.id}/timeline", f"/jobs/{job.id}/timeline?limit=1"):
        assert client.get(path).json()["own_rest"] == [1], "on every page"


def test_pages_follow_each_other(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(7))
    seen, path = [], f"/jobs/{job.id}/timeline?limit=3"
    while path:
        page = client.get(path).json()
        seen.append(page["frame"])
        assert set(page["faces"]["frame"]) <= set(page["frame"])
        path = page["next"]
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_waiting_clip_has_an_empty_timeline(client: httpx.Client, store: Store) -> None:
    page = client.get(f"/jobs/{store.queued().id}/timeline").json()
    assert (page["aus"], page["frame"], page["checkpoint"], page["next"]) == ([], [], None, None)


def test_large_answers_are_compressed_for_who_takes_it(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(60))
    path = f"/jobs/{job.id}/timeline"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert plain.json() == packed.json()


@pytest.mark.parametrize("wanted", [None, ["AU12"], ["AU12", "AU1"]])
def test_maps_of_many_frames(client: httpx.Client, store: Store, wanted: list[str] | None) -> None:
    job = store.finished(clip(6, faces_per_frame=2))
    params: dict[str, object] = {"first": 1, "count": 4} | ({"au": wanted} if wanted else {})
    answer = client.get(f"/jobs/{job.id}/roi-maps", params=params).json()
    codes = wanted or list(AU_CODES)
    assert (answer["aus"], answer["step"]) == (codes, STEP)
    assert [(face["frame"], face["face"]) for face in answer["faces"]] == [(f, k) for f in (1, 3, 4) for k in (0, 1)]
    landmarks = {
        (frame["frame"], number): face["landmarks"]
        for frame in client.get(f"/jobs/{job.id}/frames").json()["frames"]
        for number, face in enumerate(frame["faces"])
    }
    for face in answer["faces"]:
        steps = np.frombuffer(base64.b64decode(face["data"]), np.int8).reshape(len(codes), MAP_SIZE, MAP_SIZE)
        for k, au in enumerate(codes):
            path = f"/jobs/{job.id}/frames/{face['frame']}/faces/{face['face']}/roi/{au}"
            numbers = np.load(io.BytesIO(client.get(path, params={"format": "npy"}).content))
            np.testing.assert_allclose(steps[k] * STEP, numbers, atol=STEP / 2 + 1e-6)
        # The middle of the map lies where the crop of the same landmarks has its middle.
        affine = crop_affine(np.array(landmarks[face["frame"], face["face"]]), 4 * MAP_SIZE)
        to_image, middle = np.array(face["to_image"]), (MAP_SIZE - 1) / 2
        point = to_image @ [middle, middle, 1]
        np.testing.assert_allclose(affine @ [*point, 1], [(4 * MAP_SIZE - 1) / 2] * 2, atol=0.05)


@pytest.mark.parametrize(
    ("query", "status", "slug"),
    [
        ("au=AU9", 404, "not-found"),
        ("au=smile", 422, "validation"),
        ("count=65", 422, "validation"),
        ("count=0", 422, "validation"),
        ("first=-1", 422, "validation"),
    ],
)
def test_maps_that_cannot_be_had(client: httpx.Client, store: Store, query: str, status: int, slug: str) -> None:
    job = store.finished(clip(2))
    assert_problem(client.get(f"/jobs/{job.id}/roi-maps?{query}"), status, slug)


def test_a_job_without_maps_says_so(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(2), JobOptions(roi=RoiStorage.PEAKS))
    assert_problem(client.get(f"/jobs/{job.id}/roi-maps"), 404, "not-found")


def test_another_tenant_sees_nothing(stranger: httpx.Client, store: Store) -> None:
    job = store.finished(clip(2))
    for path in ("timeline", "roi-maps", "frames/0/picture"):
        assert_problem(stranger.get(f"/jobs/{job.id}/{path}"), 404, "not-found")


def test_the_picture_itself(caller: httpx.Client, portrait: bytes) -> None:
    body = caller.post("/detect", files={"image": ("photo.jpg", portrait)}).json()
    answer = caller.get(f"/jobs/{body['job']}/frames/0/picture")
    assert answer.headers["content-type"] == "image/jpeg"
    got = np.asarray(Image.open(io.BytesIO(answer.content)), int)
    sent = np.asarray(Image.open(io.BytesIO(portrait)), int)
    assert got.shape == sent.shape
    assert np.abs(got - sent).mean() < 3


def test_inline_maps_know_their_place(caller: httpx.Client, portrait: bytes) -> None:
    kept = caller.post("/detect", files={"image": ("photo.jpg", portrait)}).json()
    answer = caller.get(f"/jobs/{kept['job']}/roi-maps").json()
    inline = caller.post("/detect?store=false", files={"image": ("photo.jpg", portrait)}).json()
    for au in inline["faces"][0]["aus"]:
        np.testing.assert_allclose(au["roi_map"]["to_image"], answer["faces"][0]["to_image"], atol=0.05)
