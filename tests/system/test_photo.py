"""A real photo through the real network, served, stored and read back."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.system.running import Served

FACES15 = [f"AU{number}" for number in (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24, 25, 26)]


def post(served: Served, picture: bytes, **query: str) -> dict[str, Any]:
    with served.client() as client:
        answer = client.post("/detect", params=query, files={"image": ("picture.jpg", picture)})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def by_code(face: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {au["au"]: au for au in face["aus"]}


def test_the_astronaut_smiles(served: Served, astronaut_jpeg: Path) -> None:
    answer = post(served, astronaut_jpeg.read_bytes())
    (face,) = answer["faces"]
    assert [au["au"] for au in face["aus"]] == FACES15
    assert len(face["landmarks"]) == 68
    assert 150 < face["box"]["x"] + face["box"]["width"] / 2 < 300
    aus = by_code(face)
    assert aus["AU12"]["active"], "she smiles broadly"
    assert aus["AU25"]["active"], "with her teeth showing"
    assert aus["AU12"]["probability"] > max(aus["AU15"]["probability"], aus["AU24"]["probability"])
    for au in face["aus"]:
        assert 0 <= au["probability"] <= 1
        assert au["score"] == pytest.approx(max(au["left"], au["right"]), abs=2e-3)
        for x, y in au["roi"]:
            assert face["box"]["x"] - 60 < x < face["box"]["x"] + face["box"]["width"] + 60
            assert face["box"]["y"] - 60 < y < face["box"]["y"] + face["box"]["height"] + 60


def test_the_answer_says_that_the_network_saw_rendered_faces_only(served: Served, astronaut_jpeg: Path) -> None:
    checkpoint = post(served, astronaut_jpeg.read_bytes())["checkpoint"]
    assert checkpoint["synthetic_only"] is True
    assert "rendered" in checkpoint["note"].lower()


def test_several_faces_each_with_everything(served: Served, astronaut_jpeg: Path) -> None:
    portrait = Image.open(astronaut_jpeg).crop((100, 0, 356, 300))
    group = Image.new("RGB", (256 * 3, 300))
    for column, angle in enumerate((0, 12, -15)):
        group.paste(portrait.rotate(angle, resample=Image.Resampling.BICUBIC), (256 * column, 0))
    answer = post(served, jpeg(group))
    assert len(answer["faces"]) == 3
    assert [face["track"] for face in answer["faces"]] == [0, 1, 2]
    columns = sorted(int((face["box"]["x"] + face["box"]["width"] / 2) // 256) for face in answer["faces"])
    assert columns == [0, 1, 2]
    for face in answer["faces"]:
        assert len(face["aus"]) == 15
        assert by_code(face)["AU12"]["active"]


def test_results_are_stored_with_their_roi_maps(served: Served, astronaut_jpeg: Path) -> None:
    answer = post(served, astronaut_jpeg.read_bytes(), roi="full")
    with served.client() as client:
        page = client.get(f"/jobs/{answer['job']}/frames").json()
        assert page["frames"][0]["faces"] == answer["faces"]
        base = f"/jobs/{answer['job']}/frames/0/faces/0/roi/AU12"
        overlay = client.get(base)
        numbers = client.get(base, params={"format": "npy"})
    assert overlay.headers["content-type"] == "image/png"
    assert min(Image.open(io.BytesIO(overlay.content)).size) >= 64
    roi_map = np.load(io.BytesIO(numbers.content))
    assert roi_map.shape == (32, 32)
    au12 = by_code(answer["faces"][0])["AU12"]
    assert roi_map.max() > 0.5 * au12["score"]


def test_requests_at_once_are_all_answered_alike(served: Served, astronaut_jpeg: Path) -> None:
    picture = astronaut_jpeg.read_bytes()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(served, picture, store="false"), range(32)))
    scores = np.array([[au["score"] for au in answer["faces"][0]["aus"]] for answer in answers])
    np.testing.assert_allclose(scores, np.broadcast_to(scores[0], scores.shape), atol=2e-3)


def test_a_picture_without_a_face_is_an_answer(served: Served) -> None:
    assert post(served, jpeg(Image.new("RGB", (320, 240), (90, 120, 90))))["faces"] == []


@pytest.mark.parametrize(
    ("picture", "status", "slug"),
    [
        (b"", 422, "media-unreadable"),
        (b"this is no picture at all", 415, "unsupported-media"),
        (b"%PDF-1.7 renamed to jpg", 415, "unsupported-media"),
    ],
    ids=["empty", "text", "renamed"],
)
def test_broken_pictures(served: Served, picture: bytes, status: int, slug: str) -> None:
    with served.client() as client:
        answer = client.post("/detect", files={"image": ("picture.jpg", picture)})
    assert (answer.status_code, answer.json()["type"]) == (status, slug)


def test_a_truncated_picture(served: Served, astronaut_jpeg: Path) -> None:
    with served.client() as client:
        answer = client.post("/detect", files={"image": ("cut.jpg", astronaut_jpeg.read_bytes()[:4000])})
    assert (answer.status_code, answer.json()["type"]) == (422, "media-unreadable")


def test_a_giant_picture_is_refused_before_it_is_decoded(served: Served) -> None:
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    with served.client() as client:
        answer = client.post("/detect", files={"image": ("giant.png", bomb.getvalue())})
    assert (answer.status_code, answer.json()["type"]) == (413, "media-too-large")
