"""Stored frames over HTTP: the JSON of a face, pages, the stream of lines."""

from __future__ import annotations

import json
import tracemalloc

import httpx
import numpy as np
import pytest

from service.results.answers import checkpoint_block, face_answer
from service.results.schemas import FrameAnswer
from tests.service.kit import AU_CODES, Server, Store, assert_problem, clip, face
from worker.store.records import FaceRow, FrameResult, JobOptions, RoiStorage


def test_a_face_reads_as_it_was_stored(client: httpx.Client, store: Store) -> None:
    found, prediction = face(seed=5, track=3)
    job = store.finished([FrameResult(0, 12.5, ((found, prediction),))])
    body = client.get(f"/jobs/{job.id}/frames").json()
    assert (body["job"], body["state"], body["next"]) == (str(job.id), "succeeded", None)
    assert body["checkpoint"]["name"] == "tiny"
    assert body["checkpoint"]["synthetic_only"] is True
    (frame,) = body["frames"]
    assert (frame["frame"], frame["pts_ms"]) == (0, 12.5)
    (answer,) = frame["faces"]
    assert answer["box"] == {"x": 20.0, "y": 20.0, "width": 60.0, "height": 60.0}
    assert (answer["score"], answer["presence"], answer["track"]) == (0.9, 0.8, 3)
    assert np.allclose(answer["landmarks"], found.landmarks, atol=0.006)
    assert [au["au"] for au in answer["aus"]] == list(AU_CODES)
    for k, au in enumerate(answer["aus"]):
        assert au["name"]
        assert au["score"] == pytest.approx(prediction.score[k], abs=1e-5)
        assert au["active"] is bool(prediction.active[k])
        assert [au["left"], au["right"]] == pytest.approx(prediction.roi_amplitude[k].tolist(), abs=1e-5)
        assert np.allclose(au["roi"], prediction.roi_centres[k], atol=0.006)
        assert "roi_map" not in au
    assert answer["aus"][0]["probability"] == pytest.approx(prediction.probability[0], abs=1e-5)
    assert answer["aus"][1]["probability"] is None  # stored as NaN: could not be read


def test_roi_none_keeps_decisions_only(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(1), JobOptions(roi=RoiStorage.NONE))
    au = client.get(f"/jobs/{job.id}/frames").json()["frames"][0]["faces"][0]["aus"][0]
    assert (au["left"], au["right"]) == (None, None)
    assert "roi" not in au
    assert au["score"] is not None


def test_a_job_without_frames(client: httpx.Client, store: Store) -> None:
    job = store.finished([])
    assert client.get(f"/jobs/{job.id}/frames").json()["frames"] == []
    assert client.get(f"/jobs/{job.id}/frames?format=ndjson").content == b""


def test_a_queued_job_names_no_checkpoint(client: httpx.Client, store: Store) -> None:
    body = client.get(f"/jobs/{store.queued().id}/frames").json()
    assert (body["state"], body["checkpoint"], body["frames"]) == ("queued", None, [])


def test_pages_and_lines_give_every_frame_once(client: httpx.Client, store: Store) -> None:
    job = store.running(clip(10, faces_per_frame=2))  # also of a running job
    pages: list[dict[str, object]] = []
    path: str | None = f"/jobs/{job.id}/frames?limit=4"
    while path:
        page = client.get(path).json()
        pages += page["frames"]
        path = page["next"]
    assert [frame["frame"] for frame in pages] == list(range(10))
    assert [len(frame["faces"]) for frame in pages] == [2, 2, 0] * 3 + [2]  # type: ignore[arg-type]
    assert [frame["pts_ms"] for frame in pages] == [40.0 * n for n in range(10)]

    for request in ({"params": {"format": "ndjson"}}, {"headers": {"Accept": "application/x-ndjson"}}):
        response = client.get(f"/jobs/{job.id}/frames", **request)
        assert response.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line) for line in response.text.splitlines()] == pages
    rest = client.get(f"/jobs/{job.id}/frames", params={"format": "ndjson", "after": 7})
    assert [json.loads(line)["frame"] for line in rest.text.splitlines()] == [8, 9]


