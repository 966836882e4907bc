"""`/detect` and clips with a real worker process: from the bytes to the stored rows and back."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from model.analyzer import Analyzer
from model.values import UInt8Array
from service.detect.schemas import DetectAnswer
from tests.service.kit import Server, assert_problem, jpeg
from worker.store.jobs import JobRepository
from worker.store.media import MediaStore
from worker.store.records import JobKind


def detect(client: httpx.Client, data: bytes, **params: object) -> dict[str, object]:
    response = client.post("/detect", files={"image": ("photo.jpg", data)}, params=params)  # type: ignore[arg-type]
    assert response.status_code == 200, response.text
    body: dict[str, object] = response.json()
    DetectAnswer.model_validate(body)
    return body


def test_ready(served: Server) -> None:
    body = httpx.get(f"{served.url}/health/ready").json()
    assert body["checkpoint"] == {"ok": True, "detail": "tiny:1"}
    assert (body["workers"]["detect"], body["workers"]["video"]) == (1, 1)


def test_a_portrait(caller: httpx.Client, portrait: bytes, astronaut: UInt8Array, tiny_analyzer: Analyzer) -> None:
    body = detect(caller, portrait)
    ((face, prediction),) = tiny_analyzer.analyze(np.asarray(Image.open(io.BytesIO(portrait))))
    assert body["image"] == {"width": 512, "height": 512}
    assert body["checkpoint"]["name"] == "tiny"  # type: ignore[index]
    assert body["checkpoint"]["synthetic_only"] is True  # type: ignore[index]
    (answer,) = body["faces"]  # type: ignore[misc]
    left, top, right, bottom = face.box_xyxy.tolist()
    assert [answer["box"][key] for key in ("x", "y", "width", "height")] == pytest.approx(
        [left, top, right - left, bottom - top], abs=1.0
    )
    assert np.allclose(answer["landmarks"], face.landmarks, atol=1.0)
    assert [au["au"] for au in answer["aus"]] == ["AU1", "AU12", "AU25"]
    assert [au["score"] for au in answer["aus"]] == pytest.approx(prediction.score.tolist(), abs=0.02)
    assert [au["probability"] for au in answer["aus"]] == pytest.approx(prediction.probability.tolist(), abs=0.02)

    job = caller.get(body["links"]["job"]).json()  # type: ignore[index]
    assert (job["kind"], job["state"], job["media"]) == ("image", "succeeded", None)
    frames = caller.get(f"{job['links']['frames']}").json()["frames"]
    assert frames == [{"frame": 0, "pts_ms": 0.0, "faces": body["faces"]}]


def test_json_and_multipart_answer_alike(caller: httpx.Client, portrait: bytes) -> None:
    one = detect(caller, portrait)
    other = caller.post("/detect", json={"image_base64": base64.b64encode(portrait).decode()}).json()
    assert one["faces"] == other["faces"]


def test_no_face_is_an_answer(caller: httpx.Client) -> None:
    body = detect(caller, jpeg(np.full((120, 90, 3), 128, np.uint8)))
    assert body["faces"] == []
    assert body["image"] == {"width": 90, "height": 120}


def test_coordinates_are_those_of_the_upright_picture(caller: httpx.Client, astronaut: UInt8Array) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    turned = detect(caller, jpeg(np.rot90(astronaut[:, :480]).copy(), exif=exif))
    upright = detect(caller, jpeg(astronaut[:, :480]))
    assert turned["image"] == upright["image"] == {"width": 480, "height": 512}
    assert np.allclose(turned["faces"][0]["landmarks"], upright["faces"][0]["landmarks"], atol=4)  # type: ignore[index]


@pytest.mark.parametrize("roi", ["none", "peaks", "full"])
def test_what_is_asked_of_the_maps_is_kept(caller: httpx.Client, portrait: bytes, roi: str) -> None:
    body = detect(caller, portrait, roi=roi)
    au = body["faces"][0]["aus"][0]  # type: ignore[index]
    assert ("roi" in au) is (roi != "none")
    assert (au["left"] is None) is (roi == "none")
    assert (body["links"]["roi"] is None) is (roi != "full")  # type: ignore[index]


def test_nothing_is_left_of_what_is_not_to_be_stored(served: Server, caller: httpx.Client, portrait: bytes) -> None:
    body = detect(caller, portrait, store="false", roi="full")
    assert (body["job"], body["links"]) == (None, None)
    inline = body["faces"][0]["aus"][1]["roi_map"]  # type: ignore[index]
    roi_map = np.frombuffer(base64.b64decode(inline["data"]), inline["dtype"]).reshape(
        inline["height"], inline["width"]
    )
    assert roi_map.shape == (16, 16)
    assert np.isfinite(roi_map).all()
    assert caller.get("/jobs").json()["jobs"] == []
    with served.engine.begin() as connection:
        for table in ("payloads", "frames", "face_frames", "roi_maps"):
            query = f"SELECT count(*) FROM {table} t LEFT JOIN jobs j ON j.id = t.job_id WHERE j.id IS NULL"
            assert connection.exec_driver_sql(query).scalar_one() == 0


def test_only_the_largest_face(caller: httpx.Client, astronaut: UInt8Array) -> None:
    small = np.asarray(Image.fromarray(astronaut).resize((256, 256)))
    both = np.full((512, 800, 3), 90, np.uint8)
    both[:, :512] = astronaut
    both[100:356, 530:786] = small
    every = detect(caller, jpeg(both))["faces"]
    largest = detect(caller, jpeg(both), faces="largest")["faces"]
    assert len(every) == 2  # type: ignore[arg-type]
    assert [face["track"] for face in every] == [0, 1]  # type: ignore[attr-defined]
    assert largest == every[:1]  # type: ignore[index]


def test_a_truncated_picture(caller: httpx.Client, portrait: bytes) -> None:
    response = caller.post("/detect", files={"image": portrait[: len(portrait) // 2]})
    assert_problem(response, 422, "media-unreadable")
    assert caller.get("/jobs").json()["jobs"] == []


def test_requests_at_once_share_batches_and_keep_their_answers(caller: httpx.Client, astronaut: UInt8Array) -> None:
    widths = [448 + 2 * n for n in range(24)]
    pictures = [jpeg(astronaut[:, :width]) for width in widths]
    with ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(lambda data: detect(caller, data, store="false"), pictures))
    assert [answer["image"]["width"] for answer in answers] == widths  # type: ignore[index]
    assert all(len(answer["faces"]) == 1 for answer in answers)  # type: ignore[arg-type]


def test_more_than_may_wait_are_sent_away(served: Server, caller: httpx.Client, portrait: bytes) -> None:
    context = served.app.state.context
    waiting, context.waiting_detects = context.waiting_detects, served.settings.max_waiting_detects
    try:
        response = caller.post("/detect", files={"image": portrait})
        assert_problem(response, 503, "queue-full")
        assert int(response.headers["retry-after"]) > 0
    finally:
        context.waiting_detects = waiting


def test_a_clip_from_upload_to_frames(
    served: Server, caller: httpx.Client, astronaut: UInt8Array, tmp_path: Path, write_clip: Callable[..., Path]
) -> None:
    pictures = [astronaut] * 8 + [np.full_like(astronaut, 99)] * 4
    path = write_clip(tmp_path / "clip.mp4", pictures)
    submitted = caller.post("/jobs", files={"video": ("clip.mp4", path.read_bytes())}).json()
    states = []
    with caller.stream("GET", f"/jobs/{submitted['id']}/events") as response:
        states = [line.removeprefix("event: ") for line in response.iter_lines() if line.startswith("event: ")]
    job = caller.get(f"/jobs/{submitted['id']}").json()
    assert states[-1] == "succeeded", job
    assert job["progress"] == {"frames_done": 12, "frames_total": 12, "fraction": 1.0}
    assert (job["media"]["width"], job["media"]["height"]) == (512, 512)
    frames = caller.get(f"/jobs/{submitted['id']}/frames").json()["frames"]
    assert [len(frame["faces"]) for frame in frames] == [1] * 8 + [0] * 4
    assert [frame["pts_ms"] for frame in frames] == [40.0 * n for n in range(12)]


def test_a_truncated_clip_fails_with_its_reason(
    caller: httpx.Client, astronaut: UInt8Array, tmp_path: Path, write_clip: Callable[..., Path]
) -> None:
    path = write_clip(tmp_path / "clip.mp4", [astronaut] * 5)
    job = caller.post("/jobs", files={"video": ("cut.mp4", path.read_bytes()[:2000])}).json()
    with caller.stream("GET", f"/jobs/{job['id']}/events") as response:
        response.read()
    failed = caller.get(f"/jobs/{job['id']}").json()
    assert (failed["state"], failed["error"]["type"]) == ("failed", "media-unreadable")


def test_a_client_that_leaves_takes_its_picture_along(server: Server, tenant: str, portrait: bytes) -> None:
    """On the service without a worker: the job would wait; its client does not."""
    context = server.app.state.context
    kept = context.settings
    context.settings = kept.model_copy(update={"detect_seconds": 30.0})
    try:
        with server.client(tenant) as client, pytest.raises(httpx.ReadTimeout):
            client.post("/detect", files={"image": portrait}, timeout=0.5)
        with server.engine.begin() as connection:
            jobs = JobRepository(connection)
            ends = time.monotonic() + 10
            while jobs.list(tenant, kind=JobKind.IMAGE):
                assert time.monotonic() < ends
                time.sleep(0.05)
        assert MediaStore(kept.media_dir).remove_abandoned(0) == 0
    finally:
        context.settings = kept