def test_a_page_that_is_just_full_has_no_next(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(4))
    assert client.get(f"/jobs/{job.id}/frames?limit=4").json()["next"] is None
    assert client.get(f"/jobs/{job.id}/frames?after=3").json()["frames"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "after=99999999999", "format=xml"])
def test_odd_queries_of_frames(client: httpx.Client, store: Store, query: str) -> None:
    assert_problem(client.get(f"/jobs/{store.finished([]).id}/frames?{query}"), 422, "validation")


def test_streaming_a_long_clip_holds_one_page(server: Server, client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(6000))
    path = f"/jobs/{job.id}/frames?format=ndjson"
    total, peak = 0, 0
    tracemalloc.start()  # server and client live in this process: what either of them held would be seen
    try:
        with client.stream("GET", path) as response:
            for chunk in response.iter_raw():
                total += len(chunk)
                peak = max(peak, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert total > 5_000_000
    assert peak < 2_000_000


def test_a_reader_who_leaves_holds_nothing(server: Server, client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(2000))
    for _ in range(12):  # more than there are connections in the pool
        with client.stream("GET", f"/jobs/{job.id}/frames?format=ndjson") as response:
            next(response.iter_raw())
    assert client.get(f"/jobs/{job.id}").status_code == 200


def test_a_job_deleted_while_it_is_read_ends_the_stream(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(3000))
    with client.stream("GET", f"/jobs/{job.id}/frames?format=ndjson") as response:
        lines = response.iter_lines()
        first = json.loads(next(lines))
        client.delete(f"/jobs/{job.id}")
        rest = [json.loads(line) for line in lines]
    assert first["frame"] == 0
    assert [frame["frame"] for frame in rest] == list(range(1, len(rest) + 1))


def row(**changes: object) -> FaceRow:
    values: dict[str, object] = {
        "frame": 0,
        "face": 0,
        "track": 0,
        "pts_ms": 0.0,
        "box_xyxy": np.array([0.123456, 1, 2, 3], np.float32),
        "face_score": 0.5,
        "presence": 1.0,
        "landmarks": np.zeros((68, 2), np.float32),
        "au_score": np.zeros(0, np.float32),
        "au_probability": np.zeros(0, np.float32),
        "au_active": np.zeros(0, bool),
        "roi_amplitude": np.zeros((0, 2), np.float32),
        "roi_centres": np.zeros((0, 2, 2), np.float32),
    }
    return FaceRow(**{**values, **changes})  # type: ignore[arg-type]


def test_a_checkpoint_without_aus_gives_a_face_without_aus() -> None:
    assert face_answer(row(), ()).aus == []
    assert face_answer(row(), ()).box.x == 0.12


def test_inline_maps_are_the_maps() -> None:
    import base64

    maps = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    one = {
        "au_score": np.float32([0.1]),
        "au_probability": np.float32([0.2]),
        "au_active": np.array([True]),
        "roi_amplitude": None,
        "roi_centres": None,
    }
    inline = face_answer(row(**one), ("AU99",), maps).aus[0].roi_map
    assert inline is not None
    back = np.frombuffer(base64.b64decode(inline.data), inline.dtype).reshape(inline.height, inline.width)
    assert np.array_equal(back, maps[0])


def test_examples_are_valid_answers() -> None:
    example = FrameAnswer.model_config["json_schema_extra"]["examples"][0]  # type: ignore[index,call-overload]
    assert FrameAnswer.model_validate(example).faces[0].aus[0].au == "AU12"


@pytest.mark.parametrize(
    ("manifest", "synthetic"),
    [({}, False), ({"training": {"synthetic_only": True}}, True), ({"training": {"synthetic_only": False}}, False)],
)
def test_synthetic_checkpoints_say_so(manifest: dict[str, object], synthetic: bool) -> None:
    from datetime import UTC, datetime
    from uuid import uuid4

    from worker.store.records import CheckpointRecord

    block = checkpoint_block(CheckpointRecord(uuid4(), "a", "1", "", (), manifest, datetime.now(UTC)))
    assert block.synthetic_only is synthetic
    assert (block.note is not None) is synthetic
